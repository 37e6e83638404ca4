"""Which contract gets which agent: the queue and the fleet, brought together.

A plan looks only at lanes where something may have changed (`_dirty`): a contract came, or an agent
got a free slot. Among their heads the best rank goes first, so that priority and fairness hold over
lanes that share agents. Contracts that cannot simply stand in a lane wait elsewhere:

- *alone*: those that lost two agents, until a host is idle, so that no bystander is counted down.
  A host is reserved for each, but not for ever: what runs there may wait for something that has no
  other host;
- *aside*: those for which only agents that failed them are free, so that they hold up nobody;
- *held back*: roots, while too many attempts of their tenant are suspended, so that trees finish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from muster.model import limits
from muster.model.states import ContractState
from muster.scheduler.fleet import AgentSlots, Fleet
from muster.scheduler.queue import Lane, LaneKey, Queue
from muster.scheduler.records import Contract, Lease, Now

RESERVED_SECONDS = 10.0  # a host that is not idle by then is reserved no longer, and then again
PLANNED_MAX = 2_000  # leases of one plan, so that the loop stays responsive

GiveLease = Callable[[Contract, AgentSlots], None]
Expire = Callable[[Contract], None]


class Placing:
    """The queue, the fleet, and what waits between them."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.queue = Queue()
        self.suspended: Counter[str] = Counter()  # attempts, by tenant
        self._dirty: dict[LaneKey, Lane] = {}
        self._alone: dict[int, Contract] = {}
        self._alone_since: dict[int, float] = {}  # when they were first planned for
        self._aside: dict[LaneKey, list[Contract]] = {}
        self._held_back: dict[str, list[Contract]] = {}  # by tenant

    # --- what waits -------------------------------------------------------------------------------

    def enqueue(self, contract: Contract) -> None:
        """Let a contract wait for an agent."""
        contract.ready_at = 0.0
        if contract.losses >= limits.SOLO_AFTER_LOSSES:
            self._alone[contract.id] = contract
            return
        lane = self.queue.push(contract)
        self._dirty[lane.key] = lane

    def forget(self, contract: Contract) -> None:
        """The contract waits no more. Those put aside or held back are skipped by their state."""
        self.queue.remove(contract)
        if self._alone.pop(contract.id, None) is not None:
            self._alone_since.pop(contract.id, None)
            self._unreserve(contract.id)

    def _enqueue_again(self, contracts: list[Contract]) -> None:
        for contract in contracts:
            if contract.state is ContractState.QUEUED:
                self.enqueue(contract)

    # --- what changes -----------------------------------------------------------------------------

    def take(self, agent: AgentSlots) -> None:
        """Take a slot."""
        self.fleet.take(agent)

    def give_back(self, agent: AgentSlots) -> None:
        """Free a slot, and let the lanes of its agent be planned."""
        self.fleet.free(agent)
        if agent.window - agent.active == 1:
            # With more free slots than this one, nothing that it could take was waiting.
            self.offer(agent)

    def offer(self, agent: AgentSlots) -> None:
        """Note that an agent has a free slot: its lanes may place something."""
        for pool in agent.pools:
            if pool.key in self._aside:
                self._enqueue_again(self._aside.pop(pool.key))
            lane = self.queue.lanes.get(pool.key)
            if lane is not None:
                self._dirty[pool.key] = lane

    def taken(self, lease: Lease) -> None:
        """A host has taken an assignment over, or will not get it: it can be offered more."""
        slots, size, lease.offered = lease.slots, lease.offered, 0
        if slots is None:
            return
        host = slots.host
        was_full = host.is_full
        host.offered_bytes -= size
        if was_full and not host.is_full:
            for agent in host.agents.values():
                self.offer(agent)

    def agents_changed(self) -> None:
        """Agents have gone, and with them perhaps somebody's last choice."""
        for key in list(self._aside):
            self._enqueue_again(self._aside.pop(key))

    def suspend(self, contract: Contract, agent: AgentSlots) -> None:
        """An attempt waits for children. It runs nothing meanwhile, and they may need its host."""
        self.leave_alone(agent.host.session_id, contract.id)
        agent.suspended += 1
        self.suspended[contract.tenant] += 1

    def end_suspension(self, contract: Contract, agent: AgentSlots) -> None:
        """It goes on, or ended."""
        agent.suspended -= 1
        self.suspended[contract.tenant] -= 1
        if self.suspended[contract.tenant] < limits.SUSPENDED_MAX:
            self._enqueue_again(self._held_back.pop(contract.tenant, []))

    def leave_alone(self, session_id: str, contract_id: int) -> None:
        """A contract that ran, or was to run, alone in a host has left it."""
        host = self.fleet.hosts.get(session_id)
        if host is not None and host.exclusive_id == contract_id:
            host.exclusive_id = 0
            for agent in host.agents.values():
                self.offer(agent)

    def _unreserve(self, contract_id: int) -> None:
        for session_id in self.fleet.hosts:
            self.leave_alone(session_id, contract_id)

    # --- planning ---------------------------------------------------------------------------------

    def plan(self, now: Now, give_lease: GiveLease, expire: Expire) -> bool:
        """Lease what can be leased, by calling `give_lease`. True: there is more to do at once."""
        self._plan_alone(now, give_lease, expire)
        heads = {key: head for key, lane in self._dirty.items() if (head := lane.ranked_head())}
        self._dirty = {key: self._dirty[key] for key in heads}
        planned = 0
        while heads and planned < PLANNED_MAX:
            key = min(heads, key=lambda k: heads[k][0]) if len(heads) > 1 else next(iter(heads))
            lane, contract = self._dirty[key], heads[key][1]
            if now.mono >= contract.deadline:
                expire(contract)
            elif not self._place(lane, contract, give_lease):
                del heads[key], self._dirty[key]
                continue
            planned += 1
            head = lane.ranked_head()
            if head is None:
                del heads[key], self._dirty[key]
                self.queue.drop_if_empty(lane)
            else:
                heads[key] = head
        return bool(heads)

    def _place(self, lane: Lane, contract: Contract, give_lease: GiveLease) -> bool:
        """Lease the head of a lane, or let it wait elsewhere. False: the lane has no free agent."""
        if contract.depth == 0 and self.suspended.get(contract.tenant, 0) >= limits.SUSPENDED_MAX:
            lane.remove(contract)
            self._held_back.setdefault(contract.tenant, []).append(contract)
            return True
        pool = lane.pool
        if pool is None:
            pool = lane.pool = self.fleet.pool(lane.key)
        agent = None
        if contract.prefers:
            agent = self.fleet.preferred(pool, contract.prefers, contract.excluded)
        agent = agent or pool.choose(contract.excluded)
        if agent is not None:
            lane.serve(contract)
            give_lease(contract, agent)
            return True
        if not contract.excluded or pool.choose(None) is None:
            return False
        lane.remove(contract)
        self._aside.setdefault(lane.key, []).append(contract)
        return True

    def _plan_alone(self, now: Now, give_lease: GiveLease, expire: Expire) -> None:
        for contract in list(self._alone.values()):
            if now.mono >= contract.deadline:
                expire(contract)
                continue
            since = self._alone_since.setdefault(contract.id, now.mono)
            reserve = (now.mono - since) // RESERVED_SECONDS % 2 == 0
            if not reserve:
                self._unreserve(contract.id)
            agent = self.fleet.pool(contract.lane).choose_alone(contract.id, reserve=reserve)
            if agent is not None:
                del self._alone[contract.id], self._alone_since[contract.id]
                give_lease(contract, agent)
