"""Finds out who makes a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from muster.model import limits
from muster.model.errors import NotAllowed, NotAuthenticated
from muster.runtime.config import ConfigError, Tls
from muster.runtime.identity.grants import SETTING, GrantBook, parse_grants
from muster.runtime.identity.spiffe import is_domain, principal_of
from muster.runtime.identity.token_keys import key_files, load_keys
from muster.runtime.identity.tokens import Tokens
from muster.runtime.identity.watched import Watched, read_file
from muster.runtime.principal import (
    AGENTS_KEY,
    FORWARDED_KEY,
    PRINCIPAL_KEY,
    ROLES_KEY,
    SERVICE,
    SUBMITS_KEY,
    TENANT_KEY,
    Metadata,
    Principal,
    only,
    principal_of_metadata,
    principal_passed_on,
)

AUTHORIZATION_KEY = "authorization"
_CERTIFICATE = "x509_pem_cert"
_URIS = "peer_uri"
_CERTIFIED_MAX = 4096


class Context(Protocol):
    """What is needed of a call's context."""

    def invocation_metadata(self) -> Any: ...

    def auth_context(self) -> Mapping[str, Any]: ...


# Raises `MusterError` where the caller is not known, or claims to be somebody else.
Identify = Callable[[Context], Principal]


def by_metadata(context: Context) -> Principal:
    """Without TLS, on loopback: whoever the caller says it is."""
    return principal_of_metadata(context.invocation_metadata() or ())


class Callers:
    """With TLS: by certificate, where the connection has one, and else by token."""

    def __init__(self, tls: Tls, domain: str | None) -> None:
        """`domain` is that of this process's own certificate. Raises `ConfigError`."""
        self._domain = _trust_domain(tls, domain)
        self._tokens = _tokens(tls)
        self._grants = _grants(tls)
        self._certified: dict[tuple[bytes, ...], Principal] = {}
        self._grants_version = 0

    def identify(self, context: Context) -> Principal:
        """The caller. Raises `NotAuthenticated`, or `NotAllowed` where it claims to be another."""
        metadata = context.invocation_metadata() or ()
        proven = context.auth_context()
        if _CERTIFICATE in proven:
            principal = self._of_certificate(tuple(proven.get(_URIS) or ()))
        else:
            principal = self._of_token(metadata)
        if SERVICE in principal.roles:
            return principal_passed_on(metadata) or principal
        _require_no_claim(principal, metadata)
        return principal

    def _of_certificate(self, uris: tuple[bytes, ...]) -> Principal:
        grants = self._current_grants()
        known = self._certified.get(uris)
        if known is not None:
            return known
        uri = uris[0].decode(errors="replace") if len(uris) == 1 else ""
        principal = principal_of(uri, self._domain)
        if principal is None:
            raise NotAuthenticated(
                "the certificate names nobody here; it needs one URI like "
                f"spiffe://{self._domain}/tenant/TENANT/client/NAME"
            )
        if grants is not None and SERVICE not in principal.roles:
            principal = grants.of(principal)
        if len(self._certified) >= _CERTIFIED_MAX:
            self._certified.clear()
        self._certified[uris] = principal
        return principal

    def _of_token(self, metadata: Metadata) -> Principal:
        said: str | bytes | None = None
        for key, value in metadata:
            if key == AUTHORIZATION_KEY:
                said = only(key, said, value)
        if said is None or self._tokens is None:
            raise NotAuthenticated(
                "no credentials: show a client certificate, or a token on the port for tokens"
            )
        scheme, _, token = said.partition(" ") if isinstance(said, str) else ("", "", "")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("the metadata authorization must be: Bearer TOKEN")
        known = self._tokens.check(token)
        grants = self._current_grants()
        if grants is not None and not known.has_grants:
            return grants.of(known.principal)
        return known.principal

    def _current_grants(self) -> GrantBook | None:
        if self._grants is None:
            return None
        grants = self._grants.current()
        if self._grants_version != self._grants.version:
            self._grants_version = self._grants.version
            self._certified.clear()
        return grants


def _require_no_claim(principal: Principal, metadata: Metadata) -> None:
    """Only services speak for others; everybody else may at most say who they are."""
    own = {TENANT_KEY: principal.tenant, PRINCIPAL_KEY: principal.name}
    for key, value in metadata:
        if key in own:
            if value != own[key]:
                raise NotAllowed(
                    f"the metadata {key} names somebody else than the caller's credentials; "
                    "leave it out"
                )
        elif key in (ROLES_KEY, SUBMITS_KEY, AGENTS_KEY, FORWARDED_KEY):
            raise NotAllowed(f"the metadata {key} is for services of the mesh; leave it out")


def _trust_domain(tls: Tls, domain: str | None) -> str:
    found = tls.trust_domain or domain
    if not found or not is_domain(found):
        raise ConfigError(
            "MUSTER_TRUST_DOMAIN must name the domain of callers' identities, because the "
            "certificate in MUSTER_TLS_CERT has none: spiffe://DOMAIN/service/NAME"
        )
    return found


def _tokens(tls: Tls) -> Tokens | None:
    path = tls.token_keys
    if tls.token_port is None:
        if path is not None:
            raise ConfigError("MUSTER_TOKEN_KEYS is of no use without MUSTER_TOKEN_PORT; set it")
        return None
    needed = {
        "MUSTER_TOKEN_KEYS": path,
        "MUSTER_TOKEN_ISSUER": tls.token_issuer.strip(),
        "MUSTER_TOKEN_AUDIENCE": tls.token_audience.strip(),
    }
    missing = [name for name, value in needed.items() if not value]
    if missing or path is None:
        raise ConfigError(
            f"tokens on MUSTER_TOKEN_PORT cannot be checked without {', '.join(missing)}; set it"
        )
    keys = Watched(
        "token keys",
        partial(key_files, path),
        partial(load_keys, path),
        seconds=limits.IDENTITY_CHECK_SECONDS,
        clock=time.monotonic,
    )
    return Tokens(keys, tls.token_issuer, tls.token_audience)


def _grants(tls: Tls) -> Watched[GrantBook] | None:
    path = tls.grants
    if path is None:
        return None

    def load() -> GrantBook:
        return parse_grants(read_file(SETTING, path, limits.GRANTS_BYTES_MAX))

    return Watched(
        "grants",
        lambda: [path],
        load,
        seconds=limits.IDENTITY_CHECK_SECONDS,
        clock=time.monotonic,
    )
