"""What a terminal shows while a mesh runs in it: a few lines that keep themselves current."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from muster.cli import text
from muster.cli.terminal import err, state_text, table
from muster.model.errors import MusterError

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.supervisor.mesh import Mesh
    from muster.supervisor.serving import BackendStatus, ServiceStatus
    from muster.v1.scheduler_service_pb2 import GetStatisticsResponse

_PERIOD_SECONDS = 1.0


@dataclass
class _Figures:
    """What the mesh says about itself."""

    statistics: GetStatisticsResponse | None = None
    ended_per_second: float = 0.0
    misses: int = 0


async def watch_mesh(mesh: Mesh) -> None:
    """Returns when the mesh is asked to stop; shows it meanwhile, if there is a terminal."""
    if not err().is_terminal:
        await mesh.stop_requested()
        return
    from muster.agent.client import connect

    figures, began = _Figures(), time.monotonic()
    view = _View(mesh, figures, began)
    async with asyncio.TaskGroup() as tasks, connect(mesh.endpoints.scheduler) as client:
        with Live(view, console=err(), refresh_per_second=2, transient=True):
            polling = tasks.create_task(_poll(client, figures))
            await mesh.stop_requested()
            polling.cancel()


async def _poll(client: Client, figures: _Figures) -> None:
    clock = asyncio.get_running_loop().time
    before, ended = clock(), -1
    while True:
        try:
            async with asyncio.timeout(_PERIOD_SECONDS):
                figures.statistics = await client.statistics()
            now, count = clock(), figures.statistics.ended
            if ended >= 0:
                figures.ended_per_second = max(0, count - ended) / max(now - before, 0.001)
            before, ended = now, count
        except (MusterError, TimeoutError):
            figures.statistics, figures.misses = None, figures.misses + 1
        await asyncio.sleep(_PERIOD_SECONDS)


class _View:
    """Rendered again and again by rich."""

    def __init__(self, mesh: Mesh, figures: _Figures, began: float) -> None:
        self._mesh = mesh
        self._figures = figures
        self._began = began

    def __rich__(self) -> RenderableType:
        now = time.monotonic()
        rows = [_backend_row(status, now) for status in self._mesh.backends.statuses]
        rows += [_row(status, now) for status in self._mesh.services]
        services = table(["SERVICE", "STATE", "FOR", ">PID", ">STARTS", "ADDRESS", "HTTP"], rows)
        return Group("", services, "", *self._lines(), "", _HINT)

    def _lines(self) -> Iterator[Text]:
        hosts = self._mesh.hosts
        statistics = self._figures.statistics
        if statistics is None and self._figures.misses == 0:
            return  # it has not been asked yet
        if statistics is None:
            yield Text("the scheduler does not answer just now", style="yellow")
            return
        agents = text.counted(statistics.agents, "agent")
        if hosts:
            running = sum(1 for host in hosts if host.state.value == "running")
            agents += f" · {running} of {text.counted(len(hosts), 'host')} running"
        yield Text(agents)
        yield contracts_line(statistics)
        yield Text(
            f"{self._figures.ended_per_second:,.0f} contracts/s ended · "
            f"commits: {commit_times(statistics)}",
            style="bright_black",
        )


_HINT = Text("Ctrl-C stops it · look closer from another terminal: muster status", "bright_black")


def _row(status: ServiceStatus, now: float) -> list[str | Text]:
    last = status.kept.last
    return [
        status.service.name,
        state_text(status.state),
        text.age(now - status.since),
        str(last.pid or ""),
        str(last.starts),
        status.service.address,
        status.service.http_address or "",
    ]


def _backend_row(status: BackendStatus, now: float) -> list[str | Text]:
    last = status.kept.last if status.kept is not None else None
    return [
        status.name,
        state_text(status.state),
        text.age(now - status.since),
        str(last.pid or "") if last else "elsewhere",
        str(last.starts) if last else "",
        status.address,
        "",
    ]


def contracts_line(statistics: GetStatisticsResponse) -> Text:
    """How many contracts are in which state."""
    from muster.agent.asking import state_name

    line = Text("contracts: ")
    for at, each in enumerate(statistics.states):
        if at:
            line.append(" · ", style="bright_black")
        line.append(f"{each.contracts:,} ")
        line.append_text(state_text(state_name(each.state)))
    if not statistics.states:
        line.append("none yet", style="bright_black")
    return line


def commit_times(statistics: GetStatisticsResponse) -> str:
    """How long commits take."""
    from muster.wire.times import seconds_of_duration

    if not statistics.commits:
        return "none yet"
    p50 = seconds_of_duration(statistics.commit_p50)
    p99 = seconds_of_duration(statistics.commit_p99)
    return f"{statistics.commits:,}, median {text.duration(p50)}, p99 {text.duration(p99)}"
