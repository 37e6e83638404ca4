"""A host in an actor, from its start to its end: what `Kept` keeps running, in the driver."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from muster.backends.pool_ray.actor import HostActor
from muster.backends.pool_ray.messages import Settings
from muster.backends.pool_subprocess.process import (
    Command,
    Ending,
    Log,
    ending,
    exited,
    group_gone,
)
from muster.model import limits

_METHODS_AT_A_TIME = 3  # run, and beside it begin and leave
_LOST = "was lost: its process or its node died"


class HostedInActor:
    """One life of a host. Needs a running event loop and a connected Ray.

    Raises `OSError` where there cannot be an actor, also while an older one of its name is there.
    """

    def __init__(self, settings: Settings, job: str, command: Command, log: Log) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[Any] = loop.create_future()
        self.exited: asyncio.Future[Any] = loop.create_future()
        self.pid: int | None = None
        self.place = ""
        self._settings = settings
        self._job = job
        self._log = log
        self._node = ""
        self._there: int | None = None  # its process, on whatever node
        self._ending = Ending(None, _LOST)
        self._actor = _make_actor(settings, command.name)
        _when_done(self._actor.begin.remote(), self._begin)

    def terminate(self) -> None:
        """Lets the host finish what it holds, and end."""
        with suppress(RayError):
            self._actor.leave.remote()

    def reap(self) -> Ending:
        """Ends the actor, and on this machine what it has started."""
        with suppress(RayError, ValueError):
            ray.kill(self._actor, no_restart=True)
        if self.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        return self._ending

    async def gone(self) -> None:
        """Returns when nothing is left of the process and its group, here or on its node."""
        if self.pid is not None:
            with suppress(OSError):
                await asyncio.wait([exited(self.pid)], timeout=limits.KILL_SECONDS)
            await group_gone(self.pid)
        elif self._there is not None:
            await self._swept(self._there)

    async def _swept(self, group: int) -> None:
        """Where the actor was on another machine, somebody there looks after its group."""
        there = NodeAffinitySchedulingStrategy(self._node, soft=False)
        swept = self._loop.create_future()

        def done(_: Future[Any]) -> None:
            if not swept.done():
                swept.set_result(None)

        try:
            sweep = ray.remote(end_group).options(
                num_cpus=0, max_retries=0, scheduling_strategy=there
            )
            _when_done(sweep.remote(group), done)
        except (RayError, ValueError):
            return  # the node is gone, and everything with it
        await asyncio.wait([swept], timeout=limits.KILL_SECONDS)

    # --- what Ray tells, in the event loop --------------------------------------------------------

    def _begin(self, answer: Future[Any]) -> None:
        error = answer.exception()
        if error is not None:
            self._end(answer)
            return
        self._there, self._node, address = answer.result()
        is_here = self._node == ray.get_runtime_context().get_node_id()
        self.pid = self._there if is_here else None
        self.place = "" if is_here else f"node {address}, pid {self._there}"
        if not self.begun.done():
            self.begun.set_result(None)
        settings, folder, log = self._settings, "", ""
        if is_here:
            os.close(self._log.begin())
            folder, log = settings.working_folder, str(self._log.path)
        running = self._actor.run.remote(
            settings.module, self._job, settings.environment, folder, log
        )
        _when_done(running, self._end)

    def _end(self, answer: Future[Any]) -> None:
        error = answer.exception()
        if error is None:
            code = int(answer.result())
            self._ending = Ending(code, ending(code))
        elif not self.begun.done():
            self._ending = Ending(None, f"could not begin: {_last_line(error)}")
        elif isinstance(error, RayTaskError) and not isinstance(error, RayActorError):
            self._ending = Ending(None, f"failed: {_last_line(error)}")
        if not self.exited.done():
            self.exited.set_result(None)


def _make_actor(settings: Settings, name: str) -> Any:
    make = ray.remote(HostActor).options(
        name=name,
        namespace=settings.namespace,
        num_cpus=settings.cpus,
        max_concurrency=_METHODS_AT_A_TIME,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
    )
    try:
        return make.remote()
    except ValueError:
        raise OSError(errno.EBUSY, "the one before it is not gone yet") from None
    except RayError as error:
        raise OSError(errno.EAGAIN, _last_line(error)) from None


def _last_line(error: BaseException) -> str:
    """What matters: Ray's errors hold whole tracebacks, and end with what was raised."""
    return (str(error).strip().splitlines() or [repr(error)])[-1]


def _when_done(reference: Any, tell: Callable[[Future[Any]], None]) -> None:
    """Tells, in the running event loop, when Ray has an answer or knows that none will come."""
    loop = asyncio.get_running_loop()

    def done(answer: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(tell, answer)

    reference.future().add_done_callback(done)


def end_group(group: int) -> None:
    """Kills a process group of the machine that this runs on, if there still is one."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
