"""Journals: one file of JSON lines per process, of which many make a history.

A line is an array: the kind's name, `at`, `wall`, then the kind's fields in their order; fields
that were added later may be missing at the end. It is one write to the kernel, so it survives the
death of the process, though not that of the machine. A line that the death cut off is left out: it
is the last one, or the next life of the process begins after it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from tests.support.history import records as r
from tests.support.history import records_runs as runs
from tests.support.history.records import Attempt, Opened, Record, Shown

SUFFIX = ".journal"
LINES_AT_ONCE = 2_000  # parsed in one go

KINDS: dict[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        *(r.Submission, r.Acknowledgement, r.Unknown, r.Refusal, r.Cancellation),
        *(r.CallStarted, r.CallEnded, r.Question, r.Answer, r.Shown, r.Listing, r.Change),
        *(r.ItemSeen, r.WatchEnded, r.Counted, r.Offered, r.Welcomed, r.Beat, r.SessionClosed),
        *(r.Assigned, r.Execution, r.ItemSent, r.Reported, r.Verdict, r.Decision),
        *(r.Released, r.Fault, r.Setting, r.Opened),
        *(runs.RunAsked, runs.RunAccepted, runs.RunEntry, runs.RunShown, runs.StepShown),
        *(runs.ItemShown, runs.StepContract, runs.GateAnswered, runs.Expected),
    )
}

_STAMPS = frozenset(("at", "wall", "by"))
_FIELDS = {
    name: tuple(each.name for each in fields(kind) if each.name not in _STAMPS)
    for name, kind in KINDS.items()
}


class Journal:
    """Writes records. One process at a time writes a file; its next life goes on with it."""

    def __init__(self, path: Path, role: str = "") -> None:
        self.name = path.stem
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")
        self.write(Opened(role, os.getpid()))

    def write(self, record: Record) -> None:
        """Stamps a record that has no stamps yet, and appends it."""
        if not record.at:
            record.at, record.wall = time.monotonic(), time.time()
        record.by = self.name
        os.write(self._file, encode(record))

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def encode(record: Record) -> bytes:
    """A record's line."""
    name = type(record).__name__
    values: list[Any] = [name, round(record.at, 6), round(record.wall, 6)]
    values += [getattr(record, each) for each in _FIELDS[name]]
    if isinstance(record, Shown):
        values[-1] = [
            [getattr(each, name) for name in Attempt.__slots__] for each in record.attempts
        ]
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def decode(values: list[Any], by: str = "") -> Record:
    """The record of a line."""
    kind = KINDS[values[0]]
    made = kind(*map(_shared, values[3:]), at=values[1], wall=values[2], by=by)
    if isinstance(made, Shown):
        made.attempts = [Attempt(*each) for each in made.attempts]  # type: ignore[misc]
    return made


def _shared(value: Any) -> Any:
    """Ids come again and again, so each is kept once."""
    return sys.intern(value) if type(value) is str and len(value) <= 64 else value


def read(path: Path, offset: int = 0) -> tuple[list[Record], int]:
    """The records from a byte offset on, and the offset after the last whole line."""
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    with _without_collecting():
        return list(_records(whole.splitlines(), path.stem)), offset + len(whole)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Records are many and hold no cycles: looking for some takes half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _records(lines: list[bytes], by: str) -> Iterator[Record]:
    for start in range(0, len(lines), LINES_AT_ONCE):
        some = lines[start : start + LINES_AT_ONCE]
        try:
            parsed = json.loads(b"[" + b",".join(some) + b"]")
        except ValueError:
            parsed = list(_one_by_one(lines, start, start + len(some)))
        for values in parsed:
            yield decode(values, by)


def _one_by_one(lines: list[bytes], start: int, end: int) -> Iterator[list[Any]]:
    """Leaves out lines that a death cut off, and no others."""
    for number in range(start, end):
        try:
            yield json.loads(lines[number])
        except ValueError:
            follows = lines[number + 1 : number + 2]
            if not follows or not follows[0].startswith(f'["{Opened.__name__}",'.encode()):
                raise
