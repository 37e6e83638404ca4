"""compose.yaml: by the schema of the Compose Specification, and what no schema knows."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs

from muster.servers import postgres
from muster.servers.finding import PROGRAMS
from muster.servers.server import ServerProcess
from tests.support.deploying import DEPLOY, TEMPORAL, compose, compose_processes
from tests.support.servers import require

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


def test_what_starts_without_a_profile_waits_for_nothing_of_one() -> None:
    services = compose()["services"]
    plain = {name for name, each in services.items() if "profiles" not in each}
    assert services.keys() - plain == {"cli", "engine-1", "engine-2"}
    for name in plain:
        assert set(services[name].get("depends_on", ())) <= plain, name


def test_schedulers_and_workers_of_the_engine_are_told_the_same_temporal() -> None:
    def told(**variables: str) -> set[str]:
        return {
            each["environment"]["MUSTER_TEMPORAL"]
            for name, each in compose_processes(**variables).items()
            if name.startswith(("scheduler", "engine"))
        }

    assert told(**TEMPORAL) == {TEMPORAL["MUSTER_TEMPORAL"]}
    assert told() == {""}


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


def test_nats_understands_its_configuration() -> None:
    require("nats-server")
    file = DEPLOY / "compose" / "nats.conf"
    words = [str(PROGRAMS["nats-server"].find()), "--config", str(file), "-t"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 0, ended.stderr


async def test_the_health_checks_of_servers_are_commands_that_they_understand(
    postgres_server: ServerProcess, consul_server: ServerProcess
) -> None:
    services = compose()["services"]
    told, name, *words = services["consul"]["healthcheck"]["test"]
    assert (told, name) == ("CMD", "consul")
    here = {**os.environ, "CONSUL_HTTP_ADDR": consul_server.server.address}
    nowhere = {**os.environ, "CONSUL_HTTP_ADDR": "127.0.0.1:1"}
    consul = PROGRAMS["consul"].find()
    assert await ended_with([consul, *words], here) == 0
    assert await ended_with([consul, *words], nowhere) != 0

    told, name, *words = services["postgres"]["healthcheck"]["test"]
    assert (told, name) == ("CMD", "pg_isready")
    port = postgres_server.server.ports[0]
    asks = [postgres.find_programs()[0].path("pg_isready"), *words]
    assert await ended_with([*asks, f"--port={port}"], os.environ) == 0
    assert await ended_with([*asks, "--port=1"], os.environ) != 0


async def ended_with(words: Sequence[str | Path], environment: Mapping[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(
        *words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    async with asyncio.timeout(30):
        return await process.wait()


def test_passwords_are_in_files() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert "POSTGRES_PASSWORD:" not in text
    assert "postgresql://" not in text
