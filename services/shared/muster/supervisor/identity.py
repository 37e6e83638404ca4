"""Who a process is: its number and when it started, because numbers are used again.

Nothing here signals a process that has only the number in common with the one that was meant.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PS_SECONDS = 5.0
_POLL_SECONDS = 0.05
_PROC_SELF = Path("/proc/self/stat")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, now and for ever. `start` can only be compared."""

    pid: int
    start: str

    @property
    def is_running(self) -> bool:
        """Whether it still runs; one that has ended and was not reaped does not."""
        return start_of(self.pid) == self.start

    def send(self, number: signal.Signals, *, group: bool = False) -> bool:
        """Signals it, or the whole group that it leads; False when it is gone."""
        try:
            descriptor = _open_pidfd(self.pid)
        except OSError:
            return False
        try:
            # With the descriptor open, it cannot become another between this look and the signal.
            if not self.is_running:
                return False
            if group and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)
            elif descriptor is not None:
                signal.pidfd_send_signal(descriptor, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return True

    def wait_gone(self, timeout: float) -> bool:
        """Waits until it has ended, for at most so many seconds; whether it has.

        Then its ports and files are free, which is later than its first thread's end.
        """
        ends_at = time.monotonic() + timeout
        try:
            descriptor = _open_pidfd(self.pid)
        except OSError:
            return not self.is_running
        if descriptor is None:
            return self._poll_gone(ends_at)
        try:
            if start_of(self.pid, remains_too=True) != self.start:
                return True
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(max(0.0, ends_at - time.monotonic()) * 1000))
        finally:
            os.close(descriptor)

    def _poll_gone(self, ends_at: float) -> bool:
        while self.is_running:
            if time.monotonic() >= ends_at:
                return False
            time.sleep(_POLL_SECONDS)  # where nothing tells when a process ends
        return True


def identify(pid: int) -> Identity | None:
    """The process that has this number now, if any."""
    start = start_of(pid)
    return Identity(pid, start) if start is not None else None


def start_of(pid: int, *, remains_too: bool = False) -> str | None:
    """When the process with this number started; None when there is none, or only its remains."""
    if pid <= 0:
        return None
    return _start_from_proc(pid, remains_too) if _PROC_SELF.exists() else _start_from_ps(pid)


def _start_from_proc(pid: int, remains_too: bool) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The program's name, in brackets, may hold anything, brackets too: proc(5).
    fields = stat.rpartition(")")[2].split()
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" and not remains_too else f"{_boot()}-{ticks}"


@cache
def _boot() -> str:
    """Names this boot of the machine; ticks count from it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return "boot"


def _start_from_ps(pid: int) -> str | None:
    with suppress(OSError, subprocess.TimeoutExpired):
        found = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=_PS_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
        state, _, start = found.stdout.strip().partition(" ")
        return start.strip() if start and not state.startswith("Z") else None
    return None


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that stands for the process; None where there is no such thing.

    Raises `OSError` when there is no such process.
    """
    return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
