"""`muster audit`: a mesh of agents audits source code, and leaves a report.

Where no mesh runs, one is started with the audit's fleet of 620 agents, and stopped again at the
end, whatever the end is.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from muster.cli.audit_view import AuditView
from muster.cli.exits import FAILED, INTERRUPTED, NOT_FOUND, OK, USAGE, Trouble
from muster.cli.own_mesh import own_mesh, plan_of_mesh
from muster.cli.place import Place, connected, is_supervised
from muster.cli.terminal import out, print_json

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.audit.job import KindProgress, Outcome
    from muster.audit.report_shapes import Report
    from muster.audit.shapes import Collection
    from muster.supervisor.mesh import Mesh
    from muster.supervisor.plan import Plan

SHOWN_SECONDS = 0.1  # between two looks of the bars
PLAIN_WIDTH = 100  # columns of a summary that goes to a file


@dataclass(frozen=True)
class AuditOptions:
    """What the command line says. `path` None means Python's own standard library."""

    place: Place
    path: Path | None = None
    report: Path | None = None
    fleet: Path | None = None
    keep: bool = False
    as_json: bool = False
    pool: str = "subprocess"
    # What runs the hosts of a mesh that is started for it.


def audit(options: AuditOptions) -> int:
    """Runs the audit; returns the exit code."""
    if options.path is not None and not options.path.exists():
        raise Trouble(f"there is nothing at {options.path}", USAGE)
    try:
        from muster.audit import analysis  # noqa: F401 - asks whether its tools are installed
        from muster.audit.collect import collect
    except ImportError as error:
        message = f"the audit needs {error.name}, which is not installed"
        raise Trouble(message, USAGE, "pip install 'muster-mesh[server,audit]'") from None
    collection = collect(options.path)
    if not collection["sources"]:
        raise Trouble(f"there is no source code to audit at {options.path}", USAGE)
    if options.place.address is not None or is_supervised(options.place):
        return asyncio.run(_on_running_mesh(options, collection))
    return asyncio.run(_on_own_mesh(options, collection))


async def _on_running_mesh(options: AuditOptions, collection: Collection) -> int:
    from muster.audit.job import audit as run

    async with connected(options.place, "scheduler", "registry") as client:
        fleet = await _fleet(client)
        if "coordination" not in fleet:
            raise Trouble(
                "the mesh that runs has no agents for an audit",
                NOT_FOUND,
                f"start one that has them: muster down; muster up --fleet {default_fleet()}",
            )
        with AuditView() as view:
            outcome = await run(client, collection, Teller(view))
    return _finish(options, outcome, fleet, is_up=True)


async def _on_own_mesh(options: AuditOptions, collection: Collection) -> int:
    from muster.cli.up import trouble_of_start
    from muster.supervisor.plan import Interrupted, StartError

    fleet_file = options.fleet or default_fleet()
    plan = plan_of_mesh(options.place, fleet_file, options.pool)
    try:
        with AuditView() as view:
            async with _mesh(plan, view) as mesh, connected(options.place, "registry") as client:
                fleet = await _fleet(client)
                outcome = await _unless_stopped(mesh, client, collection, view)
                if outcome is not None and options.keep:
                    _finish(options, outcome, fleet, is_up=True)
                    view.note("the mesh stays up until Ctrl-C, or: muster down")
                    await mesh.stop_requested()
                    return OK
    except Interrupted:
        return INTERRUPTED
    except StartError as error:
        raise trouble_of_start(error, plan) from None
    if outcome is None:
        return INTERRUPTED
    return _finish(options, outcome, fleet, is_up=False)


# --- the mesh -------------------------------------------------------------------------------------


def default_fleet() -> Path:
    """The fleet file that comes with the audit."""
    return Path(str(resources.files("muster.audit") / "fleet.yaml"))


@asynccontextmanager
async def _mesh(plan: Plan, view: AuditView) -> AsyncIterator[Mesh]:
    """A mesh with the fleet, of which it says how soon its agents were there."""
    mesh = own_mesh(plan, view.note)
    assert mesh.fleet is not None
    began = time.monotonic()
    async with mesh:
        seconds = time.monotonic() - began
        view.note(
            f"{mesh.arrived} agents on {mesh.fleet.hosts} hosts are up after {seconds:.1f} s, "
            f"at {mesh.endpoints.scheduler}"
        )
        yield mesh


async def _unless_stopped(
    mesh: Mesh, client: Client, collection: Collection, view: AuditView
) -> Outcome | None:
    """The audit's outcome; None when the mesh was told to stop before."""
    from muster.audit.job import audit as run

    async with asyncio.TaskGroup() as tasks:
        job = tasks.create_task(run(client, collection, Teller(view)))
        stop = tasks.create_task(mesh.stop_requested())
        await asyncio.wait({job, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if job.done():
            return job.result()
        job.cancel()
    return None


async def _fleet(client: Client) -> dict[str, int]:
    """How many agents there are of each kind."""
    counts = Counter([agent.spec.kind async for agent in client.agents()])
    return dict(sorted(counts.items()))


# --- what people see ------------------------------------------------------------------------------


class Teller:
    """Shows how far each kind is, as often as an eye can follow."""

    def __init__(self, view: AuditView) -> None:
        self._view = view
        self._next = 0.0

    def __call__(self, progress: dict[str, KindProgress]) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SHOWN_SECONDS
        for name, kind in progress.items():
            note = f"{len(kind.agents)} agents"
            if kind.retries:
                note += f", {kind.retries} retries"
            self._view.show(name, kind.ended, kind.accepted or None, note)


def _finish(options: AuditOptions, outcome: Outcome, fleet: dict[str, int], *, is_up: bool) -> int:
    """Writes the report, and shows what stands in it."""
    from muster.audit.report import write
    from muster.audit.summary import show

    report = _report(outcome, fleet)
    folder = options.report or options.place.folder / "reports" / outcome.conversation_id
    written = write(report, folder)
    look = f"muster contracts show {outcome.contract_id}"
    if options.as_json:
        print_json(_as_json(report, outcome, str(written.json), str(written.html)))
    else:
        console = out()
        if not console.is_terminal:
            console = Console(width=PLAIN_WIDTH, highlight=False, emoji=False, markup=False)
        show(report, console, written, [look if is_up else f"muster up, and then: {look}"])
    return OK if not report["findings"]["missing"] else FAILED


def _report(outcome: Outcome, fleet: dict[str, int]) -> Report:
    from muster.audit.canonical import digest
    from muster.audit.merge import FORMAT

    return {
        "muster_audit": FORMAT,
        "findings": outcome.findings,
        "findings_sha256": digest(outcome.findings),
        "run": {
            "fleet": fleet,
            "wall_ms": round(outcome.wall_seconds * 1000, 1),
            "facts": {"contract": outcome.contract_id, "conversation": outcome.conversation_id},
            "statistics": outcome.statistics,
        },
    }


def _as_json(report: Report, outcome: Outcome, json_path: str, html_path: str) -> dict[str, Any]:
    """For programs: where the report is, and its head."""
    return {
        "report": os.fspath(json_path),
        "page": os.fspath(html_path),
        "contract_id": outcome.contract_id,
        "findings_sha256": report["findings_sha256"],
        "missing": report["findings"]["missing"],
        "totals": report["findings"]["totals"],
        "wall_seconds": round(outcome.wall_seconds, 3),
    }
