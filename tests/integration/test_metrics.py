"""What services serve at /metrics is what is documented, and what dashboards and alerts ask for."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from muster.agent import Agent, connect
from muster.engine.activities import Activities
from muster.engine.delivering import Deliveries
from muster.engine.metrics import engine_metrics
from muster.runtime.serve import Server
from muster.wire.channel import Channels
from muster.wire.security import NO_TLS
from tests.sources import ROOT
from tests.support.meshes import Mesh, all_in_one, separate
from tests.support.processes import until
from tests.support.sample_agents import sample

FOLDER = ROOT / "deploy" / "observability"
SERVICES = ("scheduler", "registry", "executor")
EVERY = "every service"
NONE = "—"
PROMTOOL = shutil.which("promtool")

# | `name` | type | labels | service | what |
ROW = re.compile(r"\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| ([^|]+) \|")
# What a scrape adds, and what Prometheus has of its own.
ADDED_LABELS = {"instance", "job", "le", "service"}
OF_PROMETHEUS = {"up"}


class Row(NamedTuple):
    """A metric as it is documented."""

    type: str
    labels: str
    service: str
    text: str


def documented() -> dict[str, Row]:
    rows = ROW.findall((FOLDER / "metrics.md").read_text())
    return {name: Row(*(each.strip() for each in row)) for name, *row in rows}


def families(server: Server) -> dict[str, Metric]:
    """What one service serves, by name."""
    with urllib.request.urlopen(f"http://{server.http_address}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {each.name: each for each in text_string_to_metric_families(text)}


async def scraped(server: Server) -> dict[str, Metric]:
    return await asyncio.to_thread(families, server)


def name_of(family: Metric) -> str:
    """With the ending that a counter's samples have."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def labels_of(family: Metric) -> str:
    found = {label for each in family.samples for label in each.labels} - {"le"}
    return ", ".join(f"`{label}`" for label in sorted(found)) or NONE


def value(found: Mapping[str, Metric], name: str, **labels: str) -> float:
    """The value of one sample."""
    family = found[name.removesuffix("_total").removesuffix("_count").removesuffix("_sum")]
    matching = [x for x in family.samples if x.name == name and x.labels == labels]
    assert len(matching) == 1, (name, labels, family.samples)
    return float(matching[0].value)


async def exercised(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes something of everything happen, so that every label has a value."""
    for name, target in mesh.environment().items():
        monkeypatch.setenv(name, target)
    async with mesh.host(sample), connect() as client:
        assert await client.call("demo.echo", {"text": "x"}) == "x"
        await client.statistics()
        _ = [each async for each in client.agents()]
    async with connect() as client:
        waits = await client.submit("demo.echo", {"text": "nobody is there for it"})
        await waits.accepted()


async def test_every_metric_is_documented_with_its_type_labels_and_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Row] = {}
    async with separate(tmp_path) as mesh:
        await exercised(mesh, monkeypatch)
        async with mesh.host(Agent("other", kind="other")):
            served = [await scraped(server) for server in mesh.servers]
    common = set.intersection(*({*each} for each in served))
    for service, of_service in zip(SERVICES, served, strict=True):
        for family in of_service.values():
            where = EVERY if family.name in common else service
            name = name_of(family)
            labels = labels_of(family)
            if labels == NONE and name in found:
                labels = found[name].labels
            row = Row(family.type, labels, where, family.documentation)
            found[name] = row
    engine = generate_latest(
        engine_metrics(Deliveries(time.monotonic), Activities(Channels(NO_TLS), lambda: ""))
    )
    for family in text_string_to_metric_families(engine.decode()):
        row = Row(family.type, labels_of(family), "engine", family.documentation)
        found[name_of(family)] = row
    # What the operating system tells of a process depends on it.
    known = {
        name: row
        for name, row in documented().items()
        if name in found or not name.startswith(("process_", "python_"))
    }
    lines = [f"| `{name}` | {' | '.join(row)} |" for name, row in sorted(found.items())]
    assert known == found, "metrics.md should have:\n" + "\n".join(lines)


async def test_metrics_tell_what_has_happened(tmp_path: Path) -> None:
    async with all_in_one(tmp_path) as mesh, mesh.host(sample):
        async with connect(mesh.scheduler) as client:
            for number in range(5):
                await client.call("demo.echo", {"text": str(number)})
            for capability in ("demo.fail", "demo.echo"):
                handle = await client.submit(capability, {"code": "BROKEN", "permanent": True})
                with pytest.raises(Exception, match=r"BROKEN|does not fit"):
                    await handle.result()
        (server,) = mesh.servers

        async def settled() -> bool:
            found = await scraped(server)
            ended = value(found, "muster_contract_seconds_count")
            looked = value(found, "muster_event_loop_lag_seconds_count")
            return ended == 6 and looked > 0 and bool(found["muster_registry_agents"].samples)

        await until(settled, 10, "six contracts have ended, and the registry knows the agent")
        found = await scraped(server)
    assert value(found, "muster_contracts_accepted_total") == 6
    assert value(found, "muster_contracts_ended_total", state="succeeded") == 5
    assert value(found, "muster_contracts_ended_total", state="failed") == 1
    assert value(found, "muster_contracts", state="succeeded") == 5
    assert value(found, "muster_attempts_ended_total", outcome="failed") == 1
    for name in ("muster_queue_wait_seconds_count", "muster_attempt_seconds_count"):
        assert value(found, name) == 6
    assert value(found, "muster_contract_seconds_sum") < 60
    assert value(found, "muster_ledger_commit_seconds_count") > 0
    assert value(found, "muster_ledger_up") == 1
    assert value(found, "muster_bus_up") == 1
    assert value(found, "muster_directory_up") == 1
    assert value(found, "muster_shards") == 64
    assert value(found, "muster_links") == 1
    assert value(found, "muster_agents", kind="test") == 1
    assert value(found, "muster_agent_slots", state="window") == 100
    assert value(found, "muster_executor_slots", state="window") == 100
    assert value(found, "muster_executor_sessions", state="connected") == 1
    assert value(found, "muster_registry_agents", kind="test") == 1
    assert value(found, "muster_registry_executors") == 1
    assert value(found, "muster_placement_seconds_count") >= 6


async def test_no_label_names_a_tenant_a_contract_or_an_agent(tmp_path: Path) -> None:
    async with all_in_one(tmp_path) as mesh, mesh.host(sample, name="canary-host", tenant="canary"):
        async with connect(mesh.scheduler, tenant="canary") as client:
            contract = await (await client.submit("demo.echo", {"text": "x"})).accepted()
            await client.wait(contract)
        found = await scraped(mesh.servers[0])
    labels = {
        each for family in found.values() for sample in family.samples for each in sample.labels
    }
    values = {
        each
        for family in found.values()
        for sample in family.samples
        for each in sample.labels.values()
    }
    assert not labels & {"tenant", "contract", "contract_id", "agent", "host"}
    assert not [each for each in values if "canary" in each or contract in each]


# --- dashboard and alerts -------------------------------------------------------------------------


def expressions() -> Iterator[tuple[str, str]]:
    """Where each stands, and the expression."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"dashboard: {panel['title']}", target["expr"]
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert: {rule['alert']}", rule["expr"]


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector of a parsed expression."""
    match node:
        case promql_parser.VectorSelector():
            yield node
        case promql_parser.MatrixSelector():
            yield node.vector_selector
        case promql_parser.BinaryExpr():
            yield from selectors(node.lhs)
            yield from selectors(node.rhs)
        case promql_parser.Call():
            for argument in node.args:
                yield from selectors(argument)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from selectors(node.expr)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            return
        case _:
            pytest.fail(f"an expression that this test does not know: {node}")


def base_of(name: str, known: Mapping[str, Row]) -> str:
    """The metric that a series belongs to."""
    base = re.sub("_(bucket|sum|count)$", "", name)
    return base if base in known and known[base].type == "histogram" else name


@pytest.mark.parametrize(("where", "expression"), [*expressions()])
def test_expressions_ask_for_what_there_is(where: str, expression: str) -> None:
    known = documented()
    for variable, concrete in (("$__rate_interval", "1m"), ("$__range", "1h")):
        expression = expression.replace(variable, concrete)
    found = [*selectors(promql_parser.parse(expression))]
    assert found, where
    labels: set[str] = set(ADDED_LABELS)
    for selector in found:
        metric = base_of(selector.name, known)
        assert metric in known or metric in OF_PROMETHEUS, f"{where}: there is no {selector.name}"
        if metric in known:
            labels |= set(re.findall(r"`(\w+)`", known[metric].labels))
            if known[metric].type == "counter":
                assert re.search(rf"(rate|increase)\({metric}", expression), where
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= labels, f"{where}: {metric} has no label {asked - labels}"
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        asked = {each.strip() for each in group.split(",") if each.strip()}
        assert asked <= labels, f"{where}: grouped by {asked - labels}"


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] in ("row", "stat", "timeseries")
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
    assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource"]


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool (on Debian: apt install prometheus)")
@pytest.mark.parametrize("what", [("config", "prometheus.yaml"), ("rules", "alerts.yaml")])
def test_prometheus_itself_takes_them(what: tuple[str, str]) -> None:
    kind, name = what
    command = [str(PROMTOOL), "check", kind, str(FOLDER / name)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_collectors_pipelines_are_made_of_what_is_configured() -> None:
    config = yaml.safe_load((FOLDER / "collector.yaml").read_text())
    for pipeline in config["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= set(config[kind]), kind
    protocols = config["receivers"]["otlp"]["protocols"]
    assert {name: each["endpoint"].rpartition(":")[2] for name, each in protocols.items()} == {
        "grpc": "4317",
        "http": "4318",
    }


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    rules = [
        rule
        for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
        for rule in group["rules"]
    ]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
    scraped_job = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert scraped_job["job_name"] == "muster"
    asked = re.findall(r'job="(\w+)"', (FOLDER / "dashboard.json").read_text().replace("\\", ""))
    assert set(asked) == {"muster"}
