"""What every measurement is given: options, a folder, and where findings go."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.commits import Commits
from benchmarks.figures import Findings
from benchmarks.targets import BY_KEY


@dataclass
class Bench:
    """One run of the benchmark."""

    folder: Path  # for data of this run, emptied at its end
    rounds: int
    seconds: float  # for each load
    wanted: tuple[str, ...]  # keys of rows
    commits: Commits
    profile: Path | None = None  # folder for profiles
    findings: dict[str, Findings] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.findings = {key: Findings(BY_KEY[key]) for key in self.wanted}

    def wants(self, *keys: str) -> bool:
        """Whether any of these rows is asked for."""
        return any(key in self.findings for key in keys)

    def add(self, key: str, metric: str, value: float) -> None:
        """A sample, if the row is asked for."""
        if key in self.findings:
            self.findings[key].add(metric, value)

    def note(self, keys: str | Iterable[str], name: str, value: float | str) -> None:
        """Something that explains rows, for those that are asked for."""
        for key in [keys] if isinstance(keys, str) else keys:
            if key in self.findings:
                self.findings[key].note(name, value)

    def skip(self, key: str, why: str) -> None:
        """A row cannot be measured here."""
        if key in self.findings:
            self.findings[key].skipped = why

    def new_folder(self) -> Path:
        """An empty folder."""
        made = self.folder / str(next(self._numbers))
        made.mkdir()
        return made

    def say(self, text: str) -> None:
        """Tells how far it is."""
        print(f"[{time.monotonic() - self._began:5.0f} s] {text}", file=sys.stderr, flush=True)
