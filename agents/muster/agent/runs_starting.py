"""Starts runs: what is started in one turn of the event loop goes to the mesh in one call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from muster.model.errors import MusterError, Unavailable
from muster.v1.workflow_service_pb2 import StartRunResponse, StartRunsRequest
from muster.wire.errors import answer_of, error_of_status

if TYPE_CHECKING:
    from muster.agent.services import Services
    from muster.v1.workflow_service_pb2 import StartRunRequest, StartRunResult

STARTS_MAX = 256  # of one call; what the proto allows
BYTES_MAX = 1024 * 1024  # of one call, unless a single start is larger


class Starts:
    """The starts of one client. There is no timer: a single start goes out at once, by itself.

    The first of a turn makes the call for all of it. Where it is cancelled, or a start could not be
    taken just then, each goes by itself: a start_id starts one run, however often it is sent.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: _Call | None = None  # that more may join

    async def start(self, request: StartRunRequest) -> StartRunResponse:
        """Raises the `MusterError` that this start was refused with."""
        call = self._open
        if call is not None and call.takes(request):
            return await call.join(request) or await self._alone(request)
        call = self._open = _Call(request)
        try:
            await asyncio.sleep(0)
            self._close(call)
            if not call.answers:
                return await self._alone(request)
            return await self._together(call) or await self._alone(request)
        finally:
            self._close(call)
            call.let_go()

    def _close(self, call: _Call) -> None:
        if self._open is call:
            self._open = None

    async def _alone(self, request: StartRunRequest) -> StartRunResponse:
        start = self._services.workflows.StartRun
        return await answer_of(start(request, metadata=self._services.targets.metadata))

    async def _together(self, call: _Call) -> StartRunResponse | None:
        """Tells whoever joined; returns what the first is told."""
        start = self._services.workflows.StartRuns
        request = StartRunsRequest(starts=call.requests)
        try:
            reply = await answer_of(start(request, metadata=self._services.targets.metadata))
        except MusterError as error:
            call.refuse(error)
            raise
        own, *others = reply.results
        call.tell(others)
        return _outcome(own)


class _Call:
    """Starts that go together. The first one's is who makes the call, the others have answers."""

    def __init__(self, request: StartRunRequest) -> None:
        self.requests = [request]
        self.answers: list[asyncio.Future[StartRunResponse | None]] = []
        self._bytes = request.ByteSize()

    def takes(self, request: StartRunRequest) -> bool:
        """Whether there is room for one more."""
        return len(self.requests) < STARTS_MAX and self._bytes + request.ByteSize() <= BYTES_MAX

    async def join(self, request: StartRunRequest) -> StartRunResponse | None:
        """What became of it; None: it is to be sent by itself. Raises why it was refused."""
        self.requests.append(request)
        self._bytes += request.ByteSize()
        answer: asyncio.Future[StartRunResponse | None] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        return await answer

    def tell(self, results: list[StartRunResult]) -> None:
        """What became of each that joined."""
        for answer, result in zip(self.answers, results, strict=True):
            if answer.done():  # whoever waited does not any more
                continue
            try:
                answer.set_result(_outcome(result))
            except Exception as refused:  # noqa: BLE001 - it is raised where the answer is awaited
                answer.set_exception(refused)

    def refuse(self, error: Exception) -> None:
        """The call failed as a whole."""
        for answer in self.answers:
            if not answer.done():
                answer.set_exception(error)

    def let_go(self) -> None:
        """There is no answer for whoever has none yet."""
        for answer in self.answers:
            if not answer.done():
                answer.set_result(None)


def _outcome(result: StartRunResult) -> StartRunResponse | None:
    """None where the same is worth trying again: the channel does, with what fails as a whole."""
    if result.HasField("started"):
        return result.started
    error = error_of_status(result.error)
    if isinstance(error, Unavailable):
        return None
    raise error
