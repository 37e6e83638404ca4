"""The process that speaks to Ray for a pool: `python -m muster.backends.pool_ray.driver`.

It starts a Ray of its own on this machine, or connects to a cluster, and keeps the hosts running
that the pool names. When the pool is gone, so are the hosts: it is stopped with SIGTERM then. It
ends with code 2 when there cannot be a Ray like this; once there was one, it is only away.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from functools import partial
from pathlib import Path

from muster.backends.pool_ray.messages import (
    LINE_BYTES_MAX,
    SETTINGS_VARIABLE,
    Settings,
    message_of_change,
    read_message,
    to_line,
)
from muster.backends.pool_subprocess.kept import Change, Kept, KeptState, pause_seconds
from muster.backends.pool_subprocess.process import Command
from muster.model import limits

EXIT_FAILED, EXIT_MISCONFIGURED = 1, 2
ORPHAN_GRACE_SECONDS = 3.0  # when the pool is gone; within what `child` allows
OBJECTS_BYTES = 80 * 1024 * 1024  # no work goes through Ray, and less than this it refuses

_FINAL = (KeptState.STOPPED, KeptState.REFUSED)


def main() -> int:
    """Runs until it is told to stop; returns the exit code."""
    settings = Settings(**json.loads(os.environ.pop(SETTINGS_VARIABLE)))
    was_there = Path(settings.folder) / "was-there"
    try:
        import ray

        _connect(settings)
    except Exception as error:  # noqa: BLE001 - Ray raises anything; the pool shows the last words
        print(f"muster: Ray cannot be used: {_reason(error)}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED if was_there.exists() else EXIT_MISCONFIGURED
    was_there.touch()
    driver = _Driver(settings)
    try:
        asyncio.run(driver.run())
    finally:
        ray.shutdown()
        if driver.is_alone:
            shutil.rmtree(settings.folder, ignore_errors=True)
    return 0


def _reason(error: Exception) -> str:
    """An error in a line; Ray's own end with what matters, and repeat what they were caused by."""
    lines = str(error).strip().splitlines() or [repr(error)]
    return lines[-1].strip("'\"")


def _connect(settings: Settings) -> None:
    import ray

    if settings.address:
        _require_answer(settings.address)
        ray.init(
            address=settings.address,
            namespace=settings.namespace,
            log_to_driver=False,
            logging_level="WARNING",
        )
        return
    ray.init(
        address="local",
        namespace=settings.namespace,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="WARNING",
        object_store_memory=OBJECTS_BYTES,
        _temp_dir=settings.folder,
    )


def _require_answer(address: str) -> None:
    """Raises `ConnectionError` when nobody is there: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", or nonsense, of which Ray says so
    try:
        socket.create_connection((host.strip("[]"), int(port)), limits.CONNECT_SECONDS).close()
    except OSError as error:
        message = (
            f"nobody answers at {address} ({error.strerror or error}); start a cluster there, or "
            "unset MUSTER_RAY_ADDRESS and RAY_ADDRESS for one of our own on this machine"
        )
        raise ConnectionError(message) from None


class _Driver:
    """Keeps hosts running, as the pool says."""

    def __init__(self, settings: Settings) -> None:
        self.is_alone = False  # the pool has gone, without having ended us
        self._settings = settings
        self._kept: dict[str, Kept] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._stop = asyncio.Event()

    async def run(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(
            self._settings.socket, limit=LINE_BYTES_MAX
        )
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(reader, tasks))
            await self._stop.wait()
            listening.cancel()
            for kept in self._kept.values():
                kept.request_stop(ORPHAN_GRACE_SECONDS)
        self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader, tasks: asyncio.TaskGroup) -> None:
        while (message := await read_message(reader)) is not None:
            match message["do"]:
                case "start":
                    self._start(message["name"], message["job"], tasks)
                case "stop":
                    self._kept[message["name"]].request_stop(float(message["grace"]))
                case "hurry":
                    for kept in self._kept.values():
                        kept.hurry()
        self.is_alone = True
        self._stop.set()

    def _start(self, name: str, job: str, tasks: asyncio.TaskGroup) -> None:
        from muster.backends.pool_ray.hosted import HostedInActor

        held = self._kept.get(name)
        if held is not None and held.last.state not in _FINAL:
            return
        log = Path(self._settings.logs) / f"{name}.log"
        kept = self._kept[name] = Kept(
            Command(name=name, words=(), environment={}, log=log),
            self._tell,
            pause=self._pause,
            start=partial(HostedInActor, self._settings, job),
        )
        tasks.create_task(kept.run(), name=f"host {name}")

    def _pause(self, quick_deaths: int) -> float:
        return min(pause_seconds(quick_deaths), self._settings.pause_seconds_max)

    def _tell(self, change: Change) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(to_line(message_of_change(change)))


if __name__ == "__main__":
    sys.exit(main())
