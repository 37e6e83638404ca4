"""Identities in certificates: one URI among the subject's alternative names, as SPIFFE has it.

    spiffe://DOMAIN/service/NAME                a process of the mesh; belongs to no tenant
    spiffe://DOMAIN/tenant/TENANT/client/NAME   asks for work
    spiffe://DOMAIN/tenant/TENANT/agent/NAME    works, as host and agent NAME, or NAME.anything
    spiffe://DOMAIN/tenant/TENANT/operator/NAME looks after the tenant's part

The principal is called after its role, `agent/NAME`, so that a client and an agent of one name
share nothing. Names with dots are a hierarchy, as in DNS: who has one has all beneath it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from muster.runtime.principal import (
    AGENT,
    ANYTHING,
    CLIENT,
    NOTHING,
    OPERATOR,
    ROLE_NAMES,
    SERVICE,
    Grants,
    Patterns,
    Principal,
    is_tenant,
)

TENANT_ROLES = {ROLE_NAMES[role]: role for role in (CLIENT, AGENT, OPERATOR)}

# As the SPIFFE specification has trust domains and the segments of paths.
_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


def is_domain(text: str) -> bool:
    """Whether a trust domain may be called so."""
    return _DOMAIN.fullmatch(text) is not None


def is_segment(text: str) -> bool:
    """Whether a certificate's principal may be called so."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def service_id(domain: str, name: str) -> str:
    """The identity of a process of the mesh."""
    return f"spiffe://{domain}/service/{name}"


def tenant_id(domain: str, tenant: str, role: str, name: str) -> str:
    """The identity of a caller that belongs to a tenant."""
    return f"spiffe://{domain}/tenant/{tenant}/{role}/{name}"


def domain_of(uris: Iterable[str]) -> str | None:
    """The trust domain that a certificate belongs to; None where it names none, or two."""
    found = [uri.removeprefix("spiffe://") for uri in uris if uri.startswith("spiffe://")]
    domain = found[0].partition("/")[0] if len(found) == 1 else ""
    return domain if is_domain(domain) else None


def principal_of(uri: str, domain: str) -> Principal | None:
    """The principal that an identity of trust domain `domain` names; None where it names none."""
    begin = f"spiffe://{domain}/"
    if not uri.startswith(begin):
        return None
    match uri.removeprefix(begin).split("/"):
        case ["service", name] if is_segment(name):
            grants = Grants(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)
            return Principal("default", f"service/{name}", frozenset({SERVICE}), grants)
        case ["tenant", tenant, role, name] if (
            is_tenant(tenant) and role in TENANT_ROLES and is_segment(name)
        ):
            own = names_of(name)
            grants = Grants(ANYTHING, ANYTHING, own, own)
            return Principal(tenant, f"{role}/{name}", frozenset({TENANT_ROLES[role]}), grants)
    return None


def names_of(name: str) -> Patterns:
    """The hosts and agents that somebody of this name may be, unless it is granted others."""
    return (name, f"{name}.*")
