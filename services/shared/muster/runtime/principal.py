"""Who is calling: every call has a Principal, and every answer is confined to its tenant.

On loopback the caller says who it is, in metadata. When identity becomes real only this source
changes; whoever asks `current_principal()` does not notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache
from typing import NamedTuple

from muster.model.errors import InvalidArgument, Violation

TENANT_KEY = "muster-tenant"
PRINCIPAL_KEY = "muster-principal"

# A tenant becomes part of paths and subjects, so it is lower case and has no dot.
_TENANT = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?")
# Room for e-mail addresses and SPIFFE ids; nothing that ends a line or a header.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:/+-]{0,127}")


class Principal(NamedTuple):
    """The tenant that a caller belongs to, and its name in it."""

    tenant: str = "default"
    name: str = "local"


DEFAULT_PRINCIPAL = Principal()

_current: ContextVar[Principal] = ContextVar("muster_principal", default=DEFAULT_PRINCIPAL)


def current_principal() -> Principal:
    """The caller of the gRPC call that runs this code; the default one outside of any call."""
    return _current.get()


def set_current_principal(principal: Principal) -> None:
    """Makes `principal` the current one for the rest of this task; the interceptor's business."""
    _current.set(principal)


def principal_of_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> Principal:
    """The principal that a call's metadata names.

    Raises `InvalidArgument` for a malformed name, and for a key that is there twice: which one
    counts must not depend on who reads it.
    """
    tenant: str | bytes | None = None
    name: str | bytes | None = None
    for key, value in metadata:
        if key == TENANT_KEY:
            tenant = _only(key, tenant, value)
        elif key == PRINCIPAL_KEY:
            name = _only(key, name, value)
    if tenant is None and name is None:
        return DEFAULT_PRINCIPAL
    return make_principal(
        DEFAULT_PRINCIPAL.tenant if tenant is None else tenant,
        DEFAULT_PRINCIPAL.name if name is None else name,
    )


@lru_cache(maxsize=4096)
def make_principal(tenant: str | bytes, name: str | bytes) -> Principal:
    """The principal; raises `InvalidArgument` where a name is malformed."""
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        raise _malformed(
            TENANT_KEY, "1 to 64 of a-z, 0-9, _ and -, with a letter or digit at both ends"
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _malformed(PRINCIPAL_KEY, "1 to 128 of letters, digits and _.@:/+-")
    return Principal(tenant, name)


def _only(key: str, before: str | bytes | None, value: str | bytes) -> str | bytes:
    if before is not None:
        raise _malformed(key, "there only once")
    return value


def _malformed(key: str, wanted: str) -> InvalidArgument:
    return InvalidArgument(
        f"the metadata {key} must be {wanted}",
        violations=[Violation(field=key, description=f"must be {wanted}")],
    )
