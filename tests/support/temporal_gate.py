"""TLS and API keys in front of a Temporal that knows neither: its development server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from muster.runtime.config import Tls


class Gate(grpc.GenericRpcHandler):
    """Passes every call on, bytes as they are, that shows a key which is good now."""

    def __init__(self, behind: grpc.aio.Channel) -> None:
        self._behind = behind
        self.good_keys: set[str] = set()
        self.passed: set[str] = set()  # keys that opened it
        self.shown: set[str] = set()  # who came, by the names in their certificates
        self.refused = 0

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        # Without serializers: bytes go in, and bytes come out.
        passed: Any = self._behind.unary_unary(handler_call_details.method)

        async def pass_on(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            shown = dict(context.invocation_metadata() or ()).get("authorization", "")
            key = str(shown).removeprefix("Bearer ")
            if key not in self.good_keys:
                self.refused += 1
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the key is not good")
            self.passed.add(key)
            name, *_ = context.auth_context()["x509_subject_alternative_name"]
            self.shown.add(name.decode().rpartition("/")[2])
            try:
                answer: bytes = await passed(request, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                details = [
                    (name, value)
                    for name, value in error.trailing_metadata() or ()
                    if name == "grpc-status-details-bin"
                ]
                context.set_trailing_metadata(details)
                await context.abort(error.code(), error.details() or "")
            return answer

        return grpc.unary_unary_rpc_method_handler(pass_on)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    key, cert, ca = (
        Path(str(part)).read_bytes() for part in (tls.tls_key, tls.tls_cert, tls.tls_ca)
    )
    return grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)


@asynccontextmanager
async def gate_before(temporal: str, tls: Tls) -> AsyncIterator[tuple[str, Gate]]:
    """Asks for a certificate, too. Gives where it is."""
    credentials = _credentials(tls)
    async with grpc.aio.insecure_channel(temporal) as behind:
        gate, server = Gate(behind), grpc.aio.server()
        server.add_generic_rpc_handlers((gate,))
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        try:
            yield f"localhost:{port}", gate
        finally:
            await server.stop(0)
