"""Processes that may use no more than a share of a core, by the kernel's control groups."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Short, so that a process that has used its share does not stand still for long.
PERIOD_US = 20_000
MOUNTS = Path("/proc/mounts")


class CapMissing(Exception):
    """Nothing can be capped here; the message says why."""


@contextmanager
def capped(pids: Iterable[int], cores: float) -> Iterator[None]:
    """Each process, with those that it starts, gets at most so much of a core while the block runs.

    Raises `CapMissing` where the kernel or the user's rights do not allow it: it takes root, or a
    control group that was delegated with its CPU controller.
    """
    root, setting = _root()
    quota = int(PERIOD_US * cores)
    made: list[Path] = []
    try:
        for pid in pids:
            group = root / f"muster-bench-{os.getpid()}-{pid}"
            try:
                group.mkdir()
                made.append(group)
                if setting == "cpu.max":
                    (group / setting).write_text(f"{quota} {PERIOD_US}")
                else:
                    (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                    (group / setting).write_text(str(quota))
                (group / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                message = f"{group} cannot be set up: {error.strerror}; run it as root"
                raise CapMissing(message) from None
        yield
    finally:
        for group in made:
            for member in (group / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    (root / "cgroup.procs").write_text(member)
            group.rmdir()


def _root() -> tuple[Path, str]:
    """The folder of the CPU controller's groups, and the file that caps one."""
    for line in MOUNTS.read_text().splitlines():
        _, where, kind, flags, *_ = line.split()
        if kind == "cgroup" and "cpu" in flags.split(","):
            return Path(where), "cpu.cfs_quota_us"
        if kind == "cgroup2" and "cpu" in (Path(where) / "cgroup.subtree_control").read_text():
            return Path(where), "cpu.max"
    message = "no control group of this machine has a CPU controller"
    raise CapMissing(message)
