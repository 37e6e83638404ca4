"""Starts runs: what is started in one turn of the event loop goes to the mesh in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from muster.model.errors import Unavailable
from muster.v1.workflow_service_pb2 import StartRunResponse, StartRunsRequest
from muster.wire.errors import error_of_rpc, error_of_status

if TYPE_CHECKING:
    from muster.agent.services import Services
    from muster.v1.workflow_service_pb2 import StartRunRequest

    Waiting = tuple[StartRunRequest, asyncio.Future[StartRunResponse]]

STARTS_MAX = 256  # of one call; what the proto allows
BYTES_MAX = 1024 * 1024  # of one call, unless a single start is larger


class Starts:
    """The starts of one client. There is no timer: a single start goes out at once, by itself."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting: list[Waiting] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def start(self, request: StartRunRequest) -> StartRunResponse:
        """Raises the `MusterError` that this start was refused with."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[StartRunResponse] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append((request, answer))
        return await answer

    def _send(self) -> None:
        """Sends all that waits, in as few calls as it fits."""
        waiting, self._waiting = self._waiting, []
        call: list[Waiting] = []
        size = 0
        for each in waiting:
            more = each[0].ByteSize()
            if call and (len(call) == STARTS_MAX or size + more > BYTES_MAX):
                self._call(call)
                call, size = [], 0
            call.append(each)
            size += more
        self._call(call)

    def _call(self, starts: list[Waiting]) -> None:
        task = asyncio.create_task(self._one(*starts[0]) if len(starts) == 1 else self._all(starts))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _one(self, start: StartRunRequest, answer: asyncio.Future[StartRunResponse]) -> None:
        with _telling([answer]):
            call = self._services.workflows.StartRun
            _accept(answer, await call(start, metadata=self._services.targets.metadata))

    async def _all(self, starts: list[Waiting]) -> None:
        request = StartRunsRequest(starts=[start for start, _ in starts])
        with _telling([answer for _, answer in starts]):
            call = self._services.workflows.StartRuns
            reply = await call(request, metadata=self._services.targets.metadata)
            for each, result in zip(starts, reply.results, strict=True):
                if result.HasField("started"):
                    _accept(each[1], result.started)
                    continue
                refused = error_of_status(result.error)
                if isinstance(refused, Unavailable):
                    # It passes. The channel tries again, but only what fails as a whole.
                    self._call([each])
                else:
                    _refuse(each[1], refused)


@contextmanager
def _telling(answers: Iterable[asyncio.Future[StartRunResponse]]) -> Iterator[None]:
    """Whoever waits is told why there is no answer."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - it is theirs
        for answer in answers:
            _refuse(answer, error_of_rpc(error) if isinstance(error, grpc.RpcError) else error)
    except BaseException:
        for answer in answers:
            answer.cancel()
        raise


def _accept(answer: asyncio.Future[StartRunResponse], reply: StartRunResponse) -> None:
    if not answer.done():
        answer.set_result(reply)


def _refuse(answer: asyncio.Future[StartRunResponse], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
