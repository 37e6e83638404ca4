"""The executor as it runs: its core with a clock, its links, its sweep and its streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType

from muster.backends.bus_base import Bus
from muster.executor.core import Core
from muster.executor.core_state import Agent, LinkOutbox, Session, Timers
from muster.executor.link import CallLink, Dialler, Link
from muster.executor.link_presence import CallPresence
from muster.executor.link_set import LinkSet
from muster.executor.presence_set import PresenceSet
from muster.executor.pump import Pump
from muster.executor.pump_events import Events
from muster.executor.pump_frames import Identity
from muster.executor.specs import offers_of
from muster.failpoints import failpoint
from muster.model import limits
from muster.runtime.lifetime import background
from muster.wire.targets import one_target

LEND_SECONDS = 0.005  # from a scheduler's word that work waits until idle slots go there
LEND_AGAIN_SECONDS = 0.1  # while it waits still


@dataclass(frozen=True, slots=True)
class Settings:
    """What an executor is told."""

    name: str
    # Unique in the mesh.

    address: str = ""
    # gRPC target at which other services reach it.

    scheduler_address: str = ""
    registry_address: str = ""
    # What hosts are told. Empty: where they are found, or else they are at the stream's own target.

    timers: Timers = field(default_factory=Timers)

    sweep_seconds: float = limits.SWEEP_SECONDS
    # How often hosts are judged. Shorter is more precise, and work for nothing.


class Executor:
    """Runs inside `async with`; when that is left, every task of it is done.

    `schedulers` and `registries` are the other ends, by name: `LinkService.Link` and
    `RegistryService.ReportPresence` as their callers see them. `on_link` hears whether any link
    stands, whenever that may have changed. With `dial` it also keeps links to schedulers of which
    it hears from those that it has, or from `found_schedulers`.
    """

    def __init__(
        self,
        settings: Settings,
        schedulers: Mapping[str, CallLink],
        registries: Mapping[str, CallPresence] | None = None,
        dial: Callable[[str], CallLink] | None = None,
        dial_registry: Callable[[str], CallPresence] | None = None,
        bus: Bus | None = None,
    ) -> None:
        self._settings = settings
        self._clock = time.monotonic
        self.core = Core(tuple(schedulers), self._clock(), settings.timers, offers_of)
        dialler = Dialler(
            executor=settings.name,
            incarnation=_wall_ms(),
            address=settings.address,
            core=self.core,
            clock=self._clock,
            wall=time.time,
            flush=self.flush,
            changed=self._link_changed,
            welcomed=self._welcomed,
        )
        self._dialler = dialler
        self._dial = dial
        self._set = LinkSet(schedulers)
        self._set_changed = asyncio.Event()
        self._links = {name: Link(name, call, dialler) for name, call in schedulers.items()}
        self._presences = PresenceSet(registries or {}, dialler, dial_registry)
        self.on_link: Callable[[bool], None] = lambda _linked: None
        self.events = Events(self.core, settings.name, bus, self._clock, _wall_ms, self.flush)
        self.pump = Pump(
            self.core, self._identity(), self._clock, _wall_ms, self.flush, self.events
        )
        self._stack = AsyncExitStack()
        self._draining = False
        self._late: asyncio.TimerHandle | None = None
        self._lend: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Executor:
        loops = (self._sweep, self._keep_links, self._presences.run, self.events.run)
        await self._stack.enter_async_context(background(*loops))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.pump.close()
        for timer in (self._late, self._lend):
            if timer is not None:
                timer.cancel()
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def name(self) -> str:
        """The executor's name."""
        return self._settings.name

    def found_schedulers(self, targets: Mapping[str, str]) -> None:
        """The schedulers that a directory names: name -> target."""
        if self._dial is not None:
            self._set.found(targets)
            self._set_changed.set()

    def found_registries(self, targets: Mapping[str, str]) -> None:
        """The registries that a directory names: name -> target."""
        self._presences.found(targets)
        self.pump.identity = self._identity()

    def now(self) -> float:
        """The time of the core, in seconds."""
        return self._clock()

    def drain_host(self, tenant: str, host: str, grace_seconds: float) -> Session:
        """Asks a host to finish what it has and leave. Raises `NotFound`."""
        session = self.core.sessions.drain_host(tenant, host, grace_seconds, self._clock())
        self.core.topics.close(session)
        self.flush()
        return session

    def drain_agent(self, tenant: str, name: str) -> Agent:
        """Asks an agent to finish what it has. Raises `NotFound`."""
        agent = self.core.sessions.drain_agent(tenant, name)
        self.core.topics.close(agent.session, [name])
        self.flush()
        return agent

    async def drain(self) -> None:
        """Ends every stream; returns when that is done.

        From here on nobody is judged: who is gone was sent away, and comes back with all that he
        holds, to another executor or to the next one of this name.
        """
        self._draining = True
        await self.pump.close()

    def flush(self) -> None:
        """Wakes whoever has something to write since the last time."""
        book = self.core.book
        if book.woken_hosts:
            for session in book.woken_hosts:
                self.pump.wake(session)
            book.woken_hosts.clear()
        if book.woken_links:
            for outbox in book.woken_links:
                if outbox.name in self._links:
                    self._links[outbox.name].wake()
            book.woken_links.clear()
        if book.late_hosts and self._late is None:
            loop = asyncio.get_running_loop()
            self._late = loop.call_later(limits.ACK_DELAY_SECONDS, self._wake_late)
        if self.core.lending.unbalanced and self._lend is None:
            self._lend = asyncio.get_running_loop().call_later(LEND_SECONDS, self._balance)

    def _balance(self) -> None:
        self._lend = None
        if self.core.lending.balance():
            # What is busy now may be idle then.
            loop = asyncio.get_running_loop()
            self._lend = loop.call_later(LEND_AGAIN_SECONDS, self._balance)
        self.flush()

    def _wake_late(self) -> None:
        self._late = None
        for session in self.core.book.take_late():
            self.pump.wake(session)

    # --- links ------------------------------------------------------------------------------------

    async def _keep_links(self) -> None:
        """Runs a link for each scheduler, those included that come later."""
        running: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            if not self._set.wanted():
                self._link_changed()  # it knows of no scheduler yet
            while True:
                wanted = self._set.wanted()
                for name in running.keys() - wanted:
                    running[name].cancel()
                    await asyncio.wait({running.pop(name)})
                    self._links.pop(name)
                    self.core.scheduler.link_removed(name)
                for name in wanted - running.keys():
                    running[name] = group.create_task(self._link(name).run())
                self.pump.identity = self._identity()
                await self._set_changed.wait()
                self._set_changed.clear()

    def _identity(self) -> Identity:
        told, found = self._settings, self._dial is not None
        schedulers = one_target(self._set.wanted()) if found else ""
        return Identity(
            told.name,
            told.scheduler_address or schedulers,
            told.registry_address or one_target(self._presences.targets),
        )

    def _link(self, name: str) -> Link:
        link = self._links.get(name)
        if link is None:
            assert self._dial is not None  # else nobody is heard of
            self.core.book.links[name] = LinkOutbox(name)
            link = self._links[name] = Link(name, self._dial(name), self._dialler)
        return link

    def _welcomed(self, link: str, scheduler: str, peers: Mapping[str, str]) -> None:
        self._set.welcomed(link, scheduler, peers if self._dial is not None else {})
        self._set_changed.set()

    def _link_changed(self) -> None:
        for link in self.core.book.links.values():
            if not link.answered:
                self._set.lost(link.name)
        self.on_link(any(link.answered for link in self.core.book.links.values()))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            await asyncio.sleep(0)  # what has come during a stall is read first
            self._judge()

    @failpoint("executor_sweep")
    def _judge(self) -> None:
        if not self._draining:
            self.core.judge.sweep(self._clock())
        self.events.sweep()
        self.pump.reap()
        self.flush()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
