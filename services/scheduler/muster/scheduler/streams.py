"""One submit stream: requests in, responses out as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from muster.model import limits
from muster.model.errors import MusterError, ResourceExhausted
from muster.model.ids import format_id
from muster.runtime.lifetime import background
from muster.runtime.principal import Principal
from muster.scheduler.messages_in import child_request_id
from muster.scheduler.records import Now
from muster.scheduler.service import Scheduler
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response
from muster.v1.scheduler_service_pb2 import SubmitStreamRequest, SubmitStreamResponse
from muster.wire.errors import status_of


class SubmitStream:
    """A `Listener` that collects what is about to be written; frames batch by themselves."""

    def __init__(self, scheduler: Scheduler, principal: Principal) -> None:
        self._scheduler = scheduler
        self._principal = principal
        self._frame = SubmitStreamResponse()
        self._waiting = 0  # items in that frame
        self._open: dict[int, int] = {}  # contract -> how often it was submitted here
        self._asked = 0  # submits without an answer
        self._half_closed = False
        self._wake = asyncio.Event()

    async def run(
        self, frames: AsyncIterator[SubmitStreamRequest]
    ) -> AsyncIterator[SubmitStreamResponse]:
        """Serve the stream until the client has closed its side and has every response."""
        try:
            async with background(lambda: self._read(frames)):
                while not self._finished():
                    await self._wake.wait()
                    self._wake.clear()
                    if self._waiting:
                        frame, self._frame = self._frame, SubmitStreamResponse()
                        self._waiting = 0
                        yield frame
        finally:
            for contract_id in self._open:
                self._scheduler.hub.unlisten(contract_id, self)

    def _finished(self) -> bool:
        return self._half_closed and not (self._waiting or self._open or self._asked)

    async def _read(self, frames: AsyncIterator[SubmitStreamRequest]) -> None:
        async for frame in frames:
            now = self._scheduler.clock()
            for request in frame.requests:
                self._submit(now, request)
            self._scheduler.settle()
            if self._waiting > limits.STREAM_BACKLOG_MAX:
                raise ResourceExhausted(
                    "the stream's responses are not being read; resubmit what is unanswered on a "
                    "new stream",
                    reason="WATCHER_TOO_SLOW",
                )
        self._half_closed = True
        self._wake.set()

    def _submit(self, now: Now, request: Request) -> None:
        try:
            if len(self._open) + self._asked >= limits.SUBMIT_STREAM_OPEN_MAX:
                raise ResourceExhausted(
                    f"{limits.SUBMIT_STREAM_OPEN_MAX} contracts of this stream are open; "
                    "submit more when some have ended"
                )
            principal = self._principal
            self._scheduler.submit(now, principal.tenant, principal.name, request, self)
        except MusterError as error:
            is_child = request.HasField("parent")
            self._refuse(child_request_id(request) if is_child else request.request_id, error)
        else:
            self._asked += 1

    def _refuse(self, request_id: str, error: MusterError) -> None:
        refused = self._frame.refused.add(request_id=request_id)
        refused.error.CopyFrom(status_of(error))
        self._waiting += 1
        self._wake.set()

    # --- Listener ---------------------------------------------------------------------------------

    def on_accepted(self, request_id: str, contract_id: int, *, duplicate: bool) -> None:
        """See `Listener`."""
        self._asked -= 1
        self._open[contract_id] = self._open.get(contract_id, 0) + 1
        accepted = self._frame.accepted.add()
        accepted.request_id = request_id
        accepted.contract_id = format_id(contract_id)
        if duplicate:
            accepted.duplicate = True
        self._waiting += 1
        self._wake.set()

    def on_refused(self, request_id: str, error: MusterError) -> None:
        """See `Listener`."""
        self._asked -= 1
        self._refuse(request_id, error)

    def on_ended(self, contract_id: int, response: Response) -> None:
        """See `Listener`."""
        left = self._open.get(contract_id, 0) - 1
        if left < 0:
            return
        if left:
            self._open[contract_id] = left
        else:
            del self._open[contract_id]
        self._frame.responses.append(response)
        self._waiting += 1
        self._wake.set()


class OneAnswer:
    """A `Listener` for one caller that waits."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[tuple[int, bool]] = loop.create_future()
        self.ended: asyncio.Future[Response] = loop.create_future()

    def on_accepted(self, request_id: str, contract_id: int, *, duplicate: bool) -> None:
        """See `Listener`."""
        if not self.accepted.done():
            self.accepted.set_result((contract_id, duplicate))

    def on_refused(self, request_id: str, error: MusterError) -> None:
        """See `Listener`."""
        if not self.accepted.done():
            self.accepted.set_exception(error)

    def on_ended(self, contract_id: int, response: Response) -> None:
        """See `Listener`."""
        if not self.ended.done():
            self.ended.set_result(response)
