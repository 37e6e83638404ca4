"""The client: asks the mesh for work, and follows what becomes of it.

    async with connect() as mesh:
        summary = await mesh.call("text.summarize", {"text": text}, timeout=60)

There is no blocking twin of it: `call_sync` asks for one thing from code that has no event loop,
and everything more deserves one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from muster.agent.asking import RequestIds, RequestOptions, fill_options, output_of
from muster.agent.contents import fill, fill_small, is_small
from muster.agent.handle import EXPIRY_GRACE_SECONDS, Handle
from muster.agent.options import find_targets
from muster.agent.queries import Queries
from muster.agent.services import Services, spans_of_process
from muster.agent.submitting import Submission, SubmitPipe
from muster.agent.values import input_content
from muster.v1.request_pb2 import Request

if TYPE_CHECKING:
    from muster.agent.spans import Spans

T = TypeVar("T")

STREAM_IN_FLIGHT_DEFAULT = 1_000


class Ask:
    """A request to be made: a capability, its input, and what else there is to say about it."""

    __slots__ = ("capability", "input", "options")

    def __init__(
        self, capability: str, input: Any = None, **options: Unpack[RequestOptions]
    ) -> None:
        self.capability = capability
        self.input = input
        self.options = options


class Client(Queries):
    """A connection to the mesh; made by `connect`. Errors of the mesh are `MusterError`s."""

    def __init__(self, services: Services, pipe: SubmitPipe, spans: Spans | None = None) -> None:
        super().__init__(services)
        self._pipe = pipe
        self._spans = spans  # None while traces are off
        self._ids = RequestIds()

    @overload
    async def call(
        self,
        capability: str,
        input: Any = None,
        *,
        returns: type[T],
        **options: Unpack[RequestOptions],
    ) -> T: ...

    @overload
    async def call(
        self, capability: str, input: Any = None, **options: Unpack[RequestOptions]
    ) -> Any: ...

    async def call(
        self, capability: str, input: Any = None, *, returns: Any = None, **options: Any
    ) -> Any:
        """Asks for work and waits for its output, as `returns` (an annotated type) if given.

        Raises `ContractFailed` when it ends without output. Cancelling the caller does not cancel
        the contract; `submit` gives a handle that can.
        """
        submission = await self._submit(capability, input, options)  # type: ignore[arg-type]
        answer = submission.response
        # Whoever has named the id may wait for it twice, and only one of them be cancelled.
        response = await (asyncio.shield(answer) if "request_id" in options else answer)
        return await output_of(response, self.blobs, returns)

    async def submit(
        self, capability: str, input: Any = None, **options: Unpack[RequestOptions]
    ) -> Handle:
        """Sends a request on its way; `await handle.accepted()` says that it is recorded.

        Waits while as many requests are open as one stream may have.
        """
        return Handle(self, self._pipe, await self._submit(capability, input, options))

    async def _submit(self, capability: str, input: Any, options: RequestOptions) -> Submission:
        began_ns = None if self._spans is None else time.time_ns()
        request = Request()
        request.request_id = request_id = options.get("request_id") or self._ids.make()
        request.capability.name = capability
        content = input_content(input)
        if is_small(content):
            fill_small(request.payload, content)
        else:
            await fill(request.payload, content, self.blobs)
        timeout = None
        if options:
            fill_options(request, options)
            timeout = options.get("timeout")
        if self._pipe.full:
            await self._pipe.room()
        expiry = None if timeout is None else timeout + EXPIRY_GRACE_SECONDS
        if self._spans is None:
            return self._pipe.submit(request_id, request, expiry)
        span = self._spans.ask(request, began_ns)
        submission = self._pipe.submit(request_id, request, expiry)
        if span is not None:
            self._spans.follow(span, submission.response)
        return submission

    async def gather(self, asks: Sequence[Ask | Handle]) -> list[Any]:
        """Asks for many and waits for all their outputs, in the same order.

        Raises `ContractFailed` for the first in order that failed, once all have ended.
        """
        handles = [await self._handle_of(ask) for ask in asks]
        if handles:
            await asyncio.wait([handle.submission.response for handle in handles])
        return [await handle.result() for handle in handles]

    async def stream(
        self,
        asks: Iterable[Ask] | AsyncIterable[Ask],
        *,
        in_flight: int = STREAM_IN_FLIGHT_DEFAULT,
    ) -> AsyncIterator[Handle]:
        """Asks for many, at most `in_flight` at a time, and yields each handle when it has ended.

        They come in the order in which they end; `handle.ask` says which one it is.
        """
        ended: deque[Handle] = deque()
        wake = asyncio.Event()
        open_ = 0
        async for ask in _each(asks):
            handle = await self._handle_of(ask)
            open_ += 1
            handle.when_ended(ended, wake)
            while ended or open_ >= in_flight:
                if not ended:
                    await wake.wait()
                wake.clear()
                while ended:
                    open_ -= 1
                    yield ended.popleft()
        while open_:
            if not ended:
                await wake.wait()
            wake.clear()
            while ended:
                open_ -= 1
                yield ended.popleft()

    async def _handle_of(self, ask: Ask | Handle) -> Handle:
        if isinstance(ask, Handle):
            return ask
        handle = await self.submit(ask.capability, ask.input, **ask.options)
        handle.ask = ask
        return handle


async def _each(asks: Iterable[Ask] | AsyncIterable[Ask]) -> AsyncIterator[Ask]:
    if isinstance(asks, AsyncIterable):
        async for ask in asks:
            yield ask
    else:
        for ask in asks:
            yield ask


@asynccontextmanager
async def connect(
    target: str | None = None, *, tenant: str | None = None, principal: str | None = None
) -> AsyncIterator[Client]:
    """A client of the mesh at `target`; see `find_targets` for what the environment can say.

    Nothing is connected before it is needed. When the block is left, what waits for answers fails;
    the contracts themselves go on.
    """
    # Before any channel is opened: they carry the spans of calls.
    spans = spans_of_process("muster-client", f"{socket.gethostname()}-{os.getpid()}")
    services = Services(find_targets(target, tenant=tenant, principal=principal))
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            pipe = SubmitPipe(services.submit_stream)
            running = tasks.create_task(pipe.run())
            try:
                yield Client(services, pipe, spans)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, where no group wraps it
                failure = error
            finally:
                running.cancel()
    finally:
        await services.close()
    if failure is not None:
        raise failure


def call_sync(
    capability: str,
    input: Any = None,
    *,
    target: str | None = None,
    **options: Unpack[RequestOptions],
) -> Any:
    """Asks for one thing from code without an event loop; connects just for it."""

    async def call() -> Any:
        async with connect(target) as mesh:
            return await mesh.call(capability, input, **options)

    return asyncio.run(call())
