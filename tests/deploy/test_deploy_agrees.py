"""What deploy/ names is what the code has: variables, ports, services, commands, numbers, files."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from muster.cli import exits
from muster.cli.app import app
from muster.cli.serve import MODULES
from muster.engine.__main__ import build
from muster.engine.part import SERVICE as ENGINE
from muster.model import limits
from muster.runtime.config import PORTS, Config, Listen, Role, load_config
from muster.runtime.directories import SERVICES
from muster.runtime.entry import EXIT_MISCONFIGURED
from muster.runtime.health import LIVE
from muster.runtime.places import temporal_at
from muster.servers.finding import PROGRAMS, dotted
from muster.wire.security import find_security
from tests.sources import ROOT, files
from tests.support.deploying import (
    DEPLOY,
    K8S,
    TEMPORAL,
    base,
    compose,
    compose_processes,
    container_environment,
    dockerfile,
    documents,
    engine,
    environments,
    generated,
    image_environment,
    of_kind,
    pods,
    texts,
    units,
)

ROLES = {role.value: role for role in Role}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VARIABLE = re.compile(r"\bMUSTER_[A-Z][A-Z_]*[A-Z]\b")
DOMAIN = "muster.local"
# compose.yaml's own, for whoever runs it.
OF_COMPOSE = {"MUSTER_IMAGE"}


def fields_of(section: Any) -> Iterator[str]:
    for each in fields(section):
        value = getattr(section, each.name)
        if is_dataclass(value):
            yield from fields_of(value)
        else:
            yield f"MUSTER_{each.name.upper()}"


# --- variables ------------------------------------------------------------------------------------


def known_variables() -> set[str]:
    """Those of services, and those that clients' and commands' sources name."""
    named = set(fields_of(Config()))
    for name in files():
        if name.startswith(("services/", "agents/")) and name.endswith(".py"):
            named |= set(re.findall(r'"(MUSTER_[A-Z_]*[A-Z])"', (ROOT / name).read_text()))
    # Which one each service is, is put together.
    return named | {f"MUSTER_{kind.upper()}" for kind in SERVICES}


@pytest.mark.parametrize("name", texts())
def test_every_variable_is_one_that_something_reads(name: str) -> None:
    assert set(VARIABLE.findall(texts()[name])) <= known_variables() | OF_COMPOSE


@pytest.mark.parametrize("process", environments())
def test_every_command_is_one_of_the_command_line(process: str) -> None:
    parse(environments()[process][0])


def parse(words: list[str]) -> None:
    """Raises what the command line refuses these with."""
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "resolve_command"):  # a group; no options come before its command
        context = command.make_context("muster", [], parent=context, resilient_parsing=True)
        name, command, rest = command.resolve_command(context, list(words))
        assert command is not None, f"No such command: {words[0]}"
        words = rest
    command.make_context(name, list(words), parent=context)


@pytest.mark.parametrize(
    "words", [["serve", "nothing"], ["servee"], ["agent", "run"], ["health", "-x"]]
)
def test_what_is_no_command_is_refused(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"not one of|No such|Missing"):
        parse(words)


@pytest.mark.parametrize("process", environments())
async def test_every_environment_is_accepted_by_what_it_is_for(
    process: str, tmp_path: Path
) -> None:
    words, told = environments()[process]
    secret = tmp_path / "secret"
    secret.write_text("postgresql://muster:secret@postgres:5432/muster\n")
    for key in ("MUSTER_LEDGER", "MUSTER_TEMPORAL_API_KEY"):
        if told.get(key, "").startswith("file:"):
            told = {**told, key: f"file:{secret}"}
    if told.get("MUSTER_BUS", "").startswith("file:"):
        told["MUSTER_BUS"] = "nats://nats:4222"
    if words[0] == "serve":
        config = load_config(ROLES[words[1]], told)
        assert bool(config.temporal) is (words[1] == "engine" or "with Temporal" in process)
        if words[1] == "engine":
            build(config)
            assert config.temporal_api_key
        assert config.tls.enabled
        assert config.ledger == ("sqlite" if words[1] != "scheduler" else secret.read_text()[:-1])
        assert config.registry_targets
        assert config.scheduler_targets
    elif words[0] != "certs":
        security = find_security(told)
        assert security.ca is not None
        assert security.cert is not None
        assert {"MUSTER_SCHEDULER", "MUSTER_REGISTRY", "MUSTER_EXECUTOR"} <= told.keys()


@pytest.mark.parametrize("process", ["k8s muster-engine", "systemd muster-engine.service"])
async def test_workers_of_the_engine_start_where_temporal_asks_for_no_key(
    process: str, tmp_path: Path
) -> None:
    words, told = environments()[process]
    assert told["MUSTER_TEMPORAL_API_KEY"].startswith("file:")
    empty = tmp_path / "empty"
    empty.write_text("\n")
    build(load_config(ROLES[words[1]], {**told, "MUSTER_TEMPORAL_API_KEY": f"file:{empty}"}))
    # Without TLS, and as the comments there say.
    clear = {"MUSTER_TEMPORAL": "temporal.example.com:7233", "MUSTER_TEMPORAL_API_KEY": ""}
    build(load_config(ROLES[words[1]], {**told, **clear}))


def test_serve_starts_modules_that_can_be_started() -> None:
    for module in MODULES.values():
        assert importlib.util.find_spec(f"{module}.__main__") is not None
    assert {role.value for role in Role} < set(MODULES)


# --- ports and services ---------------------------------------------------------------------------

HEALTH_PORT = int(image_environment()["MUSTER_HEALTH_PORT"])
GRPC_PORTS = {role.value: ports[0] for role, ports in PORTS.items()}


def test_the_image_exposes_every_port_that_a_process_may_have() -> None:
    (exposed,) = (each.rest.split() for each in dockerfile() if each.name == "EXPOSE")
    assert {int(port) for port in exposed} == {
        HEALTH_PORT,
        *(p for pair in PORTS.values() for p in pair),
    }


@pytest.mark.parametrize("name", texts())
def test_every_target_is_at_the_port_of_its_kind(name: str) -> None:
    for kind, port in re.findall(
        r"(scheduler|registry|executor)[a-z0-9.\-]*:(\d{4})", texts()[name]
    ):
        assert int(port) == GRPC_PORTS[kind]


@pytest.mark.parametrize("role", ["scheduler", "registry", "executor", "engine"])
def test_ports_and_probes_are_those_of_the_service(role: str) -> None:
    everything = (*base(), *engine())
    (container,) = pods(everything)[f"muster-{role}"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    grpc, http = PORTS[ROLES[role]]
    assert ports == {"grpc": grpc, "http": http, "health": HEALTH_PORT}
    probes = {
        each: container[f"{each}Probe"]["grpc"] for each in ("startup", "liveness", "readiness")
    }
    assert {each["port"] for each in probes.values()} == {HEALTH_PORT}
    assert {each: probe["service"] for each, probe in probes.items()} == {
        "startup": LIVE,
        "liveness": LIVE,
        "readiness": ENGINE if role == "engine" else SERVICES[role],
    }
    service = of_kind(everything, "Service")[f"muster-{role}"]
    dialled = {"http": http} if role == "engine" else {"grpc": grpc, "http": http}
    assert {each["name"]: each["port"] for each in service["spec"]["ports"]} == dialled


def test_services_and_budgets_select_pods_that_there_are() -> None:
    everything = (*base(), *engine())
    labels = [pod["metadata"]["labels"] for pod in pods(everything).values()]
    selectors = [each["spec"]["selector"] for each in of_kind(everything, "Service").values()]
    budgets = of_kind(everything, "PodDisruptionBudget").values()
    selectors += [each["spec"]["selector"]["matchLabels"] for each in budgets]
    for selector in selectors:
        assert sum(selector.items() <= each.items() for each in labels) == 1, selector


def policies() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(K8S.rglob("*.yaml")):
        for each in documents(path.read_text()):
            if each["kind"] == "NetworkPolicy":
                yield path.parent.name, each


def test_what_is_let_in_and_out_is_at_ports_that_something_listens_at() -> None:
    grpc = {kind: {GRPC_PORTS[kind]} for kind in SERVICES}
    http = {kind: {PORTS[ROLES[kind]][1]} for kind in (*SERVICES, "engine")}
    for folder, policy in policies():
        selector = policy["spec"]["podSelector"].get("matchLabels", {})
        kind = selector.get("app.kubernetes.io/component", "")
        let_in = {
            port["port"] for rule in policy["spec"].get("ingress", ()) for port in rule["ports"]
        }
        if folder == "monitoring":
            assert let_in == set.union(*http.values())
        elif kind in SERVICES:
            assert let_in == grpc[kind], policy["metadata"]["name"]
        for rule in policy["spec"].get("egress", ()):
            for to in rule.get("to", ()):
                target = to.get("podSelector", {}).get("matchLabels", {})
                to_kind = target.get("app.kubernetes.io/component")
                if to_kind is not None:
                    assert {port["port"] for port in rule["ports"]} == grpc[to_kind]


def test_workers_of_the_engine_reach_temporal_and_are_let_in_to_schedulers() -> None:
    found = of_kind(engine(), "NetworkPolicy")
    (pod,) = pods(engine()).values()
    own = {"app.kubernetes.io/component": "engine"}
    assert own.items() <= pod["metadata"]["labels"].items()
    out, into = found["muster-engine"]["spec"], found["muster-engine-to-scheduler"]["spec"]
    assert out["podSelector"]["matchLabels"] == own
    elsewhere = [rule for rule in out["egress"] if "to" not in rule]
    port = temporal_at(TEMPORAL["MUSTER_TEMPORAL"]).address.rpartition(":")[2]
    assert elsewhere == [{"ports": [{"protocol": "TCP", "port": int(port)}]}]
    (rule,) = into["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": own}}]


def test_workers_of_the_engine_know_every_scheduler_that_may_be_started() -> None:
    (pod,) = pods(engine()).values()
    told = container_environment(pod["spec"]["containers"][0], generated(K8S / "base"))
    named = told["MUSTER_SCHEDULER_TARGETS"].split(",")
    (scaler,) = documents((K8S / "components" / "hpa" / "hpa.yaml").read_text())
    first = generated(K8S / "base")["muster-services"]["MUSTER_SCHEDULER_TARGETS"].split(",")[0]
    numbers = range(scaler["spec"]["maxReplicas"])
    assert named == [first.replace("-0.", f"-{number}.") for number in numbers]


# --- times, numbers and names ---------------------------------------------------------------------

STOP_SECONDS = 2 * Listen().drain_seconds  # a drain, and as much again for what comes after it


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def test_who_stops_a_process_waits_for_its_drain() -> None:
    for name, pod in pods((*base(), *engine())).items():
        (container,) = pod["spec"]["containers"]
        before = (
            container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        )
        least = limits.LEAVE_SECONDS_DEFAULT if name == "muster-agents" else STOP_SECONDS
        assert pod["spec"]["terminationGracePeriodSeconds"] > before + least
    for name, each in compose_processes().items():
        least = limits.LEAVE_SECONDS_DEFAULT if name.startswith("agents") else STOP_SECONDS
        assert seconds(each["stop_grace_period"]) > least
    for name, unit in units().items():
        least = limits.LEAVE_SECONDS_DEFAULT if "host" in name else STOP_SECONDS
        assert float(unit["TimeoutStopSec"][0]) > least


def test_what_is_misconfigured_is_not_started_again() -> None:
    for name, unit in units().items():
        codes = {int(code) for code in unit["RestartPreventExitStatus"][0].split()}
        assert unit["Restart"] == ["on-failure"]
        expected = {exits.USAGE, exits.REFUSED} if "host" in name else {EXIT_MISCONFIGURED}
        assert codes == expected


def test_the_user_of_the_image_is_that_of_its_pods() -> None:
    (user,) = (each.rest for each in dockerfile() if each.name == "USER")
    uid, gid = map(int, user.split(":"))
    (made,) = (each.rest for each in dockerfile() if "useradd" in each.rest)
    assert f"--uid {uid} --gid {gid}" in made
    for pod in pods((*base(), *engine())).values():
        context = pod["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (uid, gid, gid)


def test_versions_are_those_of_the_project_and_of_the_tests() -> None:
    services = compose()["services"]
    images = {name: each["image"].rpartition(":")[2] for name, each in services.items()}
    assert images["scheduler-1"] == PROJECT["version"]
    assert images["nats"].removesuffix("-alpine") == dotted(PROGRAMS["nats-server"].version)
    assert images["consul"] == dotted(PROGRAMS["consul"].version)
    (version,) = (each.rest for each in dockerfile() if each.rest.startswith("VERSION="))
    assert version == f"VERSION={PROJECT['version']}"
    for overlay in ("development", "production"):
        told = yaml.safe_load((K8S / "overlays" / overlay / "kustomization.yaml").read_text())
        assert [str(each["newTag"]) for each in told["images"]] == [PROJECT["version"]]
    own = documents((K8S / "overlays" / "development" / "nats.yaml").read_text())
    own += documents((K8S / "overlays" / "development" / "postgres.yaml").read_text())
    for name, pod in pods(own).items():
        (container,) = pod["spec"]["containers"]
        assert container["image"] == services[name]["image"]


def test_nats_takes_what_the_mesh_sends_and_keeps_what_it_acknowledges() -> None:
    text = (DEPLOY / "compose" / "nats.conf").read_text()
    assert text == (K8S / "overlays" / "development" / "nats.conf").read_text()
    assert f"max_payload: {limits.MESSAGE_BYTES_MAX}\n" in text
    assert "sync_interval: always" in text


def test_the_extras_of_the_image_are_extras_of_the_project() -> None:
    (extras,) = (each.rest for each in dockerfile() if each.rest.startswith("EXTRAS="))
    assert set(extras.removeprefix("EXTRAS=").strip('"').split()) <= set(
        PROJECT["optional-dependencies"]
    )
