"""What a person sees while a contract goes on: lines that stay, and one line that does not."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import TimeElapsedColumn as ElapsedColumn
from rich.text import Text

from muster.agent import watching
from muster.cli import text
from muster.cli.terminal import err

_LEVEL_STYLES = {"DEBUG": "bright_black", "WARNING": "yellow", "ERROR": "red"}
_PART_CHARACTERS = 2000


class CallView:
    """On a terminal, a line that is gone when it ends; what is said scrolls above it.

    Elsewhere there are only the lines. Quiet, there is nothing. It is alive inside `with
    view.progress`.
    """

    def __init__(self, capability: str, contract_id: str, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = err().is_terminal and not quiet
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            ElapsedColumn(),
            console=err(),
            transient=True,
            disable=not self._live,
        )
        self._task = self.progress.add_task(f"{capability}: submitted", total=None)
        self._capability = capability
        self._contract_id = contract_id

    def show(self, update: watching.Update) -> None:
        """Shows what has happened."""
        match update:
            case watching.Change():
                self._change(update)
            case watching.Progress():
                self._advance(update.fraction, update.message)
            case watching.Log():
                self._line(
                    update.level.lower(), update.message, _LEVEL_STYLES.get(update.level, "")
                )
            case watching.Output():
                shown = text.shortened(text.compact_of(update.value), _PART_CHARACTERS)
                self._line(f"output {update.chunk}", shown, "cyan")
            case watching.Restarted():
                self._line("retry", "what was put out before does not count any more", "yellow")
            case watching.Missing():
                count = f"{update.items:,} " if update.items else ""
                self._line("gap", f"{count}items are no longer kept", "yellow")

    def waits(self, summary: str) -> None:
        """Says why it is still in the queue."""
        self._line("queued", summary, "yellow")

    def note(self, message: str) -> None:
        """Says something else."""
        if not self._quiet:
            self.progress.console.print(message, style="yellow", soft_wrap=True)

    def _change(self, change: watching.Change) -> None:
        word = {
            "ACCEPTED": "queued",
            "LEASED": f"handed to {change.agent}",
            "STARTED": f"running on {change.agent}",
            "REQUEUED": "queued again",
        }.get(change.type, change.state.lower())
        self.progress.update(self._task, description=f"{self._capability}: {word}")
        if change.type == "REQUEUED":
            self._advance(-1, "")
            why = f"{change.agent} ended without output ({change.code}); another attempt follows"
            self._line("retry", why, "yellow")

    def _advance(self, fraction: float, message: str) -> None:
        known = fraction >= 0
        self.progress.update(
            self._task,
            total=1.0 if known else None,
            completed=max(0.0, fraction),
            description=f"{self._capability}: {text.shortened(message, 40)}" if message else None,
        )

    def _line(self, what: str, message: str, style: str) -> None:
        if self._quiet:
            return
        line = Text(f"{what:<8} ", style="bright_black")
        line.append(text.printable(message), style=style or "default")
        self.progress.console.print(line, soft_wrap=True)
