"""`muster status`: services, agents, contracts and commits at a glance."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
from rich.text import Text

from muster.cli import exits, text
from muster.cli.directory import (
    DirectoryTold,
    ask_directory,
    directory_json,
    directory_line,
    directory_target,
)
from muster.cli.exits import no_mesh
from muster.cli.messages import message_json
from muster.cli.place import Place, answers, is_supervised
from muster.cli.terminal import out, print_json, state_text, table
from muster.cli.up_view import commit_times, contracts_line
from muster.model import limits
from muster.model.errors import MusterError
from muster.supervisor.finding import Endpoints
from muster.supervisor.state import MeshState, RunningProcess, read_state
from muster.wire.channel import open_channel
from muster.wire.security import find_security

if TYPE_CHECKING:
    from muster.v1.agent_pb2 import Agent
    from muster.v1.scheduler_service_pb2 import GetStatisticsResponse

_SERVICES = {
    "registry": "muster.v1.RegistryService",
    "scheduler": "muster.v1.SchedulerService",
    "executor": "muster.v1.ExecutorService",
    "engine": "muster.engine",  # only where there is Temporal
}


@dataclass
class KindRow:
    """The agents of one kind together."""

    kind: str
    agents: int = 0
    ready: int = 0
    hosts: int = 0
    active: int = 0
    slots: int = 0
    suspended: int = 0


@dataclass(frozen=True)
class Found:
    """A service or a server: what can be said about it from here."""

    state: str
    address: str
    process: RunningProcess | None = None
    # None where another machine, or somebody else, runs it.


@dataclass
class _Findings:
    endpoints: Endpoints
    services: dict[str, Found]
    backends: dict[str, Found]
    mesh: MeshState | None = None
    directory: DirectoryTold | None = None
    # None where the mesh has none.

    kinds: list[KindRow] | None = None
    statistics: GetStatisticsResponse | None = None

    @property
    def well(self) -> bool:
        found = (*self.services.values(), *self.backends.values())
        return all(each.state == "serving" for each in found)

    def serving(self, role: str) -> str | None:
        """The address of a service of this kind that serves, if one does."""
        addresses = [
            each.address
            for name, each in self.services.items()
            if name.partition("-")[0] == role and each.state == "serving"
        ]
        return addresses[0] if addresses else None

    def fails(self, address: str, role: str) -> None:
        """It says that it serves, and then it does not."""
        for name, each in self.services.items():
            if each.address == address and name.partition("-")[0] == role:
                self.services[name] = replace(each, state="not serving")


async def status(place: Place, as_json: bool) -> int:
    """Shows the mesh; 0 when everything serves, 1 when something does not, 3 without a mesh."""
    endpoints = place.endpoints()
    mesh = read_state(place.folder) if is_supervised(place) else None
    targets = _targets(endpoints, mesh)
    states = await asyncio.gather(
        *(_health(address, _SERVICES[role]) for _, role, address in targets)
    )
    if set(states) == {"not there"}:
        raise no_mesh(str(endpoints))
    services = {
        name: Found(state, address, _process(mesh, name) or _process(mesh, "mesh"))
        for (name, _, address), state in zip(targets, states, strict=True)
    }
    target = directory_target(place, mesh)
    directory = await ask_directory(target) if target is not None else None
    found = _Findings(endpoints, services, await _backends(mesh), mesh, directory)
    await _ask(found)
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found, time.time(), place)
    return exits.OK if found.well else exits.FAILED


def _targets(endpoints: Endpoints, mesh: MeshState | None) -> list[tuple[str, str, str]]:
    """The name, the kind and the address of every service."""
    targets = []
    for role in _SERVICES:
        addresses = mesh.targets.get(role) if mesh is not None else None
        if addresses is None or len(addresses) == 1:
            address = addresses[0] if role == "engine" and addresses else ""
            if address or role != "engine":
                targets.append((role, role, address or getattr(endpoints, role)))
        else:
            targets += [(f"{role}-{at + 1}", role, each) for at, each in enumerate(addresses)]
    return targets


def _process(mesh: MeshState | None, name: str) -> RunningProcess | None:
    processes = mesh.processes if mesh is not None else ()
    return next((each for each in processes if each.name == name), None)


async def _backends(mesh: MeshState | None) -> dict[str, Found]:
    """The servers that the mesh stands on; its own are asked in their protocols."""
    if mesh is None:
        return {}
    from muster.servers.known import KINDS, accepts

    found = {}
    for name, address in mesh.backends.items():
        process = _process(mesh, name)
        answer = await (accepts if process is None else KINDS[name].answers)(address)
        found[name] = Found("serving" if answer else "not there", address, process)
    return found


async def _health(address: str, service: str) -> str:
    from muster.cli.health import is_serving

    if not await answers(address, limits.CONNECT_SECONDS):
        return "not there"
    async with open_channel(address, find_security(os.environ)) as channel:
        try:
            serving = await is_serving(channel, service, limits.CONNECT_SECONDS)
        except grpc.RpcError:
            return "not serving"
    return "serving" if serving else "not serving"


async def _ask(found: _Findings) -> None:
    """Asks those services that are there; the others' part is left out."""
    from muster.agent.client import connect

    scheduler, registry = found.serving("scheduler"), found.serving("registry")
    endpoints = replace(
        found.endpoints,
        scheduler=scheduler or found.endpoints.scheduler,
        registry=registry or found.endpoints.registry,
    )
    os.environ.update(endpoints.environment)
    async with connect() as client:
        if scheduler is not None:
            try:
                found.statistics = await client.statistics()
            except MusterError:
                found.fails(scheduler, "scheduler")
        if registry is not None:
            try:
                found.kinds = kinds_of([agent async for agent in client.agents()])
            except MusterError:
                found.fails(registry, "registry")


def kinds_of(agents: Iterable[Agent]) -> list[KindRow]:
    """Agents counted by kind, the kinds by name."""
    from muster.v1.agent_pb2 import AgentState

    rows: dict[str, KindRow] = {}
    hosts: dict[str, set[str]] = {}
    for agent in agents:
        kind = agent.spec.kind
        row = rows.setdefault(kind, KindRow(kind))
        row.agents += 1
        row.ready += agent.state == AgentState.AGENT_STATE_READY
        row.active += agent.active
        row.slots += agent.spec.max_in_flight or 1
        row.suspended += agent.suspended
        hosts.setdefault(kind, set()).add(agent.host)
    for kind, row in rows.items():
        row.hosts = len(hosts[kind])
    return [rows[kind] for kind in sorted(rows)]


# --- for programs ---------------------------------------------------------------------------------


def _as_json(found: _Findings) -> dict[str, Any]:
    mesh = found.mesh
    return {
        "well": found.well,
        "services": {
            name: {"state": _constant(each.state), "address": each.address}
            for name, each in found.services.items()
        },
        "backends": {
            name: {
                "state": _constant(each.state),
                "address": each.address,
                "pid": each.process.pid if each.process else None,
                "since": each.process.since if each.process else None,
            }
            for name, each in found.backends.items()
        },
        "directory": directory_json(found.directory),
        "mesh": None
        if mesh is None
        else {
            "shape": mesh.shape,
            "phase": mesh.phase,
            "started": mesh.started,
            "supervisor_pid": mesh.supervisor.pid,
            "http": dict(mesh.http),
            "fleet": mesh.fleet,
            "processes": [asdict(process) for process in mesh.processes],
        },
        "kinds": None if found.kinds is None else [asdict(row) for row in found.kinds],
        "statistics": None if found.statistics is None else message_json(found.statistics),
    }


def _constant(state: str) -> str:
    return state.upper().replace(" ", "_")


# --- for people -----------------------------------------------------------------------------------


def _show(found: _Findings, now: float, place: Place) -> None:
    out().print(_headline(found, now))
    if found.mesh is not None:
        http = ", ".join(dict.fromkeys(found.mesh.http.values()))
        facts = [f"data {place.folder}", *([f"HTTP {http}"] if http else [])]
        out().print(" · ".join(facts), style="bright_black", soft_wrap=True)
    out().print()
    out().print(table(["SERVICE", "STATE", "ADDRESS", ">PID"], _service_rows(found)))
    out().print()
    if found.backends:
        columns = ["BACKEND", "STATE", "ADDRESS", ">PID", ">UP"]
        out().print(table(columns, _backend_rows(found, now)))
        out().print()
    if found.kinds is not None:
        _show_kinds(found.kinds)
    if found.directory is not None:
        out().print(directory_line(found.directory))
    if found.statistics is not None:
        _show_statistics(found.statistics)


def _headline(found: _Findings, now: float) -> Text:
    line = Text("muster ", style="bold")
    mesh = found.mesh
    state = "serving" if found.well else "not serving"
    # While it starts or stops, that is what matters.
    phase = state if mesh is None or mesh.phase == "serving" else mesh.phase
    line.append_text(state_text(phase))
    if mesh is not None:
        line.append(f" in {mesh.shape}, up {text.age(now - mesh.started)}", style="not bold")
    return line


def _service_rows(found: _Findings) -> list[list[str | Text]]:
    return [
        [name, state_text(each.state), each.address, str(each.process.pid) if each.process else ""]
        for name, each in found.services.items()
    ]


def _backend_rows(found: _Findings, now: float) -> list[list[str | Text]]:
    rows: list[list[str | Text]] = []
    for name, each in found.backends.items():
        # One that somebody else runs has no number here.
        pid, up = "elsewhere", ""
        if each.process is not None:
            pid, up = str(each.process.pid), text.age(now - each.process.since)
        rows.append([name, state_text(each.state), each.address, pid, up])
    return rows


def _show_kinds(kinds: list[KindRow]) -> None:
    if not kinds:
        out().print("no agents are there; run some with: muster agent run FILE\n")
        return
    columns = ["<KIND", ">AGENTS", ">READY", ">HOSTS", ">ACTIVE", ">SLOTS", ">SUSPENDED"]
    total = KindRow("all")
    for row in kinds:
        for name in ("agents", "ready", "active", "slots", "suspended"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
    rows: list[list[str | Text]] = [_kind_row(row) for row in kinds]
    if len(kinds) > 1:
        rows.append([Text(str(cell), style="bold") for cell in _kind_row(total)])
    out().print(table(columns, rows))
    out().print()


def _kind_row(row: KindRow) -> list[str | Text]:
    counts = (row.agents, row.ready, row.hosts, row.active, row.slots, row.suspended)
    cells = [text.number(count) for count in counts]
    if row.kind == "all":
        cells[2] = ""  # a host holds several kinds
    return [row.kind or "(none)", *cells]


def _show_statistics(statistics: GetStatisticsResponse) -> None:
    out().print(contracts_line(statistics))
    waiting = [each for each in statistics.capabilities if each.queued]
    for each in sorted(waiting, key=lambda each: -each.queued)[:3]:
        out().print(f"  {text.number(each.queued)} wait for {each.capability}", style="yellow")
    commits = f"commits: {commit_times(statistics)}"
    troubles = (
        (statistics.retries, "retry", "retries"),
        (statistics.losses, "lost agent", "lost agents"),
        (statistics.fenced, "stale report refused", "stale reports refused"),
    )
    more = [text.counted(count, one, many) for count, one, many in troubles if count]
    out().print(" · ".join([commits, *more]))
