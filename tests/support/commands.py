"""The command line as a person uses it: real processes, a data folder of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster.supervisor.identity import Identity
from muster.supervisor.state import MeshState, read_state
from tests.support.processes import until

SECONDS = 40.0  # for any command; a mesh with hosts takes about 4 on two busy cores


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """What it has printed, as JSON."""
        return json.loads(self.out)


class Command:
    """A command that runs."""

    def __init__(
        self, process: asyncio.subprocess.Process, words: tuple[str, ...], data_dir: Path
    ) -> None:
        self._process = process
        self._words = words
        self._data_dir = data_dir

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to it alone."""
        self._process.send_signal(number)

    async def says(self, text: str) -> str:
        """Waits for a line on stderr that holds a text."""
        assert self._process.stderr is not None
        seen = []
        async with asyncio.timeout(SECONDS):
            while line := await self._process.stderr.readline():
                seen.append(line.decode())
                if text in seen[-1]:
                    return seen[-1].rstrip()
        message = f"muster {' '.join(self._words)} never said {text!r}, but: {''.join(seen)}"
        raise AssertionError(message)

    async def prints(self) -> str:
        """Waits for the next line on stdout."""
        assert self._process.stdout is not None
        async with asyncio.timeout(SECONDS):
            return (await self._process.stdout.readline()).decode()

    async def ended(self) -> Ended:
        """Waits for its end. One that does not end is made to say where it stands."""
        try:
            async with asyncio.timeout(SECONDS):
                out, err = await self._process.communicate()
        except TimeoutError:
            self.signal(signal.SIGABRT)
            _, err = await self._process.communicate()
            raise AssertionError(self._why_not_ended(err.decode())) from None
        assert self._process.returncode is not None
        return Ended(self._process.returncode, out.decode(), err.decode())

    def _why_not_ended(self, stacks: str) -> str:
        parts = [f"muster {' '.join(self._words)} has not ended after {SECONDS} s", stacks]
        paths = [self._data_dir / "mesh.json", *sorted(self._data_dir.glob("logs/*.log"))]
        parts += [
            "\n".join([f"{path.name}:", *path.read_text().splitlines()[-12:]])
            for path in paths
            if path.exists()
        ]
        return "\n".join(parts)

    async def leave(self) -> None:
        """Ends it, if it has not ended."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Shell:
    """Runs commands on one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        inherited = {key: value for key, value in os.environ.items() if "MUSTER_" not in key}
        self.environment = {
            **inherited,
            "MUSTER_DATA_DIR": str(self.data_dir),
            "PYTHONFAULTHANDLER": "1",
        }

    @property
    def state(self) -> MeshState:
        """What `mesh.json` says."""
        state = read_state(self.data_dir)
        assert state is not None, "no mesh.json"
        return state

    def identities(self) -> list[Identity]:
        """The supervisor, and every process that it keeps."""
        state = self.state
        return [state.supervisor, *(each.identity for each in state.processes)]

    @asynccontextmanager
    async def started(self, *words: str, stdin: bytes | None = None) -> AsyncIterator[Command]:
        """A command while it runs; what is left of it at the end of the block is killed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "muster.cli",
            *words,
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if stdin is not None:
            assert process.stdin is not None
            process.stdin.write(stdin)
            process.stdin.close()
        command = Command(process, words, self.data_dir)
        try:
            yield command
        finally:
            await command.leave()

    async def run(self, *words: str, stdin: bytes | None = None) -> Ended:
        """Runs a command to its end."""
        async with self.started(*words, stdin=stdin) as command:
            return await command.ended()

    async def ok(self, *words: str, stdin: bytes | None = None) -> Ended:
        """Runs a command that must end well."""
        ended = await self.run(*words, stdin=stdin)
        assert ended.code == 0, (words, ended)
        return ended

    async def gone(self, *identities: Identity) -> None:
        """Waits until none of these processes is there."""
        await until(
            lambda: not any(each.is_running for each in identities), SECONDS, "they are gone"
        )


@asynccontextmanager
async def shell_in(folder: Path) -> AsyncIterator[Shell]:
    """A shell; a mesh that it has left running is stopped."""
    shell = Shell(folder)
    try:
        yield shell
    finally:
        await shell.run("down")
