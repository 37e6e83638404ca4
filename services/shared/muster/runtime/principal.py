"""Who is calling: every call has a Principal, and every answer is confined to its tenant.

On loopback without TLS the caller says who it is, in metadata. With TLS its certificate or token
proves it (`muster.runtime.identity`); only this source differs, and whoever asks
`current_principal()` does not notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache
from typing import NamedTuple

from muster.model.errors import InvalidArgument, NotAllowed, Violation
from muster.v1.permission_pb2 import Role

TENANT_KEY = "muster-tenant"
PRINCIPAL_KEY = "muster-principal"
# A service that passes a call on says in these what its caller may do.
ROLES_KEY = "muster-roles"
SUBMITS_KEY = "muster-submits"
AGENTS_KEY = "muster-agents"  # only where the call is about an agent: that one
FORWARDED_KEY = "muster-forwarded"  # there where another scheduler has passed the call on

# A tenant becomes part of paths and subjects, so it is lower case and has no dot.
_TENANT = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?")
# Room for e-mail addresses and SPIFFE ids; nothing that ends a line or a header.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:/+-]{0,127}")
_PATTERN = re.compile(r"(?=.{1,128}$)[A-Za-z0-9_.-]*\*?[A-Za-z0-9_.-]*")
PATTERNS_MAX = 64  # × 128 characters: they fit the metadata of a call that is passed on

CLIENT, AGENT = Role.ROLE_CLIENT, Role.ROLE_AGENT
OPERATOR, SERVICE = Role.ROLE_OPERATOR, Role.ROLE_SERVICE
# role -> its name in certificates, tokens and metadata
ROLE_NAMES: dict[int, str] = {
    CLIENT: "client",
    AGENT: "agent",
    OPERATOR: "operator",
    SERVICE: "service",
}
EVERY_ROLE: frozenset[int] = frozenset(ROLE_NAMES)
_ROLES_BY_NAME = {name: role for role, name in ROLE_NAMES.items()}

Patterns = tuple[str, ...]
ANYTHING: Patterns = ("*",)
NOTHING: Patterns = ()


class Grants(NamedTuple):
    """What a principal may do within its roles. A pattern is a name, in which one `*` may stand for
    any characters."""

    submits: Patterns = ANYTHING  # capabilities that it may ask for
    offers: Patterns = ANYTHING  # capabilities that its agents may offer
    hosts: Patterns = ANYTHING  # names under which it may open a session
    agents: Patterns = ANYTHING  # names that its agents may have
    publishes: Patterns = ANYTHING  # topics to which its agents may publish


EVERYTHING = Grants()


class Principal(NamedTuple):
    """The tenant that a caller belongs to, its name in it, and what it may do there."""

    tenant: str = "default"
    name: str = "local"
    roles: frozenset[int] = EVERY_ROLE
    grants: Grants = EVERYTHING

    def require_submit(self, capability: str) -> None:
        """Raises `NotAllowed` where the principal may not ask for `capability`."""
        if not allows(self.grants.submits, capability):
            raise NotAllowed(f"{self.name} may not ask for {capability!r}; grant it: submits")

    def require_publish(self, topic: str) -> None:
        """Raises `NotAllowed` where the principal's agents may not publish to `topic`."""
        if not allows(self.grants.publishes, topic):
            raise NotAllowed(f"{self.name} may not publish to {topic!r}; grant it: publishes")

    def require_host(self, host: str) -> None:
        """Raises `NotAllowed` where the principal may not open a session as `host`."""
        if not allows(self.grants.hosts, host):
            raise _not_this_name("host", host, self.grants.hosts)

    def require_agent(self, agent: str, capabilities: Iterable[str]) -> None:
        """Raises `NotAllowed` where the principal may have no such agent, or not with that."""
        grants = self.grants
        if grants is EVERYTHING:
            return
        if not allows(grants.agents, agent):
            raise _not_this_name("agent", agent, grants.agents)
        for capability in capabilities:
            if not allows(grants.offers, capability):
                raise NotAllowed(f"{self.name} may not offer {capability!r}; grant it: offers")


DEFAULT_PRINCIPAL = Principal()

_current: ContextVar[Principal] = ContextVar("muster_principal", default=DEFAULT_PRINCIPAL)


def current_principal() -> Principal:
    """The caller of the gRPC call that runs this code; the default one outside of any call."""
    return _current.get()


def set_current_principal(principal: Principal) -> None:
    """Makes `principal` the current one for the rest of this task; the interceptor's business."""
    _current.set(principal)


# --- metadata -------------------------------------------------------------------------------------

Metadata = Iterable[tuple[str, str | bytes]]


def principal_of_metadata(metadata: Metadata) -> Principal:
    """The principal that a call's metadata names.

    Raises `InvalidArgument` for a malformed name, and for a key that is there twice: which one
    counts must not depend on who reads it.
    """
    tenant: str | bytes | None = None
    name: str | bytes | None = None
    for key, value in metadata:
        if key == TENANT_KEY:
            tenant = only(key, tenant, value)
        elif key == PRINCIPAL_KEY:
            name = only(key, name, value)
    if tenant is None and name is None:
        return DEFAULT_PRINCIPAL
    return make_principal(
        DEFAULT_PRINCIPAL.tenant if tenant is None else tenant,
        DEFAULT_PRINCIPAL.name if name is None else name,
    )


@lru_cache(maxsize=4096)
def make_principal(tenant: str | bytes, name: str | bytes) -> Principal:
    """The principal with every role; raises `InvalidArgument` where a name is malformed."""
    if not is_tenant(tenant):
        raise _malformed(
            TENANT_KEY, "1 to 64 of a-z, 0-9, _ and -, with a letter or digit at both ends"
        )
    if not is_name(name):
        raise _malformed(PRINCIPAL_KEY, "1 to 128 of letters, digits and _.@:/+-")
    assert isinstance(tenant, str)
    assert isinstance(name, str)
    return Principal(tenant, name)


def metadata_of(principal: Principal) -> tuple[tuple[str, str], ...]:
    """What a service says of a caller whose call it passes on."""
    return (
        (TENANT_KEY, principal.tenant),
        (PRINCIPAL_KEY, principal.name),
        (ROLES_KEY, ",".join(sorted(ROLE_NAMES[role] for role in principal.roles))),
        (SUBMITS_KEY, ",".join(principal.grants.submits)),
    )


def principal_passed_on(metadata: Metadata) -> Principal | None:
    """The caller that a service names, which must be believed first; None where it names none.

    Roles that it does not name are not given. Raises `InvalidArgument` as `principal_of_metadata`.
    """
    said: dict[str, str | bytes] = {}
    for key, value in metadata:
        if key in (TENANT_KEY, PRINCIPAL_KEY, ROLES_KEY, SUBMITS_KEY, AGENTS_KEY):
            said[key] = only(key, said.get(key), value)
    if TENANT_KEY not in said:
        return None
    return _passed_on(
        said[TENANT_KEY],
        said.get(PRINCIPAL_KEY, DEFAULT_PRINCIPAL.name),
        said.get(ROLES_KEY, ROLE_NAMES[SERVICE]),
        said.get(SUBMITS_KEY, ""),
        said.get(AGENTS_KEY, ""),
    )


@lru_cache(maxsize=4096)
def _passed_on(
    tenant: str | bytes,
    name: str | bytes,
    roles: str | bytes,
    submits: str | bytes,
    agents: str | bytes,
) -> Principal:
    named = make_principal(tenant, name)
    if not isinstance(roles, str):
        raise _malformed(ROLES_KEY, "text")
    grants = Grants(
        _patterns(SUBMITS_KEY, submits),
        NOTHING,
        NOTHING,
        _patterns(AGENTS_KEY, agents),
        NOTHING,
    )
    return named._replace(roles=roles_of_names(roles.split(",")), grants=grants)


def _patterns(key: str, text: str | bytes) -> Patterns:
    patterns = tuple(filter(None, text.split(","))) if isinstance(text, str) else None
    if patterns is None or not are_patterns(patterns):
        raise _malformed(key, "patterns of names, separated by commas")
    return patterns


def only(key: str, before: str | bytes | None, value: str | bytes) -> str | bytes:
    """`value`; raises `InvalidArgument` where there was one of this key before."""
    if before is not None:
        raise _malformed(key, "there only once")
    return value


def _malformed(key: str, wanted: str) -> InvalidArgument:
    return InvalidArgument(
        f"the metadata {key} must be {wanted}",
        violations=[Violation(field=key, description=f"must be {wanted}")],
    )


# --- names and patterns ---------------------------------------------------------------------------


def is_tenant(text: object) -> bool:
    """Whether a tenant may be called so."""
    return isinstance(text, str) and _TENANT.fullmatch(text) is not None


def is_name(text: object) -> bool:
    """Whether a principal may be called so."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def are_patterns(found: object) -> bool:
    """Whether these are patterns, and no more than may be."""
    return (
        isinstance(found, list | tuple)
        and len(found) <= PATTERNS_MAX
        and all(isinstance(each, str) and _PATTERN.fullmatch(each) for each in found)
    )


def roles_of_names(names: Iterable[object]) -> frozenset[int]:
    """The roles of these names; what is no role gives none."""
    return frozenset(
        _ROLES_BY_NAME[name] for name in names if isinstance(name, str) and name in _ROLES_BY_NAME
    )


def allows(patterns: Patterns, name: str) -> bool:
    """Whether one of the patterns fits the whole of `name`."""
    if patterns is ANYTHING:
        return True
    return any(_fits(pattern, name) for pattern in patterns)


def _fits(pattern: str, name: str) -> bool:
    begins, star, ends = pattern.partition("*")
    if not star:
        return pattern == name
    long_enough = len(name) >= len(begins) + len(ends)
    return long_enough and name.startswith(begins) and name.endswith(ends)


def _not_this_name(kind: str, name: str, granted: Patterns) -> NotAllowed:
    may = ", ".join(granted) or "none"
    return NotAllowed(f"this caller may not run the {kind} {name!r}; its names: {may}")
