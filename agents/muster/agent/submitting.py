"""One submit stream for many requests, which outlives the connection it runs on.

What accumulates while a frame is being written goes into the next. When the stream breaks,
whatever is unanswered is submitted again on a new one: the same ids and bodies find the same
contracts. A request that is refused for now (a full queue, a mesh that starts) is submitted again
after the pause that the mesh asks for, until it expires here.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from muster.agent.session.core import reconnect_pause
from muster.model import limits
from muster.model.errors import Code, DeadlinePassed, MusterError, ResourceExhausted
from muster.v1.scheduler_service_pb2 import SubmitStreamRequest
from muster.wire.errors import error_of_rpc, error_of_status

if TYPE_CHECKING:
    from muster.v1.request_pb2 import Request
    from muster.v1.response_pb2 import Response
    from muster.v1.scheduler_service_pb2 import Accepted, Refused, SubmitStreamResponse

    Call = grpc.aio.StreamStreamCall[SubmitStreamRequest, SubmitStreamResponse]

SWEEP_SECONDS = 0.25
# What a new stream would not change.
_HOPELESS = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.UNIMPLEMENTED,
    }
)
_FOR_NOW = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})


class Submission:
    """A request on its way; `response` is set when its contract has ended."""

    __slots__ = ("accepted", "contract_id", "expires", "request", "request_id", "response", "size")

    def __init__(
        self, request_id: str, request: Request, response: asyncio.Future[Response], expires: float
    ) -> None:
        self.request_id = request_id
        self.request = request
        self.size = request.ByteSize()
        self.response = response
        self.expires = expires  # by the loop's clock; 0 for never
        self.contract_id = ""
        self.accepted: asyncio.Future[str] | None = None  # made when somebody asks

    def fail(self, error: Exception) -> None:
        """Nobody will answer any more."""
        for future in (self.response, self.accepted):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # it may well be that nobody looks


class SubmitPipe:
    """Submits requests. `run` must be running; it is cancelled to close the pipe."""

    def __init__(self, connect: Callable[[], Call]) -> None:
        """`connect` begins a new call of SubmitStream; it may use a new channel each time."""
        self._connect = connect
        self._open: dict[str, Submission] = {}
        self._open_bytes = 0
        self._expiring: dict[str, Submission] = {}
        self._unsent: deque[Submission] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._sweeping: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def submit(self, request_id: str, request: Request, timeout: float | None) -> Submission:
        """Submits a request, which must not be changed afterwards.

        `request_id` is what the answers will name; `timeout` in seconds is how long to go on trying
        after which the submission fails with `DeadlinePassed`. Raises `ResourceExhausted` when too
        many are open; `room` waits for that.
        """
        earlier = self._open.get(request_id)
        if earlier is not None:
            return earlier
        if self.full:
            message = f"{len(self._open)} requests are open on this stream; wait for some to end"
            raise ResourceExhausted(message)
        expires = 0.0 if timeout is None else self._loop.time() + timeout
        submission = Submission(request_id, request, self._loop.create_future(), expires)
        self._open[request_id] = submission
        self._open_bytes += submission.size
        self._unsent.append(submission)
        self._wake.set()
        if timeout is not None:
            self._expiring[request_id] = submission
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        return submission

    def abandon(self, submission: Submission) -> None:
        """Nobody waits for it any more; the contract goes on."""
        if self._open.get(submission.request_id) is submission:
            self._close(submission.request_id)
            submission.response.cancel()

    @property
    def full(self) -> bool:
        """Whether `submit` would be refused."""
        return (
            len(self._open) >= limits.SUBMIT_STREAM_OPEN_MAX
            or self._open_bytes >= limits.SUBMIT_STREAM_OPEN_BYTES_MAX
        )

    async def room(self) -> None:
        """Waits until another request can be submitted."""
        while self.full:
            self._room.clear()
            await self._room.wait()

    async def accepted(self, submission: Submission) -> str:
        """Waits until the mesh has made a contract of it, and returns the contract's id."""
        if submission.contract_id:
            return submission.contract_id
        if submission.response.done():
            return submission.response.result().contract_id
        if submission.accepted is None:
            submission.accepted = self._loop.create_future()
        return await asyncio.shield(submission.accepted)

    async def run(self) -> None:
        """Keeps a stream up while there is anything to submit or to wait for."""
        failures = 0
        try:
            while True:
                while not self._open:
                    await self._wake.wait()
                    self._wake.clear()
                error, answered = await self._run_stream()
                failures = 1 if answered else failures + 1
                if error is not None and error.code in _HOPELESS:
                    self._fail_all(error)
                await asyncio.sleep(reconnect_pause(failures - 1, random.random()))
        finally:
            if self._sweeping is not None:
                self._sweeping.cancel()
            self._fail_all(MusterError("the client was closed", reason="NOT_READY"))

    async def _run_stream(self) -> tuple[MusterError | None, bool]:
        for submission in [s for s in self._open.values() if s.response.done()]:
            self._close(submission.request_id)  # its caller was cancelled
        self._unsent = deque(self._open.values())
        call = self._connect()
        broken: MusterError | None = None
        answered = False
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write(call))
            try:
                while (frame := await call.read()) is not grpc.aio.EOF:
                    answered = True
                    self._apply(frame)  # type: ignore[arg-type]
            except grpc.RpcError as error:
                broken = error_of_rpc(error)
            finally:
                writing.cancel()
                call.cancel()
        return broken, answered

    async def _write(self, call: Call) -> None:
        wake = self._wake
        try:
            while True:
                if not self._unsent:
                    await wake.wait()
                    wake.clear()
                    continue
                await call.write(self._next_frame())
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # what breaks a write breaks the read too, and there it is dealt with

    def _next_frame(self) -> SubmitStreamRequest:
        unsent = self._unsent
        requests: list[Request] = []
        size = 0
        while unsent and len(requests) < limits.FRAME_ITEMS_MAX:
            size += unsent[0].size
            if requests and size > limits.FRAME_BYTES_MAX:
                break
            submission = unsent.popleft()
            if not submission.response.done():
                requests.append(submission.request)
        frame = SubmitStreamRequest()
        frame.requests.extend(requests)
        return frame

    # --- answers ----------------------------------------------------------------------------------

    def _apply(self, frame: SubmitStreamResponse) -> None:
        for accepted in frame.accepted:
            self._accept(accepted)
        for refused in frame.refused:
            self._refuse(refused)
        for response in frame.responses:
            submission = self._close(response.request_id)
            if submission is None or submission.response.done():
                continue
            if not submission.contract_id:
                _set_accepted(submission, response.contract_id)
            submission.response.set_result(response)

    def _accept(self, accepted: Accepted) -> None:
        submission = self._open.get(accepted.request_id)
        if submission is not None:
            _set_accepted(submission, accepted.contract_id)

    def _refuse(self, refused: Refused) -> None:
        submission = self._open.get(refused.request_id)
        if submission is None:
            return
        error = error_of_status(refused.error)
        if error.code in _FOR_NOW and error.retry_after_seconds is not None:
            # Spread out, so that those refused together do not come back together.
            pause = error.retry_after_seconds * (1.0 + random.random())
            self._loop.call_later(pause, self._submit_again, submission)
            return
        self._close(refused.request_id)
        submission.fail(error)

    def _submit_again(self, submission: Submission) -> None:
        if not submission.response.done() and submission.request_id in self._open:
            self._unsent.append(submission)
            self._wake.set()

    def _close(self, request_id: str) -> Submission | None:
        submission = self._open.pop(request_id, None)
        if submission is not None:
            self._open_bytes -= submission.size
        if self._expiring:
            self._expiring.pop(request_id, None)
        if not self._room.is_set():
            self._room.set()
        return submission

    def _sweep(self) -> None:
        now = self._loop.time()
        for submission in [s for s in self._expiring.values() if s.expires <= now]:
            self._close(submission.request_id)
            submission.fail(DeadlinePassed("no response came before the deadline"))
        more = bool(self._expiring)
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep) if more else None

    def _fail_all(self, error: Exception) -> None:
        for submission in list(self._open.values()):
            self._close(submission.request_id)
            submission.fail(error)


def _set_accepted(submission: Submission, contract_id: str) -> None:
    submission.contract_id = contract_id
    if submission.accepted is not None and not submission.accepted.done():
        submission.accepted.set_result(contract_id)
