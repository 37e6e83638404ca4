"""The agents of the template: planners, probers, analysts, alerters, reporters."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import urllib3

from muster.agent import Agent, Context, Failed, connect
from muster.model.errors import MusterError
from muster.workflows.files import folder_of, write
from muster.workflows.monitoring import comparing, history, probing
from muster.workflows.monitoring import targets as targeting
from muster.workflows.monitoring.shapes import (
    Alerted,
    Change,
    Probe,
    Seen,
    StatusPage,
    Target,
    Targets,
)
from muster.workflows.pages import render

planner = Agent("monitoring-planner", kind="monitoring-planner")
prober = Agent("monitoring-prober", kind="monitoring-prober", max_in_flight=4)
analyst = Agent("monitoring-analyst", kind="monitoring-analyst")
alerter = Agent("monitoring-alerter", kind="monitoring-alerter")
reporter = Agent("monitoring-reporter", kind="monitoring-reporter")

TOPIC = "monitoring.alert"
GRPC_DEFAULT = "127.0.0.1:7171"
HTTP_DEFAULT = "127.0.0.1:7180"
LOOKS_COMPARED = 40
LOOKS_SHOWN = 60
ALERTS_SHOWN = 30
DISCOVERY_SECONDS = 3.0


@planner.capability("monitoring.targets", idempotent=True)
async def targets(
    urls: list[str] | None = None,
    grpc: list[str] | None = None,
    http: list[str] | None = None,
    no_content: list[str] | None = None,
    out_dir: str | None = None,
) -> Targets:
    """What to look at: the `urls`, or else all that the mesh at these addresses has.

    Of those in `no_content`, what they answer may change without being news. Where the mesh does
    not say what it has, it is what the last look in `out_dir` was at.
    """
    try:
        if urls:
            found = [targeting.parse(url) for url in urls]
        else:
            found = await _of_mesh(grpc or [_grpc_of_mesh()], http or [HTTP_DEFAULT], out_dir)
        silent = {*(no_content or ())}
        chosen = [replace(t, content=False) if t.url in silent else t for t in found]
        return Targets(targeting.unique(chosen))
    except targeting.TargetError as error:
        raise Failed("TARGET", str(error), permanent=True) from None


def _grpc_of_mesh() -> str:
    named = os.environ.get("MUSTER_ADDRESS", "").split(",")[0]
    return named if named and "://" not in named else GRPC_DEFAULT


async def _of_mesh(grpc: list[str], http: list[str], out_dir: str | None) -> list[Target]:
    """What /ready names of services, and the registry of agents."""
    found: dict[str, None] = {}
    for address in http:
        found |= dict.fromkeys(await asyncio.to_thread(_services_at, address))
    services, kinds = sorted(found), await _kinds()
    named = list(targeting.of_mesh(grpc, http, services, sorted(kinds or ())))
    silent = [
        s for s, said in (("grpc://", services), ("agents://", kinds is not None)) if not said
    ]
    if out_dir is None or not silent:
        return named
    last = await asyncio.to_thread(history.latest, _history(out_dir), 1)
    known = (probe.url for look in last for probe in look.probes)
    return named + [targeting.parse(url) for url in known if url.startswith(tuple(silent))]


async def _kinds() -> set[str] | None:
    """The kinds of agents that are there; None where nobody says."""
    try:
        async with asyncio.timeout(DISCOVERY_SECONDS), connect() as mesh:
            return {agent.spec.kind async for agent in mesh.agents()} - {""}
    except (MusterError, TimeoutError):
        return None


def _services_at(address: str) -> list[str]:
    try:
        answer = urllib3.request(
            "GET", f"http://{address}/ready", timeout=DISCOVERY_SECONDS, retries=False
        )
        return list(json.loads(answer.data)["services"])
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError):
        return []


@prober.capability("monitoring.probe", idempotent=True)
async def probe(target: Target, timeout: float = 5.0) -> Probe:
    """Looks at one target, once. That it is down is an answer and no failure."""
    if not 0 < timeout <= 60:
        message = f"timeout is {timeout:g} s, and must be more than 0 and at most 60"
        raise Failed("TIMEOUT_RANGE", message, permanent=True)
    return await probing.probe(target, timeout)


@analyst.capability("monitoring.compare", idempotent=True)
def compare(run: str, probes: list[Probe], out_dir: str) -> Seen:
    """Finds what has changed since the last look, and writes this look down."""
    folder = _history(out_dir)
    at = min((each.at for each in probes), default=0.0)
    seen = comparing.compare(run, probes, history.before(folder, run, at, LOOKS_COMPARED))
    history.keep(folder, seen)
    return seen


@alerter.capability("monitoring.alert", idempotent=True)
async def alert(run: str, changes: list[Change], *, ctx: Context) -> Alerted:
    """Publishes an event for each change, on the topic monitoring.alert."""
    for number, change in enumerate(changes):
        # Another attempt publishes the same ids, and the bus takes each once.
        name = hashlib.sha256(f"{run}/{number}".encode()).hexdigest()[:32]
        kind = f"{TOPIC}.{change.kind.lower()}"
        data = {"run": run, **asdict(change)}
        await ctx.publish(TOPIC, data, id=name, type=kind, about=change.url)
        ctx.log(change.text, "warning" if change.kind in ("DOWN", "SLOW", "GONE") else "info")
    return Alerted(len(changes))


@reporter.capability("monitoring.page", idempotent=True)
def page(out_dir: str) -> StatusPage:
    """Writes the page that shows how everything is, and was."""
    looks = history.latest(_history(out_dir), LOOKS_SHOWN)
    if not looks:
        raise Failed("NOTHING_SEEN", "there is no look yet that could be shown", permanent=True)
    last = looks[-1]
    up = len(last.probes) - last.down
    alerts = [(look, change) for look in reversed(looks) for change in look.changes]
    path = folder_of(out_dir) / "index.html"
    text = render(
        "monitoring/status.html",
        last=last,
        up=up,
        looks=looks,
        rows=[_row(each, looks) for each in last.probes],
        alerts=alerts[:ALERTS_SHOWN],
        alert_count=len(alerts),
        time_of=_time_of,
    )
    write(path, text)
    return StatusPage(str(path), len(looks), up, last.down)


def _history(out_dir: str) -> Path:
    return folder_of(out_dir) / "history"


def _row(probe: Probe, looks: list[Seen]) -> dict[str, object]:
    """A target's line: each look at it, how often it was up, and its latencies as a curve."""
    by_look = [
        next((each for each in look.probes if each.url == probe.url), None) for look in looks
    ]
    known = [each for each in by_look if each is not None]
    most = max(each.latency_ms for each in known) or 1.0
    step = 100 / max(len(known) - 1, 1)
    points = [
        f"{index * step:.1f},{22 - 20 * each.latency_ms / most:.1f}"
        for index, each in enumerate(known)
    ]
    return {
        "probe": probe,
        "looks": list(zip(looks, by_look, strict=True)),
        "uptime": sum(each.up for each in known) / len(known),
        "most_ms": most,
        "curve": " ".join(points),
    }


def _time_of(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
