"""The yardstick: a unary echo on plain grpc.aio, `python -m benchmarks.raw_echo PORT`."""

from __future__ import annotations

import sys
from typing import Any

import grpc

METHOD = "/bench.Raw/Echo"


async def _echo(request: bytes, context: Any) -> bytes:
    return request


async def _serve(port: int) -> None:
    server = grpc.aio.server()
    service, method = METHOD.strip("/").split("/")
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        method: grpc.unary_unary_rpc_method_handler(_echo)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
