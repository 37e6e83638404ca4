"""`mesh.json`: what runs on a data folder, and the lock that lets only one mesh do so.

    {
      "version": 1,
      "phase": "serving",                    # or "starting", "stopping"
      "shape": "one process",                # or "separate processes"
      "started": 1760000000.0,               # Unix time
      "supervisor": {"pid": 4711, "start": "…"},
      "endpoints": {"registry": "127.0.0.1:7171", "scheduler": …, "executor": …},
      "http": {"mesh": "127.0.0.1:7180"},    # by process; absent without HTTP
      "fleet": "/…/fleet.yaml",              # or null
      "targets": {"scheduler": ["127.0.0.1:7171"], …},      # every one of each service
      "backends": {"postgres": "127.0.0.1:7191"},            # servers: its own, and others' it uses
      "processes": [{"name": "mesh", "role": "service", "pid": 4712, "start": "…", "log": "/…",
                     "since": 1760000000.0, "stop_signal": 15}]
    }

`start` tells a process from a later one with the same number. The file is there while the mesh
runs; what is left of one whose supervisor was killed is known by the supervisor being gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from muster.supervisor.identity import Identity

VERSION = 1
STATE_FILE = "mesh.json"
LOCK_FILE = "mesh.lock"
BACKEND_ROLE = "backend"
_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process of the mesh: a "service", a "host", or a "backend", which is a server."""

    name: str
    role: str
    pid: int
    start: str
    log: str
    since: float = 0.0
    # When it was started, in Unix time; 0 where nobody noticed.

    stop_signal: int = signal.SIGTERM
    # What asks it to end.

    @property
    def identity(self) -> Identity:
        """Which process it is."""
        return Identity(self.pid, self.start)


@dataclass(frozen=True, slots=True)
class MeshState:
    """What `mesh.json` holds."""

    phase: str
    shape: str
    started: float
    supervisor: Identity
    endpoints: Mapping[str, str]
    http: Mapping[str, str]
    processes: tuple[RunningProcess, ...] = ()
    fleet: str | None = None
    backends: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    version: int = VERSION


def read_state(data_dir: Path) -> MeshState | None:
    """What the file says; None when there is none, or none that this version can read."""
    try:
        with (data_dir / STATE_FILE).open(encoding="utf-8") as file:
            return _state_of(json.loads(file.read(_BYTES_MAX)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_state(data_dir: Path, state: MeshState) -> None:
    """Replaces the file at once: whoever reads it sees the old one or the new one."""
    path = data_dir / STATE_FILE
    fresh = path.with_suffix(".json.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(state), file, indent=1)
    fresh.replace(path)


def remove_state(data_dir: Path) -> None:
    """Says that nothing runs."""
    (data_dir / STATE_FILE).unlink(missing_ok=True)


def _state_of(value: dict[str, Any]) -> MeshState:
    if value["version"] != VERSION:
        raise ValueError(value["version"])
    endpoints = {name: str(value["endpoints"][name]) for name in _ENDPOINTS}
    processes = tuple(
        RunningProcess(
            each["name"],
            each["role"],
            int(each["pid"]),
            each["start"],
            each["log"],
            float(each.get("since", 0.0)),
            int(each.get("stop_signal", signal.SIGTERM)),
        )
        for each in value["processes"]
    )
    return MeshState(
        phase=str(value["phase"]),
        shape=str(value["shape"]),
        started=float(value["started"]),
        supervisor=Identity(int(value["supervisor"]["pid"]), str(value["supervisor"]["start"])),
        endpoints=endpoints,
        http={str(name): str(address) for name, address in value["http"].items()},
        processes=processes,
        fleet=value["fleet"],
        backends={str(key): str(address) for key, address in value.get("backends", {}).items()},
        targets={
            str(role): [str(address) for address in addresses]
            for role, addresses in value.get("targets", {}).items()
        },
    )


_ENDPOINTS = ("registry", "scheduler", "executor")


class Lock:
    """Held by the supervisor of a data folder; the system drops it when that one is gone."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / LOCK_FILE
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Takes it, without waiting; False when somebody else has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Gives it back. The file stays: who removes a lock's file lets two in at once."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
