"""Every method says who may call it."""

import re

import pytest

from muster.runtime.permissions import NOBODY, main, methods, roles_of_method
from muster.runtime.principal import AGENT, CLIENT, EVERY_ROLE, OPERATOR, ROLE_NAMES, SERVICE
from muster.v1.permission_pb2 import Role
from tests.sources import ROOT


def test_every_method_of_the_protos_says_who_may_call_it():
    declared = sum(
        len(re.findall(r"^  rpc ", path.read_text(), re.MULTILINE))
        for path in (ROOT / "proto/muster/v1").glob("*.proto")
    )
    found = list(methods())
    assert len(found) == declared
    for method in found:
        path = f"/{method.containing_service.full_name}/{method.name}"
        assert roles_of_method(path), method.full_name
    assert main() == 0


def test_every_role_of_the_protos_has_a_name():
    assert {*Role.values()} == {Role.ROLE_UNSPECIFIED, *ROLE_NAMES}


@pytest.mark.parametrize(
    ("method", "roles"),
    [
        ("/muster.v1.SchedulerService/Submit", {CLIENT, AGENT}),
        ("/muster.v1.ExecutorService/Connect", {AGENT}),
        ("/muster.v1.ExecutorService/DrainHost", {OPERATOR}),
        ("/muster.v1.LinkService/Link", {SERVICE}),
        ("/muster.v1.RegistryService/ReportPresence", {SERVICE}),
        ("/muster.v1.CatalogueService/WatchCatalogue", {SERVICE}),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", EVERY_ROLE),
        ("/grpc.health.v1.Health/Check", None),
        ("/externalscaler.ExternalScaler/GetMetrics", {OPERATOR, SERVICE}),
        ("/muster.v1.SchedulerService/Unheard", NOBODY),
        ("/unheard.Service/Method", NOBODY),
        ("nonsense", NOBODY),
    ],
)
def test_the_roles_of_a_method_are_those_of_its_option(method: str, roles: set[int] | None):
    assert roles_of_method(method) == roles
