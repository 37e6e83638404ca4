"""What can happen to a run, and what its interpreter can want, in plain values.

Facts are the entries of a run's journal without their data (`muster.v1.RunEvent`); wants are what
follows from them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class RunState(IntEnum):
    """Where a run is. See `muster.v1.RunState`."""

    RUNNING = 1
    UNWINDING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5


class StepState(IntEnum):
    """Where a step, or an item of one, is. See `muster.v1.StepState`."""

    PENDING = 1
    RUNNING = 2
    WAITING = 3
    SUCCEEDED = 4
    FAILED = 5
    SKIPPED = 6
    CANCELLED = 7


# --- facts ----------------------------------------------------------------------------------------


class Started(NamedTuple):
    """The run was accepted. `kept` is what a fork has of the run it was made from."""

    kept: tuple[Kept, ...] = ()
    deadline_ms: int = 0


class Begun(NamedTuple):
    """A step was begun, or found not to be needed, or could not begin."""

    step: str
    revision: int
    items: int = 1
    skipped: bool = False
    failed: bool = False
    wake_ms: int = 0  # of a timer, or until when a signal is waited for; 0: for ever


class ItemEnded(NamedTuple):
    """An item of a step has ended, or, with `undo`, what undoes the step has."""

    step: str
    revision: int
    item: int
    state: StepState
    undo: bool = False


class Woken(NamedTuple):
    """The instant came that a step waited for."""

    step: str
    revision: int


class Signalled(NamedTuple):
    """A signal came."""

    name: str


class Paused(NamedTuple):
    """Nothing new is to begin."""


class Resumed(NamedTuple):
    """The pause is over."""


class Stopped(NamedTuple):
    """The run is to end: as CANCELLED, or, when its time was over, as FAILED."""

    cancelled: bool


class Retried(NamedTuple):
    """A step, or with "" every one that failed, is to be done again, and all that follows."""

    step: str
    revision: int
    deadline_ms: int = 0


class Ended(NamedTuple):
    """The run has ended."""

    state: RunState


Fact = (
    Started | Begun | ItemEnded | Woken | Signalled | Paused | Resumed | Stopped | Retried | Ended
)


class Kept(NamedTuple):
    """A step of another run whose outcome counts for this one."""

    begun: Begun
    items: tuple[ItemEnded, ...]


# --- wants ----------------------------------------------------------------------------------------


class Begin(NamedTuple):
    """Find out whether the step is needed and how many items it has: `Begun` says so."""

    step: str
    revision: int


class Do(NamedTuple):
    """Have items done: `ItemEnded` says how each went."""

    step: str
    revision: int
    indexes: tuple[int, ...]


class Stop(NamedTuple):
    """Have items stopped that are being done: `ItemEnded` comes for each all the same."""

    step: str
    revision: int
    indexes: tuple[int, ...]


class Undo(NamedTuple):
    """Have a step undone: `ItemEnded` with `undo` says how it went."""

    step: str
    revision: int


class Wake(NamedTuple):
    """Say `Woken` at an instant; with step "", that the run's time is over (`Stopped`)."""

    step: str
    revision: int
    at_ms: int


class End(NamedTuple):
    """Nothing is left to be done: `Ended` says what came of it."""

    state: RunState


OfStep = Begin | Do | Stop | Undo | Wake
Want = OfStep | End
