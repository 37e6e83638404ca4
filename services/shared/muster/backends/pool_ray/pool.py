"""The pool whose hosts are actors of Ray."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from muster.backends.pool_base import HostState, HostStatus, OnChange, PoolError
from muster.backends.pool_ray.messages import (
    LINE_BYTES_MAX,
    SETTINGS_VARIABLE,
    Settings,
    change_of_message,
    read_message,
    to_line,
)
from muster.backends.pool_subprocess.kept import Change, Kept, KeptState
from muster.backends.pool_subprocess.pool import nobody, status_of
from muster.backends.pool_subprocess.process import Command, Log, exited, group_gone, module_words
from muster.model import limits
from muster.model.fleet import HostJob

_DRIVER = "muster.backends.pool_ray.driver"
_FINAL = (HostState.STOPPED, HostState.REFUSED)

# For Ray: tell nobody that it is used, and start no more than is needed.
_RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass
class _Host:
    """A host as the pool wants it, and as it was last."""

    job: HostJob
    last: HostStatus
    log: Log
    starts_before: int = 0
    # By drivers that are gone.

    stop_seconds: float | None = None
    # None: it is to run.

    ended: asyncio.Event = field(default_factory=asyncio.Event)


class RayPool:
    """Runs each host in an actor.

    `environment` is as for processes, and names the cluster: MUSTER_RAY_ADDRESS or RAY_ADDRESS.
    Without either, Ray is started on this machine, for this pool alone. On a cluster, hosts get of
    it what begins with MUSTER_, and what it says otherwise than our own; their code must be there.
    MUSTER_RAY_CPUS is what each host reserves there, nothing by default. On this machine hosts
    write to `<logs>/<name>.log`, elsewhere to Ray's own logs.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        logs: Path,
        on_change: OnChange = nobody,
        *,
        stop_seconds: float = limits.HOST_STOP_SECONDS,
        module: str = "muster.hosting.running",
        pause_seconds_max: float = limits.RESTART_SECONDS_MAX,
    ) -> None:
        self._environment = environment
        self._logs = logs
        self._on_change = on_change
        self._stop_seconds = stop_seconds
        self._module = module
        self._pause_seconds_max = pause_seconds_max
        self._hosts: dict[str, _Host] = {}
        self._groups: set[int] = set()  # that actors of this machine have led
        self._writer: asyncio.StreamWriter | None = None
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        cpus = _cpus_of(self._environment)
        # Short, because Ray's sockets are in it; the system allows them 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="muster-ray-"))
        socket = self._folder / "pool"
        self._server = await asyncio.start_unix_server(
            self._serve, str(socket), limit=LINE_BYTES_MAX
        )
        settings = Settings(
            socket=str(socket),
            address=_address_of(self._environment),
            namespace=f"muster-{secrets.token_hex(8)}",
            folder=str(self._folder),
            logs=str(self._logs.absolute()),
            working_folder=str(Path.cwd()),
            module=self._module,
            cpus=cpus,
            pause_seconds_max=self._pause_seconds_max,
            environment=_of_hosts(self._environment),
        )
        command = Command(
            name="ray",
            words=module_words(_DRIVER),
            environment={
                **self._environment,
                **_RAY_ENVIRONMENT,
                **({} if settings.address else _own_token(self._folder)),
                SETTINGS_VARIABLE: json.dumps(asdict(settings)),
            },
            log=self._logs / "ray.log",
            # What lies where the driver was started would shadow modules in the actors.
            folder=self._folder,
        )
        await self._tasks.__aenter__()
        self._driver = Kept(command, self._driver_changed)
        self._tasks.create_task(self._driver.run(), name="ray's driver")
        return self

    async def __aexit__(self, *error: object) -> None:
        for host in self._hosts.values():
            self._request_stop(host, self._stop_seconds)
        for host in self._hosts.values():
            await host.ended.wait()
        if self._writer is None:  # it has not begun, and in Ray's hands it hears no signal
            self._driver.hurry()
        self._driver.request_stop(limits.RAY_STOP_SECONDS)
        await self._tasks.__aexit__(None, None, None)
        await self._end_groups()
        self._server.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def start(self, job: HostJob) -> None:
        """Starts a host; see `Pool`."""
        held = self._hosts.get(job.name)
        if held is not None and held.last.state not in _FINAL:
            message = f"there is a host {job.name} already"
            raise PoolError(message)
        last = HostStatus(job.name, HostState.WAITING, "", 0)
        host = self._hosts[job.name] = _Host(job, last, Log(self._logs / f"{job.name}.log"))
        if self._driver.last.state is KeptState.REFUSED:
            self._say(host, replace(last, state=HostState.REFUSED))
        self._send_start(host)

    async def stop(self, name: str, grace_seconds: float) -> None:
        """Ends a host; see `Pool`."""
        host = self._hosts.get(name)
        if host is not None:
            self._request_stop(host, grace_seconds)
            await host.ended.wait()

    def hurry(self) -> None:
        """Cuts every grace short: what does not end at once is killed."""
        self._send({"do": "hurry"})
        if self._writer is None:
            self._driver.hurry()

    def status(self) -> list[HostStatus]:
        """Every host; see `Pool`."""
        return [host.last for host in self._hosts.values()]

    def last_lines(self, name: str) -> list[str]:
        """What a host has written last; where it wrote nothing here, what Ray's driver did."""
        return self._hosts[name].log.last_lines() or self._driver.log.last_lines()

    # --- the driver -------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A driver has come. What is left of hosts of the one before goes first."""
        await self._end_groups()
        self._writer = writer
        for host in self._hosts.values():
            if host.stop_seconds is None and host.last.state not in _FINAL:
                self._send_start(host)
        while (message := await read_message(reader)) is not None:
            self._take(change_of_message(message))
        if self._writer is writer:
            self._writer = None
        writer.close()

    def _driver_changed(self, change: Change) -> None:
        if change.state is KeptState.RUNNING or change.state is KeptState.STOPPING:
            return
        self._writer = None
        for host in self._hosts.values():
            if host.last.state in _FINAL:
                continue
            host.starts_before = host.last.starts
            lost = replace(host.last, pid=None, place="", detail=f"was lost: Ray {change.detail}")
            if change.state is KeptState.REFUSED:
                self._say(host, replace(lost, state=HostState.REFUSED))
            elif host.stop_seconds is not None or change.state is KeptState.STOPPED:
                self._say(host, replace(lost, state=HostState.STOPPED))
            else:
                self._say(
                    host,
                    replace(lost, state=HostState.WAITING, pause_seconds=change.pause_seconds),
                )

    async def _end_groups(self) -> None:
        """Ends what actors of this machine may have left, which no Ray looks after any more."""
        groups, self._groups = self._groups, set()
        for group in groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for group in groups:
            with suppress(OSError):
                await asyncio.wait([exited(group)], timeout=limits.KILL_SECONDS)
            await group_gone(group)

    def _send_start(self, host: _Host) -> None:
        self._send({"do": "start", "name": host.job.name, "job": host.job.to_json()})

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(to_line(message))

    # --- hosts ------------------------------------------------------------------------------------

    def _request_stop(self, host: _Host, grace_seconds: float) -> None:
        if host.last.state in _FINAL or host.stop_seconds is not None:
            return
        host.stop_seconds = grace_seconds
        if self._writer is None:  # then there is no actor either
            self._say(host, replace(host.last, state=HostState.STOPPED))
        else:
            self._send({"do": "stop", "name": host.job.name, "grace": grace_seconds})

    def _take(self, change: Change) -> None:
        host = self._hosts.get(change.name)
        if host is None or host.last.state in _FINAL:
            return
        if change.pid is not None:
            self._groups.add(change.pid)
        elif host.last.pid is not None:
            self._groups.discard(host.last.pid)
        if change.state is KeptState.STOPPED and host.stop_seconds is None:
            return  # the driver was told to end, but not by us: the next one goes on
        self._say(host, replace(status_of(change), starts=host.starts_before + change.starts))

    def _say(self, host: _Host, status: HostStatus) -> None:
        host.last = status
        if status.state in _FINAL:
            host.ended.set()
        self._on_change(status)


def _own_token(folder: Path) -> dict[str, str]:
    """What a Ray of our own asks of whoever speaks to it. Ray would make one too, and leave it in
    the user's home for every other Ray to find."""
    file = folder / "token"
    with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as token:
        token.write(secrets.token_hex(32))
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}


def _address_of(environment: Mapping[str, str]) -> str:
    address = environment.get("MUSTER_RAY_ADDRESS") or environment.get("RAY_ADDRESS", "")
    return "" if address == "local" else address


def _cpus_of(environment: Mapping[str, str]) -> float:
    named = environment.get("MUSTER_RAY_CPUS", "0")
    try:
        cpus = float(named)
    except ValueError:
        cpus = -1.0
    if not 0.0 <= cpus < 10_000.0:
        message = f"MUSTER_RAY_CPUS must be a number of CPUs for each host, not {named!r}"
        raise PoolError(message)
    return cpus


def _of_hosts(environment: Mapping[str, str]) -> dict[str, str]:
    """What hosts are told: not what a process here simply has, which elsewhere would be wrong."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("MUSTER_") or os.environ.get(name) != value
    }
