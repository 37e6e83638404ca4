"""One process of the mesh: its gRPC server, its HTTP listener, and the parts that they serve.

    async with serve(config, [part, …]) as server:
        server.address                      # where gRPC listens, also when port 0 was asked for
        await server.run_until_signalled()  # SIGTERM or SIGINT drains

Start: bind → gRPC and HTTP, everything NOT_SERVING → parts in order → SERVING. Stop: NOT_SERVING,
no new streams → parts drain, last one first → streams that are left get UNAVAILABLE, calls finish →
parts end, last one first → HTTP. A part that fails stops the process; `wait_stopped` raises why.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass

import grpc
from prometheus_client import CollectorRegistry

from muster.failpoints import failpoint
from muster.runtime import http, metrics, network
from muster.runtime.config import Listen, Tls
from muster.runtime.health import Condition, Health
from muster.runtime.health_port import serve_health
from muster.runtime.interceptor import CallInterceptor
from muster.runtime.lifetime import Owned, background
from muster.runtime.logs import get_logger
from muster.runtime.loop_lag import LoopLag
from muster.runtime.reflection import Reflection, ReflectionSource
from muster.runtime.tls import Doors
from muster.telemetry.calls import server_interceptors
from muster.wire.channel import SERVER_OPTIONS

NO_TLS = Tls()

_log = get_logger("muster.runtime")


async def _nothing_to_drain() -> None:
    pass


class Readiness:
    """A running part's word on whether its services can do their work."""

    def __init__(
        self,
        health: Health,
        services: Sequence[str],
        address: str = "",
        health_address: str = "",
    ) -> None:
        self.address = address  # gRPC target at which others reach the process
        self.health_address = health_address  # where its health is asked, if that is elsewhere
        self._health = health
        self._services = services

    def serving(self) -> None:
        """Everything that the part needs is there. Said for it once it has started."""
        self._all(Condition.SERVING)

    def impaired(self) -> None:
        """Something that it needs is away. Calls still reach it, and each finds out for itself."""
        self._all(Condition.IMPAIRED)

    def _all(self, condition: Condition) -> None:
        for service in self._services:
            self._health.set(service, condition)


@dataclass(frozen=True)
class Part:
    """What a service gives to the process that runs it."""

    name: str
    # "registry": for logs.

    services: Mapping[str, Callable[[grpc.aio.Server], None]]
    # Full name of each gRPC service, and what adds its servicer to a server.

    run: Callable[[Readiness], AbstractAsyncContextManager[None]]
    # The part runs inside this block: ready when it is entered, ended when it is left.

    drain: Callable[[], Awaitable[None]] = _nothing_to_drain
    # Finishes what can be finished soon. Bounded by `drain_seconds`; streams should end here.

    metrics: Sequence[CollectorRegistry] = ()
    reflection: Sequence[ReflectionSource] = ()


@asynccontextmanager
async def serve(listen: Listen, parts: Sequence[Part], tls: Tls = NO_TLS) -> AsyncIterator[Server]:
    """Runs the parts while the block runs; in it, everything is served.

    Raises `ConfigError` where it may not or cannot listen, and whatever a part raises. What a part
    raises while the block runs comes out of `wait_stopped`, and else at the end of the block.
    """
    server = Server(listen, parts, tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Server:
    """A process of the mesh from start to stop. Use `serve`, unless something else owns it."""

    def __init__(self, listen: Listen, parts: Sequence[Part], tls: Tls = NO_TLS) -> None:
        self._listen = listen
        self._tls = tls
        self._parts = parts
        names = [name for part in parts for name in part.services]
        self._health = Health(names)
        self._lag = LoopLag()
        self._registry = metrics.process_registry(self._lag)
        self._calls = CallInterceptor(
            self._health,
            metrics.CallMetrics(self._registry),
            listen.unary_calls_max,
            listen.streams_max,
        )
        self._reflection = Reflection(names)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._life: Owned | None = None
        self._ready = False  # everything is served, or was
        self._interrupted = False  # it was told to stop before that
        self._address = ""
        self._token_address: str | None = None
        self._http_address: str | None = None
        self._health_port: int | None = None

    @property
    def address(self) -> str:
        """Where gRPC listens, as `host:port`; a gRPC target as well."""
        return self._address

    @property
    def token_address(self) -> str | None:
        """Where gRPC takes tokens instead of certificates, as `host:port`."""
        return self._token_address

    @property
    def http_address(self) -> str | None:
        """Where HTTP listens, as `host:port`."""
        return self._http_address

    @property
    def health_address(self) -> str | None:
        """Where gRPC tells health in clear, as `host:port`."""
        return self._health_at(self._address)

    @property
    def health(self) -> Health:
        """The condition of every service."""
        return self._health

    async def start(self) -> None:
        """Returns when everything is served, or it was told to stop before that; raises, with
        nothing left behind, where it fails."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = Owned(self._live(ready), "muster server")
        try:
            await self._life.wait_for_either(ready)
            if self._life.done:
                await self._life.wait()
        except BaseException:
            await self._life.cancel()
            raise

    def request_stop(self, *, hurry: bool = False) -> None:
        """Begins to stop, and returns at once; `hurry` cuts a drain short that has begun."""
        self._stop.set()
        if self._life is not None and not self._ready and not self._interrupted:
            # A part may wait for a server that is away, for as long as it takes.
            self._interrupted = True
            self._life.interrupt()
        if hurry:
            self._hurry.set()

    async def stop(self) -> None:
        """Returns when everything has ended. Safe to call twice, also at once, and before start.

        Raises what a part has failed with, if one did.
        """
        self.request_stop()
        await self.wait_stopped()

    async def wait_stopped(self) -> None:
        """Returns when everything has ended; raises what a part has failed with."""
        if self._life is not None:
            await self._life.wait()

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """SIGTERM or SIGINT drains while the block runs; a second one does not wait for that."""
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            self.request_stop(hurry=self._stop.is_set())

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def run_until_signalled(self) -> None:
        """Runs until SIGTERM or SIGINT has drained it; see `stopped_by_signals`."""
        with self.stopped_by_signals():
            await self.wait_stopped()

    async def _live(self, ready: asyncio.Future[None]) -> None:
        try:
            await self._serve(ready)
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
        _log.info("stopped", grpc=self._address)

    async def _serve(self, ready: asyncio.Future[None]) -> None:
        async with AsyncExitStack() as stack:
            grpc_server = self._bind()
            # Also where a part fails to start; stopping twice is harmless.
            stack.push_async_callback(grpc_server.stop, None)
            await self._start_http(stack)
            await self._start_health(stack)
            await stack.enter_async_context(background(self._lag.run))
            await grpc_server.start()
            for part in self._parts:
                address = self._listen.advertise or self._address
                readiness = Readiness(
                    self._health, tuple(part.services), address, self._health_at(address) or ""
                )
                await stack.enter_async_context(part.run(readiness))
                readiness.serving()
            # On the way out calls end before the parts that answer them, also when one has failed.
            stack.push_async_callback(grpc_server.stop, None)
            _log.info("serving", grpc=self._address, http=self._http_address)
            if self._token_address is not None:
                _log.info("serving callers with tokens", grpc=self._token_address)
            self._ready = True
            ready.set_result(None)
            await self._stop.wait()
            await self._drain(grpc_server)

    def _bind(self) -> grpc.aio.Server:
        doors = Doors(self._listen, self._tls)
        self._calls.identify = doors.identify
        # Spans of calls go around all else: a refusal is part of what happened, too.
        interceptors = [*server_interceptors(), self._calls]
        server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
        # From 1.84 on gRPC waits for each method that generated code registers on its own, which
        # makes a unary call a fifth dearer with as many methods as here.
        server.add_registered_method_handlers = _serve_generically  # type: ignore[method-assign,assignment]
        for part in self._parts:
            for add in part.services.values():
                add(server)
            for source in part.reflection:
                self._reflection.add_source(source)
        self._health.add_to(server)
        # What it tells is no secret, but nobody in production needs it either.
        if self._tls.profile != "production":
            self._reflection.add_to(server)
        port, token_port = doors.open(server)
        self._address = network.join_address(self._listen.host, port)
        if token_port is not None:
            self._token_address = network.join_address(self._listen.host, token_port)
        return server

    async def _start_http(self, stack: AsyncExitStack) -> None:
        if self._listen.http_port is None:
            return
        listener = network.listening_socket(self._listen.host, self._listen.http_port)
        host, port = listener.getsockname()[:2]
        self._http_address = network.join_address(host, port)
        registries = (self._registry, *(each for part in self._parts for each in part.metrics))
        by_path = http.routes(
            metrics=lambda: metrics.exposition(registries),
            is_ready=self._health.is_serving,
            describe=lambda: {
                name: condition.value for name, condition in self._health.conditions().items()
            },
        )
        await stack.enter_async_context(http.serve_http(listener, by_path))

    async def _start_health(self, stack: AsyncExitStack) -> None:
        port = self._listen.health_port
        if port is not None:
            telling = serve_health(self._health, self._listen.host, port)
            self._health_port = await stack.enter_async_context(telling)

    def _health_at(self, address: str) -> str | None:
        """Where health is told of the process that is reached at `address`."""
        if self._health_port is None:
            return None
        return f"{address.rpartition(':')[0]}:{self._health_port}"

    async def _drain(self, grpc_server: grpc.aio.Server) -> None:
        clock = asyncio.get_running_loop().time
        ends_at = clock() + self._listen.drain_seconds
        self._health.drain()
        async with asyncio.TaskGroup() as group:
            drains = group.create_task(self._drain_parts())
            hurry = group.create_task(self._hurry.wait())
            await asyncio.wait(
                {drains, hurry},
                timeout=self._listen.drain_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            drains.cancel()
            hurry.cancel()
        await self._calls.end()
        await grpc_server.stop(0 if self._hurry.is_set() else max(0.0, ends_at - clock()))

    @failpoint("drain")
    async def _drain_parts(self) -> None:
        for part in reversed(self._parts):
            try:
                await part.drain()
            except Exception:  # noqa: BLE001 - it stops all the same: what it accepted is durable
                _log.exception("a part could not drain", part=part.name)


def _serve_generically(service: str, handlers: object) -> None:
    """Instead of registering methods: they are found by their names, as before."""
