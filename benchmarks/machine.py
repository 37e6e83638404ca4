"""Where the figures were measured."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("muster-mesh", "grpcio", "protobuf", "uvloop", "SQLAlchemy", "protovalidate")


def machine_facts(folder: Path) -> dict[str, str]:
    """Machine, system, versions, and how the ledger in `folder` is made durable."""
    return {
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB",
        "system": f"{platform.system()} {platform.release()}, {_file_system(folder)}",
        "versions": ", ".join(
            [
                f"Python {platform.python_version()}",
                f"SQLite {sqlite3.sqlite_version}",
                *(f"{name} {version(name)}" for name in PACKAGES),
            ]
        ),
        "fsync": "every commit of the ledger: SQLite, WAL, synchronous=FULL",
        "load": f"{os.getloadavg()[0]:.1f} processes were running when it began",
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder is on."""
    best, kind = "", "unknown file system"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, found, *_ = line.split()
        if str(folder.resolve()).startswith(where) and len(where) > len(best):
            best, kind = where, found
    return kind
