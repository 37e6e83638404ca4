"""Which roles may call a method, as the protos say: `option (muster.v1.permission)`.

`python -m muster.runtime.permissions` checks that every method of `muster.v1` has one.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

import muster.v1
from muster.runtime import standard_protos
from muster.runtime.principal import EVERY_ROLE, OPERATOR, SERVICE
from muster.v1.permission_pb2 import permission

Roles = frozenset[int]

# Probes come from where there are no credentials.
OPEN: Roles | None = None
NOBODY: Roles = frozenset()

# Services of others, whose protos say nothing about it: gRPC's own, and the one that KEDA calls,
# which tells how much a tenant has to do.
_OF_OTHERS: dict[str, Roles | None] = {
    standard_protos.HEALTH: OPEN,
    standard_protos.REFLECTION_V1: EVERY_ROLE,
    standard_protos.REFLECTION_V1ALPHA: EVERY_ROLE,
    "externalscaler.ExternalScaler": frozenset({OPERATOR, SERVICE}),
}


def roles_of_method(path: str) -> Roles | None:
    """Who may call `/package.Service/Method`; None: anybody, without credentials too.

    Nobody may call what has no permission, or is not known.
    """
    service, _, method = path.removeprefix("/").partition("/")
    if service in _OF_OTHERS:
        return _OF_OTHERS[service]
    try:
        found = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method)
    except KeyError:
        return NOBODY
    return _roles(found)


def request_fields(path: str) -> frozenset[str]:
    """The names of the fields that a request of `/package.Service/Method` has."""
    service, _, method = path.removeprefix("/").partition("/")
    try:
        found = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method)
    except KeyError:
        return frozenset()
    return frozenset(found.input_type.fields_by_name)


def _roles(method: MethodDescriptor) -> Roles:
    return frozenset(method.GetOptions().Extensions[permission].roles) & EVERY_ROLE


def methods() -> Iterator[MethodDescriptor]:
    """Every method of every service of `muster.v1`."""
    for module in pkgutil.iter_modules(muster.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"muster.v1.{module.name}").DESCRIPTOR
            services: dict[str, ServiceDescriptor] = file.services_by_name
            for service in services.values():
                yield from service.methods


def main() -> int:
    """Names the methods without a permission; the exit code says whether there are any."""
    found = list(methods())
    without = [each.full_name for each in found if not _roles(each)]
    for name in without:
        print(f"{name} has no option (muster.v1.permission)", file=sys.stderr)  # noqa: T201
    if not without:
        print(f"permissions: each of {len(found)} methods says who may call it")  # noqa: T201
    return 1 if without or not found else 0


if __name__ == "__main__":
    sys.exit(main())
