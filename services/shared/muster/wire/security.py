"""What a channel shows of itself, and whom it believes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from muster.model import limits
from muster.model.errors import NotAuthenticated

# What a file was when it was read last: changes with it.
Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Security:
    """Without `ca` there is no TLS, which is for loopback only."""

    ca: Path | None = None  # authorities that the other side's certificate must come from
    cert: Path | None = None  # our own, with `key`
    key: Path | None = None
    token: str = field(default="", repr=False)  # a JWT, shown instead of a certificate
    token_file: Path | None = None  # read for each call, so that it can be renewed

    @property
    def shows_token(self) -> bool:
        """Whether calls carry a token."""
        return bool(self.token) or self.token_file is not None

    def stamp(self) -> Stamp:
        """Differs from before when a file that a channel is opened with has changed."""
        return tuple(stamp_of(path) for path in (self.ca, self.cert, self.key) if path)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Read from the files now; None where there is no TLS.

        Raises `NotAuthenticated` with one sentence that names the setting which is wrong.
        """
        if self.ca is None:
            self._require_nothing()
            return None
        if (self.cert is None) != (self.key is None):
            raise NotAuthenticated("MUSTER_TLS_CERT and MUSTER_TLS_KEY go together; set both")
        self._check()
        channel = grpc.ssl_channel_credentials(
            _read("MUSTER_TLS_CA", self.ca),
            None if self.key is None else _read("MUSTER_TLS_KEY", self.key),
            None if self.cert is None else _read("MUSTER_TLS_CERT", self.cert),
        )
        if not self.shows_token:
            return channel
        _read_token(self)
        bearer = grpc.metadata_call_credentials(_Bearer(self), "muster-token")
        return grpc.composite_channel_credentials(channel, bearer)

    def _require_nothing(self) -> None:
        for name, value in (
            ("MUSTER_TLS_CERT", self.cert),
            ("MUSTER_TLS_KEY", self.key),
            ("MUSTER_TOKEN", self.token),
            ("MUSTER_TOKEN_FILE", self.token_file),
        ):
            if value:
                raise NotAuthenticated(
                    f"{name} is of no use without TLS; name the authority: MUSTER_TLS_CA"
                )

    def _check(self) -> None:
        """Finds words for what is wrong; gRPC would only say that no connection comes about."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(self.ca)
        except (ssl.SSLError, OSError) as error:
            raise _unusable("MUSTER_TLS_CA", "certificates", error) from None
        if self.cert is None or self.key is None:
            return
        for name, path in (("MUSTER_TLS_CERT", self.cert), ("MUSTER_TLS_KEY", self.key)):
            _read(name, path)
        try:
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(self.cert, self.key, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                raise NotAuthenticated(
                    "MUSTER_TLS_KEY is not the key of the certificate in MUSTER_TLS_CERT"
                ) from None
            name = "MUSTER_TLS_CERT and MUSTER_TLS_KEY"
            raise _unusable(name, "a certificate and its unencrypted key", error) from None


NO_TLS = Security()


def find_security(environment: Mapping[str, str]) -> Security:
    """Whom to believe and what to show, of PEM files that are read again when they change.

    MUSTER_TLS_CA turns TLS on: the authorities that services' certificates come from. Then either
    MUSTER_TLS_CERT and MUSTER_TLS_KEY, or for the port that takes them a token (JWT): MUSTER_TOKEN,
    or better MUSTER_TOKEN_FILE, which is read for each call.
    """

    def path(variable: str) -> Path | None:
        named = environment.get(variable)
        return Path(named) if named else None

    return Security(
        ca=path("MUSTER_TLS_CA"),
        cert=path("MUSTER_TLS_CERT"),
        key=path("MUSTER_TLS_KEY"),
        token=environment.get("MUSTER_TOKEN", ""),
        token_file=path("MUSTER_TOKEN_FILE"),
    )


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """What `path` is now; None where it is not there, or may not be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class _Bearer(grpc.AuthMetadataPlugin):
    """Adds the token to each call; gRPC sends it over TLS only."""

    def __init__(self, security: Security) -> None:
        self._security = security

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        try:
            token = _read_token(self._security)
        except NotAuthenticated as error:
            callback((), error)
            return
        callback((("authorization", f"Bearer {token}"),), None)


def _read_token(security: Security) -> str:
    path = security.token_file
    if path is None:
        token, name = security.token, "MUSTER_TOKEN"
    else:
        name = "MUSTER_TOKEN_FILE"
        token = _read(name, path).decode(errors="replace").strip()
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise NotAuthenticated(f"{name} holds no token: three parts of letters, with dots between")
    return token


def _read(name: str, path: Path) -> bytes:
    """The file; its path stays out of what is said, for it may tell more than it should."""
    try:
        with path.open("rb") as file:
            content = file.read(limits.PEM_BYTES_MAX + 1)
    except OSError as error:
        raise NotAuthenticated(f"the file of {name} cannot be read: {error.strerror}") from None
    if len(content) > limits.PEM_BYTES_MAX:
        raise NotAuthenticated(f"the file of {name} has more than {limits.PEM_BYTES_MAX} bytes")
    return content


def _unusable(name: str, wanted: str, error: Exception) -> NotAuthenticated:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return NotAuthenticated(f"the file of {name} cannot be read: {error.strerror}")
    return NotAuthenticated(f"{name} must name PEM files that hold {wanted}")
