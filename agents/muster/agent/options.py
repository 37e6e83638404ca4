"""Where the mesh is and who calls: the one place that reads the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from muster.wire.lookup import lookup_target
from muster.wire.security import NO_TLS, Security, find_security

TARGET_DEFAULT = "127.0.0.1:7171"

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Targets:
    """gRPC targets of the services, and who calls: in metadata, or proven as `security` says."""

    scheduler: str
    registry: str
    executor: str
    metadata: Metadata = ()
    security: Security = NO_TLS


def find_targets(
    target: str | None = None, *, tenant: str | None = None, principal: str | None = None
) -> Targets:
    """What was asked for, or else what the environment says.

    MUSTER_ADDRESS is where everything is (127.0.0.1:7171), or a directory in which it is found
    (consul://127.0.0.1:8500); MUSTER_SCHEDULER, MUSTER_REGISTRY and MUSTER_EXECUTOR name services
    that are elsewhere, unless a target is given. MUSTER_TENANT and MUSTER_PRINCIPAL say who calls,
    where there is no TLS. For TLS see `find_security`.

    Raises `NotAuthenticated` where certificates or tokens cannot be used.
    """
    security = find_security(os.environ)
    security.credentials()
    shared = target or os.environ.get("MUSTER_ADDRESS") or TARGET_DEFAULT

    def place(variable: str, kind: str) -> str:
        named = shared if target else os.environ.get(variable) or shared
        return lookup_target(named, kind)

    named = (
        ("muster-tenant", tenant or os.environ.get("MUSTER_TENANT", "")),
        ("muster-principal", principal or os.environ.get("MUSTER_PRINCIPAL", "")),
    )
    return Targets(
        scheduler=place("MUSTER_SCHEDULER", "scheduler"),
        registry=place("MUSTER_REGISTRY", "registry"),
        executor=place("MUSTER_EXECUTOR", "executor"),
        metadata=tuple((key, value) for key, value in named if value),
        security=security,
    )
