"""One child process, the group that it leads, and its log."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from muster.model import limits

_CHILD = "muster.backends.pool_subprocess.child"
_TAIL_BYTES = 16 * 1024
_SWEEP_SECONDS = 0.2
_SWEEP_LOOKS = 40


@dataclass(frozen=True)
class Command:
    """What is run."""

    name: str
    words: Sequence[str]
    # The program and its arguments; `module_words` makes them for a module of ours.

    environment: Mapping[str, str]
    log: Path
    folder: Path | None = None
    # Where it runs; None: where we do.

    stop_signal: signal.Signals = signal.SIGTERM
    # What asks it to end.


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended."""

    code: int | None
    # Negative for a signal; None where nobody could see it.

    detail: str
    # The same for people.


def module_words(module: str, *arguments: str) -> list[str]:
    """What runs a module as `python -m` would, but so that it does not outlive us."""
    # -P: what lies in the folder where we were started must not shadow a module.
    return [sys.executable, "-P", "-m", _CHILD, module, *arguments]


class Log:
    """The file that a process writes to. It is kept below twice the limit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin = 0

    def begin(self) -> int:
        """Opens it for a new process, which is given the descriptor."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.trim()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        self._begin = os.fstat(descriptor).st_size
        return descriptor

    def trim(self) -> None:
        """Moves what is there aside when it is too much. The writer goes on undisturbed.

        It appends, so it goes on at the new end; what it writes just now may be lost.
        """
        with suppress(OSError):
            if self.path.stat().st_size > limits.PROCESS_LOG_BYTES_MAX:
                older = self.path.with_suffix(self.path.suffix + ".1")
                older.write_bytes(self.path.read_bytes())
                os.truncate(self.path, 0)
                self._begin = 0

    def last_lines(self, count: int = 5) -> list[str]:
        """What the newest process has written last."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(min(self._begin, size), size - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-count:]


class Process:
    """A child that runs. Whoever starts one calls `reap` in the end."""

    place = ""

    def __init__(self, popen: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
        self._popen = popen
        self._stop_signal = stop_signal
        self.begun = asyncio.get_running_loop().create_future()
        self.begun.set_result(None)
        self.exited = exited(popen.pid)
        # Done when it has ended; until `reap`, its number and its group's belong to nobody else.

    @classmethod
    def start(cls, command: Command, log: Log) -> Process:
        """Starts it, in a session of its own: Ctrl-C at our terminal is our business only.

        Needs a running event loop. Raises `OSError` where it cannot be started.
        """
        descriptor = log.begin()
        try:
            popen = subprocess.Popen(
                command.words,
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                env=dict(command.environment),
                cwd=command.folder,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        return cls(popen, command.stop_signal)

    @property
    def pid(self) -> int:
        """The number of the process, and of the group that it leads."""
        return self._popen.pid

    def terminate(self) -> None:
        """Asks it to end; it is the one to tell what it has started."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, self._stop_signal)

    def reap(self) -> Ending:
        """Ends what is left of it and of what it has started."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        code = self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        return Ending(code, ending(code))

    async def gone(self) -> None:
        """Returns when nobody is left of its group."""
        await group_gone(self.pid)


async def group_gone(group: int) -> None:
    """Returns when nobody is left of a group that was killed: moments later, at most 0.2 s.

    What is killed runs no more, but may hold its ports and files for a moment; and nothing tells
    when somebody else's child has ended. Remains that nobody has reaped yet do no harm.
    """
    with suppress(ProcessLookupError, PermissionError):
        for _ in range(_SWEEP_LOOKS):
            os.killpg(group, 0)
            await asyncio.sleep(_SWEEP_SECONDS / _SWEEP_LOOKS)


def exited(pid: int) -> asyncio.Future[Any]:
    """A future that is done when our child `pid` has ended; it is left to be reaped."""
    loop = asyncio.get_running_loop()
    if not hasattr(os, "pidfd_open"):
        wait = partial(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return loop.run_in_executor(None, wait)
    exited: asyncio.Future[Any] = loop.create_future()
    descriptor = os.pidfd_open(pid)

    def on_exit() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if not exited.done():
            exited.set_result(None)

    loop.add_reader(descriptor, on_exit)
    return exited


def ending(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
