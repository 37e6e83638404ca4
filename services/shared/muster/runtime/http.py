"""The HTTP listener of a service process: /metrics, /live and /ready.

uvicorn runs in the same event loop as gRPC, for the process has only one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from socket import socket
from typing import Any

import uvicorn

from muster.runtime.lifetime import background
from muster.runtime.metrics import CONTENT_TYPE

_JSON = "application/json"
_SHUTDOWN_SECONDS_MAX = 1

# What answers a path: status, media type, body. It must not wait.
Answer = tuple[int, str, bytes]
Route = Callable[[], Answer]


def routes(
    metrics: Callable[[], bytes], is_ready: Callable[[], bool], describe: Callable[[], Any]
) -> dict[str, Route]:
    """The three routes; `describe()` is what /ready tells beyond yes or no."""

    def ready() -> Answer:
        well = is_ready()
        body = {"ready": well, "services": describe()}
        return (200 if well else 503), _JSON, json.dumps(body).encode()

    return {
        "/metrics": lambda: (200, CONTENT_TYPE, metrics()),
        "/live": lambda: (200, _JSON, b'{"live": true}'),
        "/ready": ready,
    }


@asynccontextmanager
async def serve_http(listener: socket, by_path: dict[str, Route]) -> AsyncIterator[None]:
    """Serves `by_path` on a bound socket while the block runs; closes the socket at its end."""
    config = uvicorn.Config(
        _Application(by_path),
        lifespan="off",
        log_config=None,
        access_log=False,
        log_level="warning",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS_MAX,
    )
    server = _Server(config)
    async with background(lambda: server.serve([listener])):
        await server.ready.wait()
        try:
            yield
        finally:
            server.should_exit = True
            await server.ended.wait()


class _Server(uvicorn.Server):
    """uvicorn's server, but for signals, which are the process's own business."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        try:
            await super().shutdown(sockets)
        finally:
            self.ended.set()


class _Application:
    """A bare ASGI application: GET and HEAD on fixed paths."""

    def __init__(self, by_path: dict[str, Route]) -> None:
        self._by_path = by_path

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        route = self._by_path.get(scope["path"])
        if route is None:
            answer: Answer = (404, _JSON, b'{"error": "nothing is here"}')
        elif scope["method"] not in ("GET", "HEAD"):
            answer = (405, _JSON, b'{"error": "only GET and HEAD are served"}')
        else:
            answer = route()
        status, media_type, body = answer
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        sent = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": sent})
