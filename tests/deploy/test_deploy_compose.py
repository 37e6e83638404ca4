"""compose.yaml: by the schema of the Compose Specification, and what no schema knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs

from tests.support.deploying import DEPLOY, compose, compose_processes

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text())


def test_it_is_what_the_compose_specification_says() -> None:
    validator = jsonschema_rs.validator_for(SCHEMA)
    assert [
        f"{each.instance_path}: {each.message}" for each in validator.iter_errors(compose())
    ] == []
    assert not validator.is_valid({**compose(), "services": {"one": {"imag": "x"}}})


def test_everything_that_a_container_names_is_there() -> None:
    told = compose()
    for name, each in told["services"].items():
        named: dict[str, set[str]] = {
            "services": set(each.get("depends_on", ())),
            "secrets": set(each.get("secrets", ())),
            "configs": {config["source"] for config in each.get("configs", ())},
            "volumes": {volume.partition(":")[0] for volume in each.get("volumes", ())},
        }
        for section, names in named.items():
            assert names <= told[section].keys(), (name, section)
    for section in ("configs", "secrets"):
        for each in told[section].values():
            path = DEPLOY / each["file"]
            assert path.exists() or path.parent.name == "secrets"


def test_what_is_waited_for_can_come_true() -> None:
    services = compose()["services"]
    for each in services.values():
        for name, how in each.get("depends_on", {}).items():
            checked = "test" in services[name].get("healthcheck", {})
            ends = services[name].get("restart") == "no"
            expected = "service_healthy" if checked else "service_completed_successfully"
            assert how["condition"] == expected
            assert checked or ends, name


def test_only_loopback_is_published() -> None:
    published = [port for each in compose()["services"].values() for port in each.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_process_of_muster_is_confined_and_every_container_has_limits() -> None:
    confined: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    for name, each in compose_processes().items():
        assert confined.items() <= each.items(), name
    for name, each in compose()["services"].items():
        if each.get("restart") != "no":
            limits = each["deploy"]["resources"]["limits"]
            assert {"cpus", "memory", "pids"} <= limits.keys(), name


def test_passwords_are_in_files() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert "POSTGRES_PASSWORD:" not in text
    assert "postgresql://" not in text
