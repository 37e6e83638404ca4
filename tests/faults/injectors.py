"""Faults of the machine below: fsync that fails or is slow, disks that fill up or lose power, a
clock that jumps, packets that vanish. All by real means; most need root, and say so.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from muster.servers.known import KINDS
from muster.servers.server import ServerMissing
from tests.support.processes import until
from tests.support.servers import look_for

TOOL_SECONDS = 10.0
PACKAGES = {
    "strace": "strace",
    "nft": "nftables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "mount": "mount",
    "mkfs.ext4": "e2fsprogs",
    "cc": "gcc",
}


def missing(need: str) -> str:
    """Why a row that needs this cannot run here, and what to do about it; empty when it can."""
    if need == "root":
        return "" if os.geteuid() == 0 else "needs root"
    if need in KINDS:
        try:
            look_for(need)
        except ServerMissing as reason:
            return str(reason)
        return ""
    return "" if shutil.which(need) else f"needs {need}: apt install {PACKAGES[need]}"


async def run(*command: str) -> str:
    """Runs a command that must succeed; returns what it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(TOOL_SECONDS):
        said, _ = await process.communicate()
    if process.returncode:
        message = f"{' '.join(command)} ended with {process.returncode}: {said.decode()}"
        raise RuntimeError(message)
    return said.decode()


# --- system calls ---------------------------------------------------------------------------------


@asynccontextmanager
async def fsync_injected(pid: int, what: str) -> AsyncIterator[None]:
    """While the block runs, every fsync of a process is injected: `what` is strace's word for it,
    for example "error=EIO" or "delay_enter=200ms". The block begins once that is so."""
    process = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-p", str(pid), "-e", "trace=fsync,fdatasync"),
        *("-e", f"inject=fsync,fdatasync:{what}", "-o", "/dev/null"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: _is_traced(pid), TOOL_SECONDS, f"strace has attached to {pid}")
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # it lets go of the process, which goes on
        await process.communicate()


def _is_traced(pid: int) -> bool:
    """Whether every thread of a process has a tracer."""
    tasks = list(Path(f"/proc/{pid}/task").glob("*/status"))
    return bool(tasks) and all("TracerPid:\t0\n" not in task.read_text() for task in tasks)


# --- disks ----------------------------------------------------------------------------------------


class SmallDisk:
    """A folder on a disk of its own, which can be filled up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Takes whatever space is left."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Gives it back."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """A disk in memory. The row must run in a mount namespace of its own."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _mount("--lazy", str(folder), command="umount")


class Disk:
    """A file system in a file: what the file holds is what a disk would hold."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.image = image
        self.folder = folder

    def copy_when_power_is_cut(self, to: Path) -> None:
        """Copies what the disk holds now, without telling anybody to write anything to it.

        Whoever writes must stand still. What the kernel writes meanwhile by itself would tear the
        copy: then it is copied again. What the kernel holds back stays out of the copy, as it would
        be gone with the power.
        """
        while True:
            before = self._written()
            shutil.copyfile(self.image, to)
            if self._written() == before:
                return

    def _written(self) -> tuple[str, str]:
        """Requests written to the device so far, and those under way."""
        device = os.stat(self.folder).st_dev
        place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
        return (place / "stat").read_text().split()[4], (place / "inflight").read_text()


@contextmanager
def disk(folder: Path, name: str, mebibytes: int = 0) -> Iterator[Disk]:
    """Mounts the image `name`; makes it when a size is given. In a mount namespace of its own."""
    image, mounted = folder / f"{name}.img", folder / name
    if mebibytes:
        with image.open("wb") as file:
            file.truncate(mebibytes << 20)
        _mount("-q", "-F", str(image), command="mkfs.ext4")
    mounted.mkdir()
    _mount("-o", "loop", str(image), str(mounted))
    try:
        yield Disk(image, mounted)
    finally:
        _mount("--lazy", str(mounted), command="umount")


def _mount(*words: str, command: str = "mount") -> None:
    # It takes milliseconds, and nothing else goes on when disks are made.
    subprocess.run((command, *words), check=True, timeout=TOOL_SECONDS)


# --- clocks ---------------------------------------------------------------------------------------


class WallClock:
    """The wall clock of every process that was started in its environment; it can be changed while
    they run. Their monotonic clocks go on as before. See wall_clock.c."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._library = folder / "wall_clock.so"
        source = str(Path(__file__).with_name("wall_clock.c"))
        words = ("cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), source, "-ldl")
        subprocess.run(words, check=True, timeout=TOOL_SECONDS)
        self._file.write_bytes(struct.pack("q", 0))

    def shift(self, seconds: int) -> None:
        """From now on it is so many seconds later, or earlier, than in truth."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))

    def environment(self) -> dict[str, str]:
        """What makes a process believe it."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK_FILE": str(self._file)}


# --- networks -------------------------------------------------------------------------------------


class Packets:
    """Drops packets between a service's port and the processes of one group, in either direction.

    The row must run in a network namespace of its own, whose loopback is up.
    """

    def __init__(self, port: int, group: int) -> None:
        self._port = port
        self._group = group

    async def prepare(self) -> None:
        """Begins to mark the group's connections, so that answers to them are known, too."""
        await run("nft", "add", "table", "inet", "faults")
        await run(
            *("nft", "add", "chain", "inet", "faults", "out"),
            "{ type filter hook output priority 0; }",
        )
        await self.heal()

    async def drop(self, *, there: bool, back: bool) -> None:
        """Drops what the group's processes send there, or what comes back to them, or both."""
        await self.heal()
        for dropped, direction in ((there, "original"), (back, "reply")):
            if dropped:
                await self._rule("ct", "mark", "1", "ct", "direction", direction, "drop")

    async def heal(self) -> None:
        """Drops nothing any more."""
        await run("nft", "flush", "chain", "inet", "faults", "out")
        port, group = str(self._port), str(self._group)
        await self._rule("meta", "skgid", group, "tcp", "dport", port, "ct", "mark", "set", "1")

    async def _rule(self, *words: str) -> None:
        await run("nft", "add", "rule", "inet", "faults", "out", *words)
