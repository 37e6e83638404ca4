"""`muster status`: services, agents, contracts and commits at a glance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import grpc
from rich.text import Text

from muster.cli import exits, text
from muster.cli.exits import no_mesh
from muster.cli.messages import message_json
from muster.cli.place import Place, answers, is_supervised
from muster.cli.terminal import out, print_json, state_text, table
from muster.cli.up_view import commit_times, contracts_line
from muster.model import limits
from muster.model.errors import MusterError
from muster.supervisor.finding import Endpoints
from muster.supervisor.state import MeshState, read_state
from muster.wire.channel import open_channel

if TYPE_CHECKING:
    from muster.v1.agent_pb2 import Agent
    from muster.v1.scheduler_service_pb2 import GetStatisticsResponse

_SERVICES = {
    "registry": "muster.v1.RegistryService",
    "scheduler": "muster.v1.SchedulerService",
    "executor": "muster.v1.ExecutorService",
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


@dataclass
class _Findings:
    endpoints: Endpoints
    services: dict[str, str]
    mesh: MeshState | None = None
    kinds: list[KindRow] | None = None
    statistics: GetStatisticsResponse | None = None

    @property
    def well(self) -> bool:
        return all(state == "serving" for state in self.services.values())


async def status(place: Place, as_json: bool) -> int:
    """Shows the mesh; 0 when everything serves, 1 when something does not, 3 without a mesh."""
    endpoints = place.endpoints()
    states = await asyncio.gather(
        *(_health(getattr(endpoints, name), service) for name, service in _SERVICES.items())
    )
    found = _Findings(endpoints, dict(zip(_SERVICES, states, strict=True)))
    if set(states) == {"not there"}:
        raise no_mesh(str(endpoints))
    if is_supervised(place):
        found.mesh = read_state(place.folder)
    await _ask(found)
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found, time.time(), place)
    return exits.OK if found.well else exits.FAILED


async def _health(address: str, service: str) -> str:
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

    if not await answers(address, limits.CONNECT_SECONDS):
        return "not there"
    async with open_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        try:
            answer = await check(
                HealthCheckRequest(service=service), timeout=limits.CONNECT_SECONDS
            )
        except grpc.RpcError:
            return "not serving"
    serving = answer.status == HealthCheckResponse.SERVING
    return "serving" if serving else "not serving"


async def _ask(found: _Findings) -> None:
    """Asks those services that are there; the others' part is left out."""
    import os

    from muster.agent.client import connect

    os.environ.update(found.endpoints.environment)
    async with connect() as client:
        if found.services["scheduler"] == "serving":
            try:
                found.statistics = await client.statistics()
            except MusterError:
                found.services["scheduler"] = "not serving"
        if found.services["registry"] == "serving":
            try:
                found.kinds = kinds_of([agent async for agent in client.agents()])
            except MusterError:
                found.services["registry"] = "not serving"


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
            name: {
                "state": state.upper().replace(" ", "_"),
                "address": getattr(found.endpoints, name),
            }
            for name, state in found.services.items()
        },
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
    if found.kinds is not None:
        _show_kinds(found.kinds)
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
    pids = {} if found.mesh is None else {each.name: each.pid for each in found.mesh.processes}
    return [
        [name, state_text(state), getattr(found.endpoints, name), _pid(pids, name)]
        for name, state in found.services.items()
    ]


def _pid(pids: dict[str, int], name: str) -> str:
    pid = pids.get(name, pids.get("mesh"))
    return str(pid) if pid is not None else ""


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
