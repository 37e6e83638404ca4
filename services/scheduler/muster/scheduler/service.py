"""The scheduler's shell: runs the core and the ledger.

One event loop owns the core. Every input is applied at once; `settle` then plans, turns the effects
into rows for the next commit, and wakes the committer. What tells somebody of a change is done
after the commit that makes it durable (`_on_commit`), in the same order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from functools import partial

from muster.backends.ledger_base import Ledger
from muster.failpoints import failpoint
from muster.model import limits
from muster.model.errors import ContractUnknown
from muster.model.ids import EpochMaker, IdMaker, format_id
from muster.model.ledger import (
    CatalogueRow,
    CommitResult,
    Opening,
    StoredContract,
)
from muster.runtime.lifetime import background
from muster.runtime.logs import get_logger
from muster.runtime.validation import check
from muster.scheduler import effects as fx
from muster.scheduler.admission import moving
from muster.scheduler.applying import Applying
from muster.scheduler.catalogue import Catalogue, Entry
from muster.scheduler.committer import Committer, Pending
from muster.scheduler.core import Core
from muster.scheduler.core_attempts import Attempts
from muster.scheduler.core_sessions import Sessions
from muster.scheduler.entries import entry_of
from muster.scheduler.housekeeping import EndedCounts, count_and_forget, note_settled
from muster.scheduler.hub import Hub, Listener
from muster.scheduler.look_ups import LookUps, answer_resend
from muster.scheduler.messages_in import contract_of, contract_of_plain, id_of, refuse_unserved
from muster.scheduler.observing import Observer
from muster.scheduler.outbound import Outbound
from muster.scheduler.plain_requests import is_plain
from muster.scheduler.questions import Questions
from muster.scheduler.records import Contract, Lease, Now
from muster.scheduler.restoring import restored
from muster.scheduler.schemas import Check as PayloadCheck
from muster.scheduler.schemas import PayloadChecks, identity_of
from muster.scheduler.settled import settled_marks
from muster.scheduler.spans import ContractSpans, inherit
from muster.v1.capability_pb2 import Capability
from muster.v1.event_pb2 import StreamItem
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response

ROUTES_MAX = 10_000  # kept; beyond it they are found anew

NOTHING = Opening(0, 0, 0, [], [], {}, {})  # of a shared ledger, before anything is claimed

_log = get_logger("muster.scheduler")


def read_clock() -> Now:
    """Both clocks, now."""
    return Now(time.monotonic(), time.time_ns() // 1_000_000)


class Scheduler:
    """Owns the contracts of one ledger. Use inside `run`."""

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        clock: Callable[[], Now] = read_clock,
        *,
        retention_seconds: float = limits.RETENTION_SECONDS,
        shared: bool = False,
    ) -> None:
        self.name = name
        self.shared = shared  # with other schedulers, each of which owns some of the shards
        self.ledger = ledger
        self.clock = clock
        self.hub = Hub()
        self.catalogue = Catalogue()
        self.payloads = PayloadChecks()
        self.committer = Committer(ledger, self._on_commit)
        self.observer = Observer(ContractSpans.of_process())
        self.catalogue_changed = asyncio.Event()
        self.shards_changed = asyncio.Event()  # others are owned than before; each has its own
        self.something_waits = asyncio.Event()  # contracts for which there is no slot just now
        self.ended = EndedCounts(ledger)
        self.generations: dict[int, int] = {}  # of the shards that are owned
        self._look_ups = LookUps()
        self._retention_seconds = retention_seconds
        self._last_tick = 0.0
        self._replan = False
        self._behind = False  # more waits for the ledger than it should
        self._routes: dict[tuple[str, str, str], tuple[str, PayloadCheck]] = {}

    # --- lifetime ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Own the ledger while the block runs, or nothing of it yet where it is shared; everything
        acknowledged is committed at its end."""
        try:
            if self.shared:
                await self.ledger.connect()
                self._begin(NOTHING)
            else:
                self._begin(await self.ledger.open())
            async with background(
                self.committer.run,
                self._tick_loop,
                self._look_ups.run,
                partial(count_and_forget, self, self._retention_seconds),
                partial(note_settled, self),
            ):
                self.settle()
                await self.committer.barrier()
                yield
                await self.committer.flush()
        finally:
            await self.ledger.close()

    def _begin(self, opening: Opening) -> None:
        self.core = Core(IdMaker())
        self.attempts = Attempts(self.core)
        self.sessions = Sessions(self.core, self.attempts)
        self.questions = Questions(self.core, self.attempts.asking, self.committer)
        self.outbound = Outbound(self.core, traced=self.observer.spans is not None)
        self.applying = Applying(
            self.core,
            self.committer,
            self.hub,
            self.outbound,
            self.questions,
            self.listen,
            self._look_up_report,
            self.ended,
            self.observer.committed,
        )
        self._last_tick = self.clock().mono
        self.take_over(opening)

    def take_over(self, opening: Opening) -> None:
        """Own the shards that were claimed from the ledger, and everything open in them."""
        now = self.clock()
        makers = {number: EpochMaker(number) for number in set(opening.generations.values())}
        self.core.own(
            {shard: makers[number] for shard, number in opening.generations.items()},
            opening.last_id,
        )
        self.generations |= opening.generations
        self._tell_shards()
        self.committer.position = max(self.committer.position, opening.position)
        self.add_known(opening.catalogue)
        taken = restored(opening, self.catalogue, self.sessions, self.core, now)
        self.questions.take_over(now, taken, opening.open_questions)
        self.sessions.restored(now, taken)
        self.ended.take_over(opening, [contract.id for contract in taken])
        if opening.generations:
            _log.info(
                "shards taken over",
                shards=len(opening.generations),
                generation=opening.generation,
                open_contracts=len(taken),
            )

    def add_known(self, rows: Iterable[CatalogueRow]) -> None:
        """Entries that the ledger has, whoever wrote them."""
        for row in rows:
            if self.catalogue.find(row.tenant, row.name, row.version) is None:
                # Numbered anew: several schedulers may have given the same number.
                self.catalogue.add(entry_of(row, self.catalogue.next_revision(row.tenant)))
                self._routes.clear()
                self._tell_catalogue(None, None)

    async def learn(self, tenant: str, capability: str) -> bool:
        """Look whether another scheduler has put a capability into the catalogue. Returns whether
        there is more than before."""
        if not self.shared:
            return False
        before = self.catalogue.next_revision(tenant)
        self.add_known(await self.ledger.versions(tenant, capability))
        return self.catalogue.next_revision(tenant) > before

    def disown(self, shards: Collection[int]) -> list[int]:
        """Own these shards no longer; returns the contracts whose listeners are to be told, with
        `moved`, when what was decided before is committed."""
        for shard in shards:
            self.generations.pop(shard, None)
        self.questions.disown(shards)
        self._tell_shards()
        return [contract.id for contract in self.core.disown(shards)]

    def _tell_shards(self) -> None:
        self.hub.shards_moved(moving())
        changed, self.shards_changed = self.shards_changed, asyncio.Event()
        changed.set()

    def progress(self) -> object:
        """Differs from before when contracts were accepted, have ended, or have moved."""
        counts = self.core.counts
        return counts["accepted"], counts["ended"], dict(self.generations)

    async def note_settled(self) -> None:
        """Note in the ledger how far back there is nothing open. Raises as its commits do."""
        self.settle()  # what has ended in the core is among the endings from now on
        generations = dict(self.generations)
        open_ids = self.core.contracts.keys() | self.applying.ending.keys()
        marks = settled_marks(self.core.bounds(generations), open_ids)
        await self.ledger.mark_settled(generations, marks)

    def moved(self, contract_ids: Iterable[int]) -> None:
        """Tell whoever waits for these contracts to ask their new owner."""
        for contract_id in contract_ids:
            self.hub.moved(contract_id, moving())

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(limits.SWEEP_SECONDS)
            self._sweep()

    @failpoint("scheduler_sweep")
    def _sweep(self) -> None:
        now = self.clock()
        away = now.mono - self._last_tick - limits.SWEEP_SECONDS
        stalled = away if away > limits.STALL_SECONDS else 0.0
        self._last_tick = now.mono
        if not stalled:
            # After a stall of our own, reports may wait in the sockets: read them first.
            self.attempts.tick(now)
            self.questions.tick(now)
        self.sessions.tick(now, stalled)
        self.settle()

    # --- submitting -------------------------------------------------------------------------------

    def submit(
        self, now: Now, tenant: str, principal: str, request: Request, listener: Listener
    ) -> str:
        """Accept a request, and tell `listener` once it is durable and when it has ended.

        Returns the request's id. Raises a `MusterError` when it is refused at once. The caller
        calls `settle` when it has submitted what it has.
        """
        self.committer.require_room()
        wanted = request.capability
        route = self._routes.get((tenant, wanted.name, wanted.version))
        if route is not None and is_plain(request):
            selector, check_payload = route
            check_payload(request.payload)
            made = contract_of_plain(request, tenant, principal, selector, now.wall_ms)
        else:
            made = self._contract_of(tenant, principal, request, now)
        self.accept(now, made, listener)
        return made.request_id

    def accept(self, now: Now, made: Contract, listener: Listener) -> Contract:
        """Accept a request that was checked. Returns its contract, new or found."""
        contract, duplicate = self.core.submit(now, made)
        self.hub.listen(contract.id, listener)
        if duplicate:
            self.applying.found(contract, listener)
        else:
            self.applying.submitters[contract.id] = listener
        return contract

    def _contract_of(self, tenant: str, principal: str, request: Request, now: Now) -> Contract:
        check(request)
        refuse_unserved(request)
        wanted = request.capability
        selector, check_payload = self.route(tenant, wanted.name, wanted.version)
        check_payload(request.payload)
        parent = None
        if request.HasField("parent"):
            parent = self.core.contracts.get(id_of(request.parent.contract_id))
            if parent is not None and parent.tenant != tenant:
                parent = None
            inherit(request, parent, traced=self.observer.spans is not None)
        return contract_of(request, tenant, principal, selector, now.wall_ms, parent)

    def route(self, tenant: str, name: str, version: str) -> tuple[str, PayloadCheck]:
        """The selector under which requests for a capability are queued, and their input's check.

        Kept until the catalogue grows. Raises `NotFound` where nothing fits.
        """
        route = self._routes.get((tenant, name, version))
        if route is None:
            selector, entry = self.catalogue.resolve(tenant, name, version)
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
            route = self._routes[tenant, name, version] = (selector, self.payloads.of(entry))
        return route

    # --- what sessions bring ----------------------------------------------------------------------

    def known_offer(self, tenant: str, capability: Capability) -> Entry | None:
        """The catalogue's entry, when exactly this version was registered before."""
        entry = self.catalogue.find(tenant, capability.name, capability.version)
        same = entry is not None and entry.identity == identity_of(capability)
        return entry if same else None

    def add_to_catalogue(self, entry: Entry) -> None:
        """Append an entry; whoever follows the catalogue is told after the commit."""
        self.catalogue.add(entry)
        self._routes.clear()
        batch = self.committer.batch
        batch.capabilities.append(
            [
                entry.tenant,
                entry.name,
                str(entry.version),
                entry.revision,
                entry.created_ms,
                entry.capability.SerializeToString(),
            ]
        )
        batch.empty = False
        self.committer.after.append((self._tell_catalogue, None, None))

    def _tell_catalogue(self, _: None, __: None) -> None:
        # Whoever waits holds the old event; each change has its own.
        changed, self.catalogue_changed = self.catalogue_changed, asyncio.Event()
        changed.set()

    def keep_item(self, contract: Contract, lease: Lease, item: StreamItem, kind: int) -> None:
        """Relay a stream item, and write it with the next commit."""
        self.hub.relay(contract.id, item)
        batch = self.committer.batch
        raw = item.SerializeToString()
        row = [contract.id, lease.epoch, item.index, kind, raw]
        batch.segments[-1].items.append(row)
        batch.bytes += len(raw)
        batch.empty = False

    def acknowledge_items(self, session_id: str, reached: dict[tuple[int, int], int]) -> None:
        """Tell a session, after the next commit, up to which index its items are kept."""
        self.committer.after.append((self.outbound.acknowledge_items, session_id, reached))

    # --- effects ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Place what can be placed, and pass on everything that follows from the last inputs."""
        try:
            now = self.clock()
            self._behind = self.committer.batch.bytes > limits.BATCH_BYTES_MAX
            # What is placed is reported on; a disk that cannot keep up gets no more of that.
            more = not self._behind and self.observer.plan(self.core, now)
            self.applying.apply(self.core.take_effects(), now)
        except Exception as error:  # noqa: BLE001 - the committer raises it
            # Part of what was decided is lost, so nothing more may be written or told: the process
            # ends, and starts again from the record.
            self.committer.stop(error)
            return
        self.committer.wake()
        if self.core.queue.lanes:
            self.something_waits.set()
        if more and not self._replan:
            self._replan = True
            asyncio.get_running_loop().call_soon(self._settle_again)

    def _settle_again(self) -> None:
        self._replan = False
        self.settle()

    def _on_commit(self, pending: Pending, result: CommitResult) -> None:
        self.applying.committed(pending, result, self.clock())
        if result.refused or self._behind:
            self.settle()

    def listen(self, contract_id: int, listener: Listener) -> None:
        """Tell a listener of the end of a contract, open or ended."""
        if contract_id in self.core.contracts or contract_id in self.applying.ending:
            self.hub.listen(contract_id, listener)
        else:
            self._look_ups.add(lambda: self._tell_ended(contract_id, listener))

    async def _tell_ended(self, contract_id: int, listener: Listener) -> None:
        found = await self.ledger.load([contract_id])
        if found and found[0].response is not None:
            listener.on_ended(contract_id, Response.FromString(found[0].response.response))

    # --- questions to the ledger ------------------------------------------------------------------

    def _look_up_report(self, effect: fx.LookUpReport) -> None:
        self._look_ups.add(partial(answer_resend, self.ledger, self.core, self.outbound, effect))

    async def stored(self, contract_id: int, tenant: str) -> StoredContract:
        """A contract of a tenant as the ledger has it. Raises `NotFound`."""
        found = await self.ledger.load([contract_id]) if contract_id else []
        if not found or found[0].tenant != tenant:
            raise ContractUnknown(format_id(contract_id))
        return found[0]
