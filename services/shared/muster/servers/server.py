"""What a server is to whoever runs it, and how to run one without keeping it running."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from muster.model import limits
from muster.servers import launch

HOST = "127.0.0.1"
_POLL_SECONDS = 0.05
_LOG_TAIL_BYTES = 4096
_LOG_TAIL_LINES = 5


class ServerError(Exception):
    """A server cannot run; the message tells a person what to change."""


class ServerMissing(ServerError):
    """Its program is not on this machine; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom a server runs as, where that is not us."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready to be started: as often as need be, on the same data and ports."""

    name: str
    words: tuple[str, ...]
    # The program, as an absolute path, and its arguments.

    folder: Path
    # Where it runs and keeps its data.

    ports: tuple[int, ...]
    # Where it listens; its clients connect to the first.

    url: str
    # What its clients are told. It may hold a password: show `address`.

    log: Path
    answers: Callable[[str], Awaitable[bool]] = field(repr=False)
    # Whether it serves at an address: asked in its own protocol.

    user: User | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    dropped: tuple[str, ...] = ()
    # Beginnings of environment variables that would change what it does.

    @property
    def address(self) -> str:
        """Where its clients connect, as host:port."""
        return f"{HOST}:{self.ports[0]}"

    @property
    def command(self) -> list[str]:
        """What this process runs to start it; it then ends with this process."""
        return command_of(self.words, self.user, self.stop_signal)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """What its process is told of the environment: nothing that is meant for our services."""
        dropped = ("MUSTER_", *self.dropped)
        return {key: value for key, value in inherited.items() if not key.startswith(dropped)}


def command_of(
    words: Sequence[str], user: User | None, stop_signal: signal.Signals = signal.SIGTERM
) -> list[str]:
    """What starts a program as another user, to end with this process; see `launch`."""
    told = (str(os.getpid()), str(int(stop_signal)), f"{user.uid}:{user.gid}" if user else "-")
    return [sys.executable, "-I", "-S", launch.__file__, *told, *words]


def _require_free(server: Server) -> None:
    """Raises `ServerError` when somebody else would answer in its place."""
    for port in server.ports:
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            message = f"{server.name} cannot listen at {HOST}:{port}: {why}"
            raise ServerError(message) from None


def make_folder(folder: Path) -> None:
    """Makes a server's folder, for its owner only. Raises `ServerError`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"the folder {folder} cannot be made: {error.strerror}"
        raise ServerError(message) from None


def write_file(path: Path, text: str) -> None:
    """Writes a file for its owner only. Raises `ServerError`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise ServerError(message) from None


def last_lines(log: Path) -> str:
    """What a server has written last."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])
    return ""


class ServerProcess:
    """A server that runs inside `async with`; may be killed and started again meanwhile.

    It belongs to no event loop, so that one may serve tests that have a loop each. Start it on the
    main thread: the kernel takes the end of the thread for that of the process.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._popen: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """Its number, while it runs."""
        popen = self._popen
        return popen.pid if popen is not None and popen.poll() is None else None

    async def start(self) -> None:
        """Starts it, and returns when it answers. Raises `ServerError`."""
        server = self.server
        _require_free(server)
        with server.log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: ASYNC220 - some milliseconds, on the main thread
                server.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=server.folder,
                env=server.environment(os.environ),
                start_new_session=True,
            )
        try:
            await self._answers(self._popen)
        except BaseException:
            await self.kill()
            raise

    async def _answers(self, popen: subprocess.Popen[bytes]) -> None:
        ends_at = time.monotonic() + limits.SERVER_START_SECONDS
        name, address = self.server.name, self.server.address
        while not await self.server.answers(address):
            if popen.poll() is not None:
                message = f"{name} ended with code {popen.returncode}"
            elif time.monotonic() > ends_at:
                message = f"{name} does not answer after {limits.SERVER_START_SECONDS:.0f} s"
            else:
                await asyncio.sleep(_POLL_SECONDS)
                continue
            raise ServerError(f"{message}: {last_lines(self.server.log)}")

    async def stop(self) -> None:
        """Lets it end in its own way; returns when it is gone. Safe to call twice."""
        await self._end(self.server.stop_signal, limits.SERVER_STOP_SECONDS)

    async def kill(self) -> None:
        """Kill -9; returns when it is gone, and its own processes too. Safe to call twice.

        They end by themselves, a moment later; until then PostgreSQL would not start again.
        """
        children = _children(self.pid) if self.pid is not None else []
        await self._end(signal.SIGKILL, limits.KILL_SECONDS)
        for _ in range(int(limits.KILL_SECONDS / _POLL_SECONDS)):
            if not any(child.exists() for child in children):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _end(self, number: signal.Signals, seconds: float) -> None:
        popen = self._popen
        if popen is None or popen.poll() is not None:
            return
        popen.send_signal(number)
        try:
            await asyncio.to_thread(popen.wait, seconds)
        except subprocess.TimeoutExpired:
            os.killpg(popen.pid, signal.SIGKILL)
            await asyncio.to_thread(popen.wait)


def _children(pid: int) -> list[Path]:
    """Where the kernel shows the processes that a process has started, as long as they run; nothing
    where it does not."""
    try:
        numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [Path(f"/proc/{number}") for number in numbers]
