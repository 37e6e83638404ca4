"""What a terminal shows while an audit runs: a bar for each kind of agent, gone at the end."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
)

from muster.cli.terminal import err, say


class AuditView:
    """Shows how far each kind of agent is. Without a terminal, only what is noted is shown."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="bright_black"),
            console=err(),
            transient=True,
            expand=True,
            disable=not err().is_terminal,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, kind: str, done: int, total: int | None, note: str = "") -> None:
        """A kind has done so much of its work; how much there is may still be unknown."""
        if kind not in self._bars:
            self._bars[kind] = self._progress.add_task(kind, total=total, note=note)
        # None would leave the old total in place.
        self._progress.update(self._bars[kind], completed=done, total=total, note=note)

    def note(self, message: str) -> None:
        """A line that stays."""
        if self._progress.live.is_started:
            self._progress.console.print(message, soft_wrap=True)
        else:
            say(message)
