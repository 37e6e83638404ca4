"""What a terminal shows while a pool runs in it: a line for each kind, which keep themselves
current."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from muster.backends.pool_base import HostState
from muster.cli import text
from muster.cli.terminal import err, table
from muster.supervisor.groups import Group
from muster.supervisor.scaled import ScaledPool

_HINT = Text("Ctrl-C drains it · who is there: muster agents", "bright_black")
_SILENT = Text("the scheduler does not answer just now; the hosts stay as they are", "yellow")


@contextmanager
def shown(scaled: ScaledPool) -> Iterator[None]:
    """Shows the pool while the block runs, if there is a terminal."""
    if not err().is_terminal:
        yield
        return
    with Live(_View(scaled), console=err(), refresh_per_second=2, transient=True):
        yield


class _View:
    """Rendered again and again by rich."""

    def __init__(self, scaled: ScaledPool) -> None:
        self._scaled = scaled

    def __rich__(self) -> RenderableType:
        columns = ["<KIND", "HOSTS", ">RUNNING", ">AGENTS", ">WAITING", ">FOR", ">AT WORK", ""]
        rows = [self._row(group) for group in self._scaled.groups]
        silent = [] if self._scaled.answers else [_SILENT]
        return Lines("", table(columns, rows), *silent, "", _HINT)

    def _row(self, group: Group) -> list[str | Text]:
        statuses, hosts = self._scaled.statuses, group.hosts
        states = [statuses[name].state for name in hosts if name in statuses]
        leave = len(hosts) - len(group.staying)
        demand, rules = group.demand, group.rules
        return [
            group.kind.name,
            f"{len(group.staying)} of {rules.hosts_min}–{rules.hosts_max}",
            str(states.count(HostState.RUNNING)),
            text.number(self._scaled.presence.agents_on(hosts)),
            text.number(demand.queued),
            f"{demand.oldest_wait_seconds:.1f} s" if demand.queued else "",
            text.number(demand.active),
            Text(f"{leave} finish and leave", "yellow") if leave else "",
        ]
