"""The client: asks the mesh for work, and follows what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from muster.agent.asking import RequestIds, fill_request, output_of
from muster.agent.options import find_targets
from muster.agent.submitting import Submission, SubmitPipe
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import open_channel

if TYPE_CHECKING:
    from muster.v1.response_pb2 import Response


class Handle:
    """A request that was submitted."""

    def __init__(self, client: Client, submission: Submission) -> None:
        self._client = client
        self._submission = submission

    @property
    def request_id(self) -> str:
        """The id under which it was submitted."""
        return self._submission.request_id

    async def response(self) -> Response:
        """Waits for the response, whatever it says."""
        return await asyncio.shield(self._submission.response)

    async def result(self) -> Any:
        """Waits for the output. Raises `ContractFailed` when the contract ended without one."""
        return output_of(await self.response())


class Client:
    """A connection to the mesh; made by `connect`."""

    def __init__(self, pipe: SubmitPipe) -> None:
        self._pipe = pipe
        self._ids = RequestIds()

    async def call(self, capability: str, input: Any = None, **options: Any) -> Any:
        """Submits a request and waits for its output."""
        submission = self._submit(capability, input, **options)
        return output_of(await submission.response)

    def _submit(
        self, capability: str, input: Any, *, timeout: float | None = None, **options: Any
    ) -> Submission:
        request_id = self._ids.make()
        request = fill_request(request_id, capability, input, timeout=timeout, **options)
        return self._pipe.submit(request_id, request, timeout and timeout + 1.0)

    async def submit(self, capability: str, input: Any = None, **options: Any) -> Handle:
        """Submits a request; returns when there is room for it on the stream."""
        await self._pipe.room()
        return Handle(self, self._submit(capability, input, **options))

    async def gather(self, handles: Sequence[Handle]) -> list[Any]:
        """Waits for all outputs, in order."""
        return [await handle.result() for handle in handles]


@asynccontextmanager
async def connect(
    target: str | None = None, *, tenant: str | None = None, principal: str | None = None
) -> AsyncIterator[Client]:
    """A client; everything it began is over when the block is left, but not the contracts."""
    targets = find_targets(target, tenant=tenant, principal=principal)
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(targets.scheduler))
        stub = SchedulerServiceStub(channel)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        pipe = SubmitPipe(lambda: stub.SubmitStream(metadata=targets.metadata))
        running = tasks.create_task(pipe.run())
        try:
            yield Client(pipe)
        finally:
            running.cancel()
