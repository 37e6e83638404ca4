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
from functools import partial

from muster.model import limits
from muster.model.errors import (
    AlreadyExists,
    ContractUnknown,
    DeadlinePassed,
    FailedPrecondition,
    Fenced,
    ResourceExhausted,
)
from muster.model.ids import EpochMaker, IdMaker, format_id, shard_of_id, shard_of_scope
from muster.model.ledger import LifecycleEvent
from muster.model.states import Author, ContractState, EventType, Outcome, Trigger, step
from muster.scheduler.effects import (
    Accept,
    Assign,
    Cancel,
    Effect,
    End,
    EndAttempt,
    Publish,
)
from muster.scheduler.fleet import AgentSlots
from muster.scheduler.placing import Placing
from muster.scheduler.records import Contract, Lease, Now, Submission
from muster.scheduler.timers import Timers

RECENT_MAX = 50_000  # ended contracts whose last epoch is kept, so that resends need no look-up


class Core:
    """Every open contract of the shards that this scheduler owns."""

    def __init__(self, ids: IdMaker, epochs: EpochMaker) -> None:
        self.contracts: dict[int, Contract] = {}
        self.by_scope: dict[tuple[str, str, str], Contract] = {}
        self.recent: OrderedDict[int, int] = OrderedDict()  # id -> epoch of an agent's response
        self.effects: list[Effect] = []
        self.placing = Placing()
        self.fleet = self.placing.fleet
        self.queue = self.placing.queue
        self.timers = Timers()
        self.counts: Counter[str] = Counter()
        self._ids = ids
        self._epochs = epochs

    def take_effects(self) -> list[Effect]:
        """What has accumulated since the last call."""
        effects, self.effects = self.effects, []
        return effects

    # --- submitting -------------------------------------------------------------------------------

    def submit(self, now: Now, sub: Submission) -> tuple[Contract, bool]:
        """Accept a request. Returns the contract, and whether an earlier submit had made it.

        Raises a `MusterError` when it is refused; nothing has changed then.
        """
        known = self.by_scope.get((sub.tenant, sub.principal, sub.request_id))
        if known is not None:
            if known.body_sha256 != sub.body_sha256:
                raise AlreadyExists(reused_message(sub.request_id))
            return known, True
        parent = self._parent_of(sub) if sub.parent_id else None
        if sub.deadline_ms <= now.wall_ms:
            raise DeadlinePassed("the deadline has passed; submit again with a later one")
        if len(self.contracts) >= limits.OPEN_CONTRACTS_MAX:
            raise ResourceExhausted(
                f"{limits.OPEN_CONTRACTS_MAX} contracts are open; submit again when some have ended"
            )
        contract = self._make(now, sub, parent)
        self.contracts[contract.id] = contract
        self.by_scope[contract.scope] = contract
        if parent is not None:
            parent.children[contract.id] = contract
        self.effects.append(Accept(contract))
        self._publish(contract, EventType.ACCEPTED, now.wall_ms, None)
        self.counts["accepted"] += 1
        self.placing.enqueue(contract)
        self.arm(contract)
        return contract, False

    def _parent_of(self, sub: Submission) -> Contract:
        parent = self.contracts.get(sub.parent_id)
        if parent is None or parent.tenant != sub.tenant:
            raise Fenced("the parent contract is not open; stop working on it")
        if parent.lease is None or parent.lease.epoch != sub.parent_epoch:
            raise Fenced("the attempt that submits this child is over; stop working on it")
        if parent.depth >= limits.TREE_DEPTH_MAX:
            raise ResourceExhausted(
                f"a tree of contracts is at most {limits.TREE_DEPTH_MAX} levels deep",
                reason="TREE_LIMIT",
            )
        if len(parent.children) >= limits.CHILDREN_OPEN_MAX:
            raise ResourceExhausted(
                f"a contract has at most {limits.CHILDREN_OPEN_MAX} open children; "
                "await some before submitting more",
                reason="TREE_LIMIT",
                retry_after_seconds=limits.QUEUE_FULL_RETRY_SECONDS,
            )
        return parent

    def _make(self, now: Now, sub: Submission, parent: Contract | None) -> Contract:
        if parent is None:
            shard = shard_of_scope(sub.tenant, sub.principal, sub.request_id)
        else:
            shard = shard_of_id(parent.id)
        number = self._ids.make(shard, now.wall_ms)
        wait = sub.schedule_to_start
        return Contract(
            id=number,
            tenant=sub.tenant,
            principal=sub.principal,
            request_id=sub.request_id,
            body_sha256=sub.body_sha256,
            capability=sub.capability,
            selector=sub.selector,
            band=sub.band,
            share=sub.share,
            accepted_ms=now.wall_ms,
            deadline_ms=sub.deadline_ms,
            deadline=now.mono + (sub.deadline_ms - now.wall_ms) / 1000,
            schedule_to_start=wait,
            start_to_close=sub.start_to_close,
            heartbeat=sub.heartbeat,
            retry=sub.retry,
            conversation=sub.conversation,
            body=sub.body,
            body_bytes=sub.body_bytes,
            parent=parent,
            parent_id=sub.parent_id,
            parent_epoch=sub.parent_epoch,
            root_id=parent.root_id if parent else number,
            depth=parent.depth + 1 if parent else 0,
            actor=parent.lease.agent if parent and parent.lease else "",
            keyed=sub.keyed,
            abandoned_on_close=sub.abandoned_on_close,
            start_by=now.mono + wait if wait else 0.0,
        )

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
        lease = Lease(
            epoch=self._epochs.make(),
            attempt=contract.attempts,
            agent=agent.name,
            agent_kind=agent.kind,
            host=agent.host.name,
            session_id=agent.host.session_id,
            leased_ms=now.wall_ms,
            slots=agent,
        )
        contract.lease = lease
        self.fleet.take(agent)
        agent.host.leases[contract.id] = contract
        self.effects.append(Assign(contract, lease))
        self._publish(contract, EventType.LEASED, now.wall_ms, lease)

    # --- ending -----------------------------------------------------------------------------------

    def release(self, contract: Contract, lease: Lease, *, stopping: bool = False) -> None:
        """Give up a lease's slot; with `stopping`, once its host confirms that it stopped."""
        host = self.fleet.hosts.get(lease.session_id)
        if host is not None:
            host.leases.pop(contract.id, None)
        slots, lease.slots = lease.slots, None
        if slots is not None:
            self._free(contract, lease, slots, stopping=stopping)
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
        lease = contract.lease
        assert lease is not None
        contract.state = step(contract.state, Trigger.REQUEUE)
        self.release(contract, lease, stopping=stopping)
        contract.lease = None
        self.effects.append(
            EndAttempt(contract, lease, outcome, code, message, failure, now.wall_ms)
        )
        self.publish_start(contract, lease)
        self._publish(contract, EventType.REQUEUED, now.wall_ms, lease, code)
        for child in list(contract.children.values()):
            if not child.keyed and child.parent_epoch == lease.epoch:
                self.end_by_mesh(now, child, Trigger.CANCEL, "PARENT_ENDED", "its attempt ended")
        if pause > 0:
            contract.ready_at = now.mono + pause
        else:
            self.placing.enqueue(contract)
        self.arm(contract)

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
        if lease is not None:
            still_runs = author is Author.MESH and outcome is not Outcome.LOST
            self.release(contract, lease, stopping=still_runs)
            self.publish_start(contract, lease)
        by_agent = author is Author.AGENT and lease is not None
        self._remember(contract.id, lease.epoch if lease is not None and by_agent else 0)
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
            )
        )
        self._publish(contract, EventType.ENDED, now.wall_ms, lease, code)
        contract.lease = None
        self.counts["ended"] += 1
        for child in list(contract.children.values()):
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
        self.contracts.pop(contract.id, None)
        self.by_scope.pop(contract.scope, None)
        self.placing.forget(contract)
        self.timers.clear(contract)
        if contract.parent is not None:
            contract.parent.children.pop(contract.id, None)

    def _remember(self, contract_id: int, epoch: int) -> None:
        self.recent[contract_id] = epoch
        if len(self.recent) > RECENT_MAX:
            self.recent.popitem(last=False)

    # --- time and events --------------------------------------------------------------------------

    def arm(self, contract: Contract) -> None:
        """Set the contract's timer to the next instant at which something is due."""
        when = contract.deadline
        lease = contract.lease
        if lease is None:
            if contract.ready_at:
                when = min(when, contract.ready_at)
            if contract.start_by:
                when = min(when, contract.start_by)
        elif lease.started_ms and not lease.suspended:
            when = min(when, lease.running_since + contract.start_to_close - lease.ran_seconds)
            if contract.heartbeat:
                when = min(when, lease.last_item + contract.heartbeat)
        self.timers.set(contract, when)

    def publish_start(self, contract: Contract, lease: Lease) -> None:
        """The start becomes an event with the commit that makes it durable."""
        if lease.started_ms and not lease.start_recorded:
            lease.start_recorded = True
            state, contract.state = contract.state, ContractState.RUNNING
            self._publish(contract, EventType.STARTED, lease.started_ms, lease)
            contract.state = state

    def _publish(
        self,
        contract: Contract,
        kind: EventType,
        time_ms: int,
        lease: Lease | None,
        code: str = "",
    ) -> None:
        if kind is not EventType.ACCEPTED:
            contract.sequence += 1
        self.effects.append(
            Publish(
                LifecycleEvent(
                    contract.id,
                    contract.tenant,
                    contract.sequence,
                    kind,
                    contract.state,
                    time_ms,
                    contract.capability,
                    lease.epoch if lease else 0,
                    lease.agent if lease else "",
                    lease.agent_kind if lease else "",
                    code,
                    contract.root_id,
                    contract.conversation,
                )
            )
        )


def reused_message(request_id: str) -> str:
    """The message for a request_id that comes back with another body."""
    return (
        f"request_id {request_id!r} was used before for another request; "
        "send the same request to find its contract, or choose a new id"
    )
