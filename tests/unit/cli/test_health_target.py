from pathlib import Path

import pytest

from muster.cli.health import probe_target
from muster.wire.security import NO_TLS

CA = {"MUSTER_TLS_CA": "/tls/ca.pem"}


@pytest.mark.parametrize(
    ("told", "target"),
    [
        ({}, "127.0.0.1:7171"),
        ({"MUSTER_GRPC_PORT": "7173"}, "127.0.0.1:7173"),
        ({"MUSTER_GRPC_PORT": "7173", "MUSTER_HEALTH_PORT": "none"}, "127.0.0.1:7173"),
        ({"MUSTER_GRPC_PORT": "7173", "MUSTER_HEALTH_PORT": "7170"}, "127.0.0.1:7170"),
        ({"MUSTER_HOST": "0.0.0.0", "MUSTER_HEALTH_PORT": "7170"}, "127.0.0.1:7170"),
        ({"MUSTER_HOST": "::", "MUSTER_HEALTH_PORT": "7170"}, "[::1]:7170"),
        ({"MUSTER_HOST": "fd00::7", "MUSTER_GRPC_PORT": "7173"}, "[fd00::7]:7173"),
        ({"MUSTER_HOST": "mesh.example.com"}, "mesh.example.com:7171"),
    ],
)
def test_it_asks_the_process_that_this_environment_starts(
    told: dict[str, str], target: str
) -> None:
    assert probe_target(None, told) == (target, NO_TLS)


def test_the_port_for_probes_is_asked_in_clear_and_any_other_as_it_is_set() -> None:
    assert probe_target(None, {**CA, "MUSTER_HEALTH_PORT": "7170"})[1] == NO_TLS
    assert probe_target(None, CA)[1].ca == Path("/tls/ca.pem")
    assert probe_target("other:7173", CA)[1].ca == Path("/tls/ca.pem")
