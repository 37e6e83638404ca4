"""Failpoints: places at which a process can be made to fail, by its environment.

    MUSTER_FAILPOINTS=ledger_commit=crash@3,report_unsent=error@10%

fails at the third commit, and at one report in ten; `points` lists the names. Several are separated
by commas or semicolons. Instead of, or around, what stands at a failpoint:

    crash             the process ends at once, as by kill -9, with EXIT_CRASHED
    hang              this thread, or this coroutine, goes no further
    error             it is not done, and raises
    apply_then_error  it is done, and raises as if it were not

`@n` does so at the n-th time only, `@n%` at so many of a hundred, drawn for each name from
MUSTER_FAILPOINTS_SEED, so that a run can be repeated; otherwise every time. Where
MUSTER_FAILPOINTS_REACHED names a folder, each failpoint that has acted leaves a file of its name.

A failpoint is a decorator. It is decided on when its module is imported, and one that is not named
returns the function itself: it costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from muster.failpoints.arming import Armed

EXIT_CRASHED = 86

F = TypeVar("F", bound=Callable[..., object])


class FailpointError(Exception):
    """What a failpoint raises, unless its place says otherwise."""


class FailpointsInvalid(ValueError):
    """MUSTER_FAILPOINTS cannot be obeyed; the message says why, and what could be."""


def _from_environment() -> tuple[Armed | None, FailpointsInvalid | None]:
    if not os.environ.get("MUSTER_FAILPOINTS"):
        return None, None
    from muster.failpoints.arming import Armed

    try:
        return Armed.from_environment(os.environ), None
    except FailpointsInvalid as error:
        return None, error  # an import is no place to say so: see `check`


_armed, _invalid = _from_environment()


def check() -> str:
    """What is armed, for a log; empty when nothing is. To be called when a process starts.

    Raises `FailpointsInvalid`.
    """
    if _invalid is not None:
        raise _invalid
    return str(_armed or "")


def failpoint(name: str, raises: Callable[[str], Exception] = FailpointError) -> Callable[[F], F]:
    """Makes a function or coroutine function fail where `name` is armed; returns others as they
    are. `raises` makes the error from a message."""
    if _armed is None:
        return _unchanged
    return _armed.at(name, raises)


def _unchanged(function: F) -> F:
    return function
