"""The life of contracts: what happens, decided without doing any of it.

Theory. The core holds every open contract. Each input (a submission, a word from a session, the
passing of time) is applied at once, and what follows from it is appended to `effects`, in order.
The shell turns effects into rows, messages and events; what it cannot commit it retries or dies
with, so the core never has to take anything back, with one exception: a submission whose
idempotency scope turns out to be taken by a contract that has ended (`withdraw`).

A lease is the right to run an attempt. It ends with the agent's report, with the contract, with a
timeout, or when the agent is lost; never by a clock of its own. An epoch names it, and everything
said about an attempt must name its epoch and come from the session that the lease is bound to.

Slots are counted here (`fleet`): active attempts take one; suspended ones do not; a cancelled
attempt keeps its slot until the host confirms that it has stopped.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping
from functools import partial

from muster.model.errors import (
    AlreadyExists,
    ContractUnknown,
    DeadlinePassed,
    FailedPrecondition,
)
from muster.model.ids import EpochMaker, IdMaker, format_id, shard_of_id, shard_of_scope
from muster.model.states import Author, ContractState, Outcome, Trigger, step
from muster.scheduler.admission import check_room, moving, parent_of, reused_message
from muster.scheduler.effects import (
    Accept,
    Assign,
    Cancel,
    Effect,
    End,
    EndAttempt,
    RecordStart,
)
from muster.scheduler.fleet import AgentSlots
from muster.scheduler.placing import Placing
from muster.scheduler.records import Asked, Contract, Lease, Now
from muster.scheduler.timers import Timers

RECENT_MAX = 50_000  # ended contracts whose last epoch is kept, so that resends need no look-up


class Core:
    """Every open contract of the shards that this scheduler owns."""

    def __init__(self, ids: IdMaker) -> None:
        self.shards: dict[int, EpochMaker] = {}  # those that are owned
        self.contracts: dict[int, Contract] = {}
        self.open_bytes = 0  # of their requests
        self.by_scope: dict[tuple[str, str, str], Contract] = {}
        self.recent: OrderedDict[int, int] = OrderedDict()  # id -> epoch of an agent's response
        self.effects: list[Effect] = []
        self.placing = Placing()
        self.fleet = self.placing.fleet
        self.queue = self.placing.queue
        self.timers = Timers()
        self.counts: Counter[str] = Counter()
        self.ids = ids

    def take_effects(self) -> list[Effect]:
        """What has accumulated since the last call."""
        effects, self.effects = self.effects, []
        return effects

    # --- shards -----------------------------------------------------------------------------------

    def own(self, epochs: Mapping[int, EpochMaker], last_id: int = 0) -> None:
        """Own more shards. `last_id` is the largest id that their owners before may have made."""
        self.ids.pass_by(last_id)
        self.shards.update(epochs)

    def bounds(self, shards: Iterable[int]) -> dict[int, int]:
        """For each shard an id above which nothing has been made, and below which nothing will."""
        return {shard: self.ids.bound(shard) for shard in shards}

    def owns(self, contract_id: int) -> bool:
        """Whether the contract, open or not, is of a shard that is owned."""
        return shard_of_id(contract_id) in self.shards

    def disown(self, shards: Collection[int]) -> list[Contract]:
        """Own these shards no longer: forget their contracts, as if they had never been here.

        Nothing follows from it. Whoever owns them next finds them in the ledger, and hosts go on:
        their leases stay as they are, so that what is about to be sent still is.
        """
        for shard in shards:
            self.shards.pop(shard, None)
        gone = [c for c in self.contracts.values() if shard_of_id(c.id) not in self.shards]
        for contract in gone:
            self._forget(contract)
            if contract.lease is not None:
                self.release(contract, contract.lease)
            contract.parent = contract.children = None
            contract.state = ContractState.CANCELLED  # whatever still has it drops it
        return gone

    # --- submitting -------------------------------------------------------------------------------

    def submit(self, now: Now, contract: Contract) -> tuple[Contract, bool]:
        """Accept a request. Returns the contract, and whether an earlier submit had made it.

        Raises a `MusterError` when it is refused; nothing has changed then.
        """
        scope = contract.scope
        known = self.by_scope.get(scope)
        if known is not None:
            if known.body_sha256 != contract.body_sha256:
                raise AlreadyExists(reused_message(contract.request_id))
            return known, True
        shard = self._shard_of(contract)
        parent = parent_of(contract, self.contracts) if contract.parent_id else None
        if contract.deadline_ms <= now.wall_ms:
            raise DeadlinePassed("the deadline has passed; submit again with a later one")
        check_room(contract, len(self.contracts), self.open_bytes)
        self._accept(now, contract, parent, shard)
        self.keep(contract)
        self.effects.append(Accept(contract))
        self.counts["accepted"] += 1
        self.placing.enqueue(contract)
        self.arm(contract)
        return contract, False

    def keep(self, contract: Contract) -> None:
        """Hold an open contract; `_forget` lets go of it."""
        self.contracts[contract.id] = contract
        self.by_scope[contract.scope] = contract
        self.open_bytes += contract.size

    def _shard_of(self, contract: Contract) -> int:
        """The shard that a submission belongs to; raises where it is not owned."""
        if contract.parent_id:
            shard = shard_of_id(contract.parent_id)
        elif contract.home >= 0:
            shard = contract.home
        else:
            shard = shard_of_scope(contract.tenant, contract.principal, contract.request_id)
        if shard not in self.shards:
            raise moving()
        return shard

    def _accept(self, now: Now, contract: Contract, parent: Contract | None, shard: int) -> None:
        number = self.ids.make(shard, now.wall_ms)
        contract.identify(number, now.wall_ms, now)
        if contract.schedule_to_start:
            contract.start_by = now.mono + contract.schedule_to_start
        if parent is None:
            contract.root_id = number
        else:
            contract.parent = parent
            contract.root_id = parent.root_id
            contract.depth = parent.depth + 1
            contract.actor = parent.lease.agent if parent.lease else ""
            parent.adopt(contract)

    def withdraw(self, contract: Contract) -> None:
        """Forget a submission that the ledger did not take, because its scope is another's."""
        self._forget(contract)
        if contract.lease is not None:
            self.release(contract, contract.lease)
            contract.lease = None
        contract.state = ContractState.CANCELLED  # nobody was told: whatever still has it drops it
        self.counts["accepted"] -= 1

    # --- placing ----------------------------------------------------------------------------------

    def plan(self, now: Now) -> bool:
        """Lease what can be leased. Returns whether there is more to do at once."""

        def expire(contract: Contract) -> None:
            self.end_by_mesh(now, contract, Trigger.EXPIRE, "DEADLINE_EXCEEDED", "")

        return self.placing.plan(now, partial(self.lease, now), expire)

    def lease(self, now: Now, contract: Contract, agent: AgentSlots) -> None:
        """Hand a contract that has left the queue to an agent."""
        contract.state = step(contract.state, Trigger.LEASE)
        contract.attempts += 1
        contract.start_by = 0.0
        host, size = agent.host, contract.size
        contract.lease = lease = Lease(
            self.shards[shard_of_id(contract.id)].make(),
            contract.attempts,
            agent.name,
            agent.kind,
            host.name,
            host.session_id,
            now.wall_ms,
            agent,
            size,
        )
        lease.queued_ms = contract.queued_ms
        self.fleet.take(agent)
        host.leases[contract.id] = contract
        host.offered_bytes += size
        contract.sequence += 1
        self.effects.append(Assign(contract, lease, contract.sequence))

    # --- ending -----------------------------------------------------------------------------------

    def release(self, contract: Contract, lease: Lease, *, stopping: bool = False) -> None:
        """Give up a lease's slot; with `stopping`, once its host confirms that it stopped."""
        host = self.fleet.hosts.get(lease.session_id)
        alone = False
        if host is not None:
            host.leases.pop(contract.id, None)
            alone = host.exclusive_id == contract.id
        if lease.offered:
            self.placing.taken(lease)
        slots, lease.slots = lease.slots, None
        if slots is not None:
            self._free(contract, lease, slots, stopping=stopping)
        if alone:
            self.placing.leave_alone(lease.session_id, contract.id)

    def _free(self, contract: Contract, lease: Lease, slots: AgentSlots, *, stopping: bool) -> None:
        if lease.suspended:
            self.placing.end_suspension(contract, slots)
        elif stopping:
            slots.host.stopping[contract.id, lease.epoch] = slots
        else:
            self.placing.give_back(slots)

    def requeue(
        self,
        now: Now,
        contract: Contract,
        outcome: Outcome,
        code: str,
        message: str = "",
        *,
        failure: object = None,
        pause: float = 0.0,
        stopping: bool = False,
    ) -> None:
        """End the open attempt and queue the contract again, after a pause in seconds."""
        contract.state = step(contract.state, Trigger.REQUEUE)
        self.close_attempt(
            now, contract, outcome, code, message, failure=failure, stopping=stopping
        )
        contract.queued_ms = now.wall_ms
        if pause > 0:
            contract.ready_at = now.mono + pause
            contract.queued_ms += int(pause * 1000)
        else:
            self.placing.enqueue(contract)
        self.arm(contract)

    def close_attempt(
        self,
        now: Now,
        contract: Contract,
        outcome: Outcome,
        code: str = "",
        message: str = "",
        *,
        failure: object = None,
        stopping: bool = False,
        asked: Asked | None = None,
    ) -> None:
        """End the open attempt of a contract that goes on."""
        lease = contract.lease
        assert lease is not None
        self.release(contract, lease, stopping=stopping)
        contract.lease = None
        started = self._count_start(contract, lease)
        contract.sequence += 1
        self.effects.append(
            EndAttempt(
                contract,
                lease,
                outcome,
                code,
                message,
                failure,
                now.wall_ms,
                contract.sequence,
                started,
                asked,
            )
        )
        for child in contract.open_children():
            if not child.keyed and child.parent_epoch == lease.epoch:
                self.end_by_mesh(now, child, Trigger.CANCEL, "PARENT_ENDED", "its attempt ended")

    def end_by_agent(
        self, now: Now, contract: Contract, trigger: Trigger, code: str, report: object
    ) -> None:
        """Record an agent's report as the response."""
        outcome = Outcome.SUCCEEDED if trigger is Trigger.SUCCEED else Outcome.FAILED
        self._end(now, contract, trigger, Author.AGENT, outcome, code, "", report)

    def end_by_mesh(
        self,
        now: Now,
        contract: Contract,
        trigger: Trigger,
        code: str,
        message: str,
        outcome: Outcome = Outcome.CANCELLED,
    ) -> None:
        """Record the mesh's own response; a host that has the contract is told to stop."""
        lease = contract.lease
        if lease is not None and lease.session_id:
            self.effects.append(Cancel(lease.session_id, contract.id, lease.epoch, code))
        self._end(now, contract, trigger, Author.MESH, outcome, code, message, None)

    def _end(
        self,
        now: Now,
        contract: Contract,
        trigger: Trigger,
        author: Author,
        outcome: Outcome,
        code: str,
        message: str,
        report: object,
    ) -> None:
        lease = contract.lease
        contract.state = state = step(contract.state, trigger)
        self._forget(contract)
        started = False
        if lease is not None:
            still_runs = author is Author.MESH and outcome is not Outcome.LOST
            self.release(contract, lease, stopping=still_runs)
            started = self._count_start(contract, lease)
        by_agent = author is Author.AGENT and lease is not None
        self._remember(contract.id, lease.epoch if lease is not None and by_agent else 0)
        contract.sequence += 1
        self.effects.append(
            End(
                contract,
                state,
                author,
                lease,
                outcome if lease is not None else None,
                code,
                message,
                report,
                now.wall_ms,
                contract.sequence,
                started,
            )
        )
        contract.lease = None
        self.counts["ended"] += 1
        for child in contract.open_children():
            child.parent = None
            if not child.abandoned_on_close:
                self.end_by_mesh(now, child, Trigger.CANCEL, "PARENT_ENDED", "its parent ended")

    def cancel(self, now: Now, contract_id: int, tenant: str, reason: str) -> Contract:
        """Cancel a contract and its children. Raises when it is unknown or has ended."""
        contract = self.contracts.get(contract_id)
        if contract is None or contract.tenant != tenant:
            if contract_id in self.recent:
                raise FailedPrecondition("the contract has ended already; nothing to cancel")
            raise ContractUnknown(format_id(contract_id))
        self.end_by_mesh(now, contract, Trigger.CANCEL, "CANCELLED", reason)
        return contract

    def _forget(self, contract: Contract) -> None:
        if self.contracts.pop(contract.id, None) is not None:
            self.open_bytes -= contract.size
        self.by_scope.pop(contract.scope, None)
        self.placing.forget(contract)
        self.timers.clear(contract)
        if contract.parent is not None and contract.parent.children:
            contract.parent.children.pop(contract.id, None)

    def _remember(self, contract_id: int, epoch: int) -> None:
        self.recent[contract_id] = epoch
        if len(self.recent) > RECENT_MAX:
            self.recent.popitem(last=False)

    # --- time and events --------------------------------------------------------------------------

    def arm(self, contract: Contract) -> None:
        """Set the contract's timer to the next instant at which something is due."""
        self.timers.set(contract, contract.due_at)

    def record_start(self, contract: Contract, lease: Lease) -> None:
        """Have the start of an attempt that goes on made durable, once."""
        if self._count_start(contract, lease):
            self.effects.append(RecordStart(contract, lease, contract.sequence))

    def _count_start(self, contract: Contract, lease: Lease) -> bool:
        """Number the event of a start that becomes durable now. False: there is none, or it has."""
        if not lease.started_ms or lease.start_recorded:
            return False
        lease.start_recorded = True
        contract.sequence += 1
        return True
