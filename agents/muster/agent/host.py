"""A host: the process that holds one session and runs many agents on it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import grpc

from muster.agent.agent import Agent
from muster.agent.options import find_targets
from muster.agent.services import Services, spans_of_process
from muster.agent.session.core import SessionCore, reconnect_pause
from muster.agent.session.stream import Session
from muster.agent.topics.event import Publication
from muster.agent.work import Work
from muster.failpoints import check as check_failpoints
from muster.model import limits
from muster.model.errors import Code, MusterError
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.session_pb2 import Welcome
from muster.wire.channel import Channels
from muster.wire.errors import error_of_rpc

logger = logging.getLogger("muster.agent")

# What a mesh that has never welcomed this host will not say otherwise on the next try.
_HOPELESS = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.FAILED_PRECONDITION,
        Code.UNIMPLEMENTED,
    }
)


def _own_name(agents: Iterable[str], *, proven: bool) -> str:
    """Unlike any other on this machine. Where identity is `proven` it begins with an agent's name,
    because a caller that may run an agent may have what is beneath its name."""
    first = next(iter(agents), "")
    prefix = f"{first[: limits.NAME_CHARACTERS_MAX // 2]}." if proven and first else ""
    machine = re.sub("[^A-Za-z0-9]+", "-", socket.gethostname().split(".")[0]).strip("-")
    return f"{prefix}{machine[: limits.NAME_CHARACTERS_MAX // 4] or 'host'}-{os.getpid()}"


class Superseded(Exception):
    """Another process runs a host of the same name; this one gives way."""


class Host:
    """Runs agents. `name` is unique within the tenant; by default machine and process make it.

    `workers` is how many processes compute at a time for sync capabilities.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        *,
        target: str | None = None,
        name: str | None = None,
        workers: int | None = None,
        tenant: str | None = None,
        principal: str | None = None,
        leave_seconds: float = limits.LEAVE_SECONDS_DEFAULT,
    ) -> None:
        self.agents = {agent.name: agent for agent in agents}
        self.workers = workers or min(limits.WORKERS_DEFAULT_MAX, os.cpu_count() or 1)
        self._targets = find_targets(target, tenant=tenant, principal=principal)
        proven = self._targets.security.ca is not None
        self.name = name or _own_name(self.agents, proven=proven)
        self._leave_seconds = leave_seconds
        self._core = SessionCore()
        self._wake = asyncio.Event()
        self._leaving = asyncio.Event()
        self._welcomed = asyncio.Event()
        self._settled = asyncio.Event()
        self._session: Session | None = None
        self._failure: Exception | None = None
        self._work: Work | None = None
        for agent in self.agents.values():
            agent.host = self

    def run_forever(self) -> None:
        """Runs until SIGINT or SIGTERM, or until the mesh drains the host."""
        if not logging.getLogger().handlers:
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        asyncio.run(self._run_until_told())

    async def _run_until_told(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, self.leave)
        await self.run()

    def leave(self, seconds: float | None = None) -> None:
        """Takes nothing new, finishes what is held in at most so many seconds, and ends."""
        if not self._leaving.is_set():
            self._leave_seconds = self._leave_seconds if seconds is None else seconds
            self._core.leave()
            self._leaving.set()
            self._wake.set()

    def attach(self, agent: Agent) -> None:
        """Adds an agent, or changes the one of its name, while the host runs."""
        self.agents[agent.name] = agent
        agent.host = self
        if self._core.welcomed:
            self._core.outbox.attach(agent.name)
            self._wake.set()

    def detach(self, name: str) -> None:
        """Takes an agent off. What it holds goes on; it gets nothing new."""
        if self.agents.pop(name, None) is not None and self._core.welcomed:
            self._core.outbox.detach(name)
            self._wake.set()
        if self._session is not None:
            self._session.expect_no_result(name)

    async def publish(self, agent: str, publication: Publication) -> None:
        """Publishes for an agent, outside of an attempt; see `Agent.publish`."""
        if self._work is None:
            message = f"{self.name} does not run, so nobody publishes for {agent}"
            raise RuntimeError(message)
        publisher = self._work.topics.publisher
        await publisher.publish(agent, publication, publication.id or publisher.next_id())

    async def connected(self) -> None:
        """Waits until the mesh has welcomed the host and taken or refused each of its agents.

        From then on, what they offer can be called.
        """
        await self._settled.wait()

    async def run(self) -> None:
        """Runs until `leave` is called, the mesh drains the host, or it can never be served.

        Raises `Superseded`, or the `MusterError` with which the mesh refused it from the start, and
        `ValueError` where MUSTER_FAILPOINTS cannot be obeyed.
        """
        armed = check_failpoints()
        if armed:
            logger.warning("failpoints are armed: %s", armed)
        failure: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            services = Services(self._targets)
            spans = spans_of_process("muster-host", self.name)
            wake = self._wake.set
            work = Work(self._core, self.agents, tasks, services, wake, self.workers, spans)
            self._work = work
            connecting = tasks.create_task(self._stay_connected(work, services))
            leaving = tasks.create_task(self._leave_in_time(connecting))
            arranging = tasks.create_task(self._arrange(services))
            try:
                await asyncio.wait([connecting])
                failure = self._failure
            finally:
                leaving.cancel()
                arranging.cancel()
                self._work = None
                await work.close()
                await services.close()
        if failure is not None:
            raise failure

    async def _arrange(self, services: Services) -> None:
        """Makes the agents' schedules. One that is refused ends the host: nobody would call it."""
        schedules = {s.name: s for agent in self.agents.values() for s in agent.schedules.values()}
        if not schedules:
            return
        from muster.agent.modes.scheduled import register

        await self._settled.wait()
        try:
            await register(services, schedules.values())
        except MusterError as error:
            self._failure = error
            self.leave(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Host]:
        """Runs the host beside the block: connected when that begins, and leaving when it ends.

        Raises what `run` raises.
        """
        failure: BaseException | None = None
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._run_quietly())
            connected = tasks.create_task(self.connected())
            await asyncio.wait([running, connected], return_when=asyncio.FIRST_COMPLETED)
            connected.cancel()
            if not running.done():
                try:
                    yield self
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - raised below, unwrapped
                    failure = error
                finally:
                    self.leave()
        failure = failure or running.result()
        if failure is not None:
            raise failure

    async def _run_quietly(self) -> Exception | None:
        try:
            await self.run()
        except (Superseded, MusterError) as error:
            return error
        return None

    async def _leave_in_time(self, connecting: asyncio.Task[None]) -> None:
        await self._leaving.wait()
        await asyncio.wait([connecting], timeout=self._leave_seconds)
        connecting.cancel()

    async def _stay_connected(self, work: Work, services: Services) -> None:
        # Asked for at each try, because certificates may be others by then.
        channels, target = Channels(self._targets.security), self._targets.executor
        failures = 0
        try:
            while not self._core.finished():
                error = await self._connect_once(channels.to(target), work, services)
                if self._core.finished():
                    return
                failures = 1 if self._session and self._session.welcome else failures + 1
                self._failure = self._judge(error, failures)
                work.end_overdue()
                if self._failure is not None:
                    return
                if failures % limits.CHANNEL_FAILURES_MAX == 0:
                    await channels.renew(target)
                await self._pause(reconnect_pause(failures - 1, random.random()))
        finally:
            await channels.close()

    async def _pause(self, seconds: float) -> None:
        """Waits, but no longer than until the host is told to leave."""
        if self._leaving.is_set():
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()

    async def _connect_once(
        self, channel: grpc.aio.Channel, work: Work, services: Services
    ) -> MusterError | None:
        stub = ExecutorServiceStub(channel)
        call = stub.Connect(metadata=self._targets.metadata)
        clock = asyncio.get_running_loop().time
        self._session = Session(self._core, work, self.agents, self.name, self._wake, clock)
        self._session.on_drain = self.leave
        self._session.on_welcome = lambda welcome: self._take_welcome(welcome, services)
        self._session.on_settled = self._take_results
        try:
            await self._session.run(call)
        except grpc.RpcError as error:
            return error_of_rpc(error)
        except TimeoutError:
            logger.warning("the mesh did not answer the hello in time")
        finally:
            self._core.welcomed = False
            call.cancel()
        return None

    def _take_welcome(self, welcome: Welcome, services: Services) -> None:
        self._welcomed.set()
        # What the executor knows are ports for certificates; with a token they are no use.
        by_token = self._targets.security.shows_token
        apart = self._targets.scheduler != self._targets.executor
        if welcome.endpoints.scheduler and not apart and not by_token:
            services.targets = replace(self._targets, scheduler=welcome.endpoints.scheduler)

    def _take_results(self) -> None:
        self._settled.set()
        refused = self._session.refused if self._session is not None else ()
        logger.info("%s is connected, with %d agents", self.name, len(self.agents) - len(refused))

    def _judge(self, error: MusterError | None, failures: int) -> Exception | None:
        """What makes it pointless to connect again, if anything does."""
        if self._session is not None and self._session.rejection is not None:
            return self._session.rejection
        if error is None:
            return None
        if error.reason == "SUPERSEDED":
            message = f"another process runs a host called {self.name}; give each its own name"
            return Superseded(message)
        if not self._welcomed.is_set() and error.code in _HOPELESS:
            return error
        if failures == 1:
            logger.warning("no connection to the mesh (%s); trying again", error.message)
        return None
