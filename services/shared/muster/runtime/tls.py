"""TLS on this process's gRPC server: which ports, with which certificates, and who is believed.

gRPC for Python can insist on a client's certificate or not ask for one; it cannot do both on one
port. So callers with certificates have one port, and those with tokens another.
"""

from __future__ import annotations

from functools import partial

import grpc

from muster.runtime import network
from muster.runtime.config import ConfigError, Listen, Tls
from muster.runtime.identity.callers import Callers, Identify, by_metadata
from muster.runtime.identity.material import Material, load_material, paths_of
from muster.runtime.identity.watched import Watched


class Doors:
    """The ports of a server, and how it finds out who comes in."""

    def __init__(self, listen: Listen, tls: Tls) -> None:
        """Raises `ConfigError` where this would be insecure, or files are no use."""
        _require_secure(listen, tls)
        self._listen = listen
        self._tls = tls
        self._material: Watched[Material] | None = None
        self.identify: Identify = by_metadata
        if tls.enabled:
            self._material = Watched(
                "certificates", partial(paths_of, tls), partial(load_material, tls)
            )
            self.identify = Callers(tls, self._material.current().domain).identify

    def open(self, server: grpc.aio.Server) -> tuple[int, int | None]:
        """Binds; returns the port, and that for tokens. Raises `ConfigError`."""
        port = self._bind(server, self._listen.grpc_port, with_certificate=True)
        if self._tls.token_port is None:
            return port, None
        return port, self._bind(server, self._tls.token_port, with_certificate=False)

    def _bind(self, server: grpc.aio.Server, port: int, *, with_certificate: bool) -> int:
        host = self._listen.host
        network.require_free(host, port)
        address = network.join_address(host, port)
        try:
            if self._material is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(
                address, _credentials(self._material, with_certificate=with_certificate)
            )
        except RuntimeError:
            raise ConfigError(f"cannot listen on {address}: gRPC gives no reason") from None


def _require_secure(listen: Listen, tls: Tls) -> None:
    if tls.enabled:
        return
    if tls.profile == "production":
        raise ConfigError(
            "refusing to start without TLS in the production profile; set MUSTER_TLS_CERT, "
            "MUSTER_TLS_KEY and MUSTER_TLS_CA. For files to begin with: muster certs"
        )
    settings = {
        "MUSTER_TLS_KEY": tls.tls_key,
        "MUSTER_TLS_CA": tls.tls_ca,
        "MUSTER_TOKEN_PORT": tls.token_port is not None,
        "MUSTER_TOKEN_KEYS": tls.token_keys,
        "MUSTER_GRANTS": tls.grants,
    }
    idle = [name for name, value in settings.items() if value]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)} would protect nothing without TLS; set MUSTER_TLS_CERT too"
        )
    network.require_loopback(listen.host)


def _credentials(material: Watched[Material], *, with_certificate: bool) -> grpc.ServerCredentials:
    """Looks for new certificates at each handshake; connections that are there go on."""
    given = material.current()

    def configuration(of: Material) -> grpc.ServerCertificateConfiguration:
        authorities = of.ca if with_certificate else None
        return grpc.ssl_server_certificate_configuration([(of.key, of.cert)], authorities)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        current = material.current()
        if current is given:
            return None
        given = current
        return configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        configuration(given),
        fetch,  # type: ignore[arg-type] # the stubs do not know that None means: as before
        require_client_authentication=with_certificate,
    )
