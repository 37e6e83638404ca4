"""The scheduler's shell: runs the core and the ledger.

One event loop owns the core. Every input is applied at once; `settle` then plans, turns the effects
into rows for the next commit, and wakes the committer. What tells somebody of a change is done
after the commit that makes it durable (`_on_commit`), in the same order.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from muster.backends.ledger_base import Ledger, LedgerBroken
from muster.model import limits
from muster.model.errors import AlreadyExists, MusterError, NotFound, Unavailable
from muster.model.ids import EpochMaker, IdMaker, format_id
from muster.model.ledger import (
    CONTRACT_BODY,
    CONTRACT_EPOCH,
    CONTRACT_REQUEST_ID,
    CatalogueRow,
    CommitResult,
    LifecycleEvent,
    Opening,
    Refused,
    StoredContract,
)
from muster.model.states import ContractState
from muster.model.versions import parse_version
from muster.runtime.lifetime import background
from muster.runtime.logs import get_logger
from muster.scheduler import effects as fx
from muster.scheduler.catalogue import Catalogue, Entry
from muster.scheduler.committer import After, Committer
from muster.scheduler.core import Core, reused_message
from muster.scheduler.core_attempts import Attempts
from muster.scheduler.core_sessions import Sessions
from muster.scheduler.hub import Hub, Listener
from muster.scheduler.messages_in import id_of, refuse_unserved, submission_of
from muster.scheduler.messages_out import add_assignment, response_of
from muster.scheduler.records import Contract, Lease, Now
from muster.scheduler.rows import contract_row, ending_row, lease_row, response_row, was_reported
from muster.scheduler.schemas import PayloadChecks, compile_schema, identity_of
from muster.v1.capability_pb2 import Capability
from muster.v1.event_pb2 import StreamItem
from muster.v1.link_pb2 import SessionItems
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response
from muster.wire.errors import status_of

WITHDRAWN_KEPT_MAX = 10_000
LOOK_UPS_MAX = 10_000  # questions to the ledger that wait; beyond it resends go unanswered

_log = get_logger("muster.scheduler")


def read_clock() -> Now:
    """Both clocks, now."""
    return Now(time.monotonic(), time.time_ns() // 1_000_000)


class _Found(NamedTuple):
    """A resend of an open contract: its listener is told after the commit that is under way."""

    contract: Contract
    listener: Listener


class Scheduler:
    """Owns the contracts of one ledger. Use inside `run`."""

    def __init__(self, ledger: Ledger, name: str, clock: Callable[[], Now] = read_clock) -> None:
        self.name = name
        self.ledger = ledger
        self.clock = clock
        self.hub = Hub()
        self.catalogue = Catalogue()
        self.payloads = PayloadChecks()
        self.committer = Committer(ledger, self._on_commit)
        self.ended: Counter[tuple[str, ContractState]] = Counter()
        self.ending: dict[int, str] = {}  # id -> tenant: ended, and not committed yet
        self.catalogue_changed = asyncio.Event()
        self.generation = 0
        self._look_ups: asyncio.Queue[Callable[[], Any]] = asyncio.Queue(LOOK_UPS_MAX)
        # Submissions that the ledger did not take: what was decided on them meanwhile is void.
        self._withdrawn: OrderedDict[int, MusterError | int] = OrderedDict()
        self._last_tick = 0.0
        self._replan = False

    # --- lifetime ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Own the ledger while the block runs; everything acknowledged is committed at its end."""
        opening = await self.ledger.open()
        try:
            self._restore(opening)
            async with background(self.committer.run, self._tick_loop, self._look_up_loop):
                self.settle()
                await self.committer.barrier()
                yield
                await self.committer.flush()
        finally:
            await self.ledger.close()

    def _restore(self, opening: Opening) -> None:
        now = self.clock()
        self.generation = opening.generation
        self.core = Core(IdMaker(opening.last_id), EpochMaker(opening.generation))
        self.attempts = Attempts(self.core)
        self.sessions = Sessions(self.core, self.attempts)
        self.committer.position = opening.position
        self.ended.update(opening.ended)
        for row in opening.catalogue:
            self.catalogue.add(self._entry_of(row))
        for stored in opening.open_contracts:
            self._restore_contract(now, stored, opening)
        self.sessions.restored(now)
        self._last_tick = now.mono
        _log.info(
            "ledger opened", generation=opening.generation, open_contracts=len(self.core.contracts)
        )

    def _entry_of(self, row: CatalogueRow) -> Entry:
        capability = Capability.FromString(row.capability)
        return self.make_entry(row.tenant, capability, row.revision, row.created_ms)

    def make_entry(
        self, tenant: str, capability: Capability, revision: int, created_ms: int
    ) -> Entry:
        """A catalogue entry; raises `InvalidArgument` (SCHEMA) where a schema cannot be used."""
        parsed, _ = compile_schema(capability.input, f"the input schema of {capability.name}")
        compile_schema(capability.output, f"the output schema of {capability.name}")
        version = parse_version(capability.version)
        identity = identity_of(capability)
        return Entry(
            tenant, capability.name, version, revision, created_ms, identity, parsed, capability
        )

    def _restore_contract(self, now: Now, stored: StoredContract, opening: Opening) -> None:
        request = Request.FromString(stored.request)
        wanted = request.capability
        selector, _ = self.catalogue.resolve(stored.tenant, wanted.name, wanted.version)
        parent = self.core.contracts.get(stored.parent_id)
        sub = submission_of(
            request, stored.tenant, stored.principal, selector, stored.accepted_ms, parent
        )
        attempt = stored.open_attempt
        epoch = attempt.epoch if attempt is not None else 0
        progress = opening.output_chunks.get((stored.id, epoch), (0, 0))
        self.sessions.restore(now, stored, sub, progress)

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(limits.SWEEP_SECONDS)
            now = self.clock()
            away = now.mono - self._last_tick - limits.SWEEP_SECONDS
            stalled = away if away > limits.STALL_SECONDS else 0.0
            self._last_tick = now.mono
            if not stalled:
                # After a stall of our own, reports may wait in the sockets: read them first.
                self.attempts.tick(now)
            self.sessions.tick(now, stalled)
            self.settle()

    async def _look_up_loop(self) -> None:
        while True:
            look_up = await self._look_ups.get()
            await look_up()

    # --- submitting -------------------------------------------------------------------------------

    def submit(self, tenant: str, principal: str, request: Request, listener: Listener) -> str:
        """Accept a validated request, and tell `listener` once it is durable and when it has ended.

        Returns the request's id. Raises a `MusterError` when it is refused at once. The caller
        calls `settle` when it has submitted what it has.
        """
        if self.committer.failing:
            raise Unavailable(
                "the ledger cannot write at the moment; submit again", reason="LEDGER_UNAVAILABLE"
            )
        refuse_unserved(request)
        wanted = request.capability
        selector, entry = self.catalogue.resolve(tenant, wanted.name, wanted.version)
        self.payloads.check(entry, request.payload)
        parent = None
        if request.HasField("parent"):
            parent = self.core.contracts.get(id_of(request.parent.contract_id))
            if parent is not None and parent.tenant != tenant:
                parent = None
        now = self.clock()
        sub = submission_of(request, tenant, principal, selector, now.wall_ms, parent)
        contract, duplicate = self.core.submit(now, sub)
        self.hub.listen(contract.id, listener)
        if duplicate:
            self.committer.after.append((_Found(contract, listener), None))
        return sub.request_id

    # --- what sessions bring ----------------------------------------------------------------------

    def known_offer(self, tenant: str, capability: Capability) -> Entry | None:
        """The catalogue's entry, when exactly this version was registered before."""
        entry = self.catalogue.find(tenant, capability.name, capability.version)
        same = entry is not None and entry.identity == identity_of(capability)
        return entry if same else None

    def add_to_catalogue(self, entry: Entry) -> None:
        """Append an entry; whoever follows the catalogue is told after the commit."""
        self.catalogue.add(entry)
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
        self.committer.after.append((self._tell_catalogue, None))

    def _tell_catalogue(self) -> None:
        # Whoever waits holds the old event; each change has its own.
        changed, self.catalogue_changed = self.catalogue_changed, asyncio.Event()
        changed.set()

    def keep_item(self, contract: Contract, lease: Lease, item: StreamItem, kind: int) -> None:
        """Relay a stream item, and write it with the next commit."""
        self.hub.relay(contract.id, item)
        batch = self.committer.batch
        row = [contract.id, lease.epoch, item.index, kind, item.SerializeToString()]
        batch.segments[-1].items.append(row)
        batch.empty = False

    def acknowledge_items(self, session_id: str, acks: dict[tuple[str, int], int]) -> None:
        """Tell a session, after the next commit, up to which index its items are kept."""

        def tell() -> None:
            items = self.items_for(session_id)
            if items is None:
                return
            for (contract_id, epoch), index in acks.items():
                ack = items.item_acks.add(index=index)
                ack.key.contract_id = contract_id
                ack.key.epoch = epoch

        self.committer.after.append((tell, None))

    # --- effects ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Place what can be placed, and pass on everything that follows from the last inputs."""
        more = self.core.plan(self.clock())
        for effect in self.core.take_effects():
            self._translate(effect)
        self.committer.wake()
        if more and not self._replan:
            self._replan = True
            asyncio.get_running_loop().call_soon(self._settle_again)

    def _settle_again(self) -> None:
        self._replan = False
        self.settle()

    def _translate(self, effect: fx.Effect) -> None:
        """Turn an effect into rows; keep for after the commit what must wait for it."""
        batch = self.committer.batch
        match effect:
            case fx.Publish(event):
                batch.events.append(event.contract_id)
                batch.events.append(event.sequence)
                self.committer.after.append((effect, None))
                return
            case fx.Accept(contract):
                row = self.committer.fresh[contract.id] = contract_row(contract)
                contract.body_bytes = b""
                batch.segments[-1].contracts.append(row)
                self.committer.after.append((effect, None))
            case fx.Assign(contract, lease):
                self._assign(contract, lease)
            case fx.End(contract):
                response = response_of(effect)
                batch.segments[-1].responses.append(response_row(effect, response))
                self.ending[contract.id] = contract.tenant
                self.committer.after.append((effect, response))
            case fx.EndAttempt(contract):
                segment = batch.segments[-1]
                segment.endings.append(ending_row(effect))
                segment.ended_attempts.add(contract.id)
            case fx.RecordStart(contract, lease):
                row = [contract.id, lease.epoch, lease.started_ms]
                batch.segments[-1].starts.append(row)
            case fx.LookUpReport():
                self._look_up(lambda: self._answer_resend(effect))
                return
            case _:
                self.committer.after.append((effect, None))
                return
        batch.empty = False

    def _assign(self, contract: Contract, lease: Lease) -> None:
        """Record a lease. It is sent at once, unless the contract's acceptance is not durable."""
        row = self.committer.fresh.get(contract.id)
        if row is not None and lease.attempt == 1 and not row[CONTRACT_EPOCH]:
            row[CONTRACT_EPOCH:] = [lease.epoch, lease.agent, lease.agent_kind, lease.host]
        else:
            segment = self.committer.batch.for_lease_of(contract.id)
            segment.leases.append(lease_row(contract, lease))
        if contract.durable:
            self._send_assignment(contract, lease)
        else:
            self.committer.after.append((fx.Assign(contract, lease), None))

    def _send_assignment(self, contract: Contract, lease: Lease) -> None:
        items = self.items_for(lease.session_id)
        if items is not None and contract.lease is lease:
            add_assignment(items, contract, lease, self.clock())

    def items_for(self, session_id: str) -> SessionItems | None:
        """What is about to be sent to a session; None when it or its link is gone."""
        host = self.core.fleet.hosts.get(session_id)
        if host is None or host.link is None:
            return None
        items: SessionItems = host.link.items_for(session_id)
        return items

    # --- after the commit -------------------------------------------------------------------------

    def _on_commit(self, after: list[After], result: CommitResult) -> None:
        for refused in result.refused:
            self._refused(refused)
        events: list[LifecycleEvent] = []
        for effect, extra in after:
            self._after(effect, extra, events)
        self.hub.publish(result.position, events)
        if result.refused:
            self.settle()

    def _refused(self, refused: Refused) -> None:
        number = refused.row[0]
        if refused.kind == "contracts":
            same = refused.existing_sha256 == refused.row[CONTRACT_BODY]
            request_id = refused.row[CONTRACT_REQUEST_ID]
            self._withdrawn[number] = (
                refused.existing_id if same else AlreadyExists(reused_message(request_id))
            )
            if len(self._withdrawn) > WITHDRAWN_KEPT_MAX:
                self._withdrawn.popitem(last=False)
        elif number not in self._withdrawn:
            # The core decided something that the record contradicts. Nothing that follows from it
            # may get out: the process ends, and starts again from the record.
            raise LedgerBroken(f"the ledger fenced a row of {refused.kind} ({format_id(number)})")

    def _after(
        self,
        effect: Any,
        extra: Any,
        events: list[LifecycleEvent],
    ) -> None:
        match effect:
            case fx.Publish(event):
                if event.contract_id not in self._withdrawn:
                    events.append(event)
            case fx.Accept(contract):
                self._accepted(contract, self._withdrawn.get(contract.id))
            case fx.Assign(contract, lease):
                if contract.id not in self._withdrawn:
                    self._send_assignment(contract, lease)
            case fx.End(contract, state):
                self.ending.pop(contract.id, None)
                if contract.id not in self._withdrawn:
                    self.ended[contract.tenant, state] += 1
                    self.hub.ended(contract.id, extra)
            case fx.Acknowledge():
                self._acknowledge(effect)
            case fx.Decide(session_id, contract_id, epoch, keep):
                self._decide(session_id, contract_id, epoch, keep=keep)
            case fx.Cancel(session_id, contract_id, epoch, code):
                items = self.items_for(session_id)
                if items is not None:
                    cancel = items.cancels.add(code=code)
                    cancel.key.contract_id = format_id(contract_id)
                    cancel.key.epoch = epoch
            case fx.Detach(session_id, agent):
                self._superseded(session_id, agent)
            case _Found(contract, listener):
                listener.on_accepted(contract.request_id, contract.id, duplicate=True)
            case _:
                effect()

    def _accepted(self, contract: Contract, withdrawn: MusterError | int | None) -> None:
        contract.durable = True
        listeners = self.hub.listeners(contract.id)
        if withdrawn is None:
            for listener in listeners:
                listener.on_accepted(contract.request_id, contract.id, duplicate=False)
            return
        self.core.withdraw(contract)
        for listener in listeners:
            self.hub.unlisten(contract.id, listener)
            if isinstance(withdrawn, MusterError):
                listener.on_refused(contract.request_id, withdrawn)
            else:
                listener.on_accepted(contract.request_id, withdrawn, duplicate=True)
                self.listen(withdrawn, listener)

    def listen(self, contract_id: int, listener: Listener) -> None:
        """Tell a listener of the end of a contract, open or ended."""
        if contract_id in self.core.contracts or contract_id in self.ending:
            self.hub.listen(contract_id, listener)
        else:
            self._look_up(lambda: self._tell_ended(contract_id, listener))

    async def _tell_ended(self, contract_id: int, listener: Listener) -> None:
        found = await self.ledger.load([contract_id])
        if found and found[0].response is not None:
            listener.on_ended(contract_id, Response.FromString(found[0].response.response))

    def _acknowledge(self, effect: fx.Acknowledge) -> None:
        items = self.items_for(effect.session_id)
        if items is None:
            return
        ack = items.report_acks.add(verdict=f"REPORT_VERDICT_{effect.verdict}")
        ack.key.contract_id = format_id(effect.contract_id)
        ack.key.epoch = effect.epoch
        if effect.reason:
            ack.error.CopyFrom(status_of(MusterError(effect.message, reason=effect.reason)))

    def _decide(self, session_id: str, contract_id: int, epoch: int, *, keep: bool) -> None:
        items = self.items_for(session_id)
        if items is not None:
            decision = "LEASE_DECISION_KEEP" if keep else "LEASE_DECISION_DROP"
            verdict = items.verdicts.add(decision=decision)
            verdict.key.contract_id = format_id(contract_id)
            verdict.key.epoch = epoch

    def _superseded(self, session_id: str, agent: str) -> None:
        items = self.items_for(session_id)
        if items is not None:
            message = f"another host has attached an agent named {agent}"
            result = items.attach_results.add(agent=agent)
            result.error.CopyFrom(status_of(MusterError(message, reason="SUPERSEDED")))

    # --- questions to the ledger ------------------------------------------------------------------

    def _look_up(self, question: Callable[[], Any]) -> None:
        try:
            self._look_ups.put_nowait(question)
        except asyncio.QueueFull:
            _log.warning("too many questions to the ledger wait; one goes unanswered")

    async def _answer_resend(self, effect: fx.LookUpReport) -> None:
        """A report for a contract that is not open: accepted before, or fenced."""
        found = await self.ledger.load([effect.contract_id])
        duplicate = bool(found) and was_reported(found[0], effect.epoch)
        if not duplicate:
            self.core.counts["fenced"] += 1
        verdict = "ACCEPTED_DUPLICATE" if duplicate else "FENCED"
        self._acknowledge(
            fx.Acknowledge(effect.session_id, effect.contract_id, effect.epoch, verdict)
        )

    async def stored(self, contract_id: int, tenant: str) -> StoredContract:
        """A contract of a tenant as the ledger has it. Raises `NotFound`."""
        found = await self.ledger.load([contract_id]) if contract_id else []
        if not found or found[0].tenant != tenant:
            raise NotFound(
                f"there is no contract {format_id(contract_id)}; list them with: "
                "muster contracts list"
            )
        return found[0]
