"""Hosts that come, go and come back, and contracts that outlive a restart.

The executor judges hosts, and says so by ending their session. The scheduler judges executors: when
a link is gone for a whole lease and its hosts have not appeared elsewhere, their sessions are over.
The same patience applies after a start: leases found in the ledger wait one lease for their hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from muster.model import limits
from muster.model.ledger import StoredContract
from muster.model.states import Trigger
from muster.model.versions import Version
from muster.scheduler.core import Core
from muster.scheduler.core_attempts import Attempts
from muster.scheduler.core_restoring import restore_contract
from muster.scheduler.core_rivals import Rivals
from muster.scheduler.effects import Decide, Detach
from muster.scheduler.fleet import AgentSlots, Host
from muster.scheduler.records import Contract, Lease, Now

HELD_SUSPENDED = 3  # muster.v1.HeldState
HELD_ACCEPTED = 1


class AgentInfo(NamedTuple):
    """An agent as its session says it is."""

    name: str
    kind: str
    window: int
    offers: dict[str, list[Version]]


class Held(NamedTuple):
    """A lease that a host says it holds."""

    contract_id: int
    epoch: int
    agent: str
    state: int  # muster.v1.HeldState


class Sessions:
    """Applies what links say about hosts and agents."""

    def __init__(self, core: Core, attempts: Attempts) -> None:
        self._core = core
        self._attempts = attempts
        # Leased before a restart and not claimed yet: (tenant, host) -> contract id -> contract.
        self._orphans: dict[tuple[str, str], dict[int, Contract]] = {}
        self._orphans_until = 0.0
        self._gone: dict[str, Host] = {}  # by session: hosts whose link is gone
        self._rivals = Rivals()
        self._newest: dict[tuple[str, str], str] = {}  # (tenant, host) -> session

    # --- sessions ---------------------------------------------------------------------------------

    def open(
        self,
        session_id: str,
        tenant: str,
        name: str,
        link: Any,
        session_epoch: int,
        *,
        draining: bool = False,
    ) -> Host:
        """A session is there, new or told again by a new link. Attach and claim follow."""
        fleet = self._core.fleet
        host = fleet.hosts.get(session_id)
        if host is None:
            host = fleet.hosts[session_id] = Host(session_id, tenant, name, link, session_epoch)
            newest = fleet.hosts.get(self._newest.get((tenant, name), ""))
            if newest is None or not newest.is_newer_than(host):
                host.older_id = newest.session_id if newest is not None else ""
                self._newest[tenant, name] = session_id
        host.link = link
        host.link_gone_at = None
        host.draining = draining
        self._gone.pop(session_id, None)
        return host

    def attach(self, session_id: str, info: AgentInfo) -> None:
        """An agent is there, or has changed. The newest of a name wins; of two sessions of one host
        that is not always the one that is told last."""
        core = self._core
        host = core.fleet.hosts.get(session_id)
        if host is None:
            return
        other = core.fleet.by_name.get((host.tenant, info.name))
        if other is not None and other.host.is_newer_than(host):
            self._rivals.add(session_id, info)
            return
        self._rivals.forget(session_id, info.name)
        if other is not None and other.host is not host:
            core.effects.append(Detach(other.host.session_id, info.name))
            core.fleet.detach(other)
        old = host.agents.get(info.name)
        agent = AgentSlots(host, info.name, info.kind, info.window, info.offers)
        if old is not None:
            agent.active, agent.suspended = old.active, old.suspended
            core.fleet.detach(old)
            self._move_slots(host, old, agent)
        core.fleet.attach(agent)
        core.placing.offer(agent)

    def _move_slots(self, host: Host, old: AgentSlots, new: AgentSlots) -> None:
        for contract in host.leases.values():
            if contract.lease.slots is old:
                contract.lease.slots = new
        for key, slots in host.stopping.items():
            if slots is old:
                host.stopping[key] = new

    def detach(self, session_id: str, name: str) -> None:
        """An agent was taken off. What it holds goes on."""
        self._rivals.forget(session_id, name)
        host = self._core.fleet.hosts.get(session_id)
        agent = host.agents.get(name) if host is not None else None
        if agent is not None:
            self._core.fleet.detach(agent)
            self._core.placing.agents_changed()

    def lend(self, session_id: str, name: str, slots: int) -> None:
        """So many slots of an agent are lent to this scheduler from now on."""
        self._rivals.lend(session_id, name, slots)
        host = self._core.fleet.hosts.get(session_id)
        agent = host.agents.get(name) if host is not None else None
        if agent is not None:
            self._core.fleet.lend(agent, slots)
            if agent.free > 0:
                self._core.placing.offer(agent)

    def drain(self, session_id: str, name: str) -> None:
        """An agent, or with an empty name the host, takes nothing new."""
        host = self._core.fleet.hosts.get(session_id)
        if host is None:
            return
        if not name:
            host.draining = True
        elif name in host.agents:
            host.agents[name].draining = True
        self._core.placing.agents_changed()

    def claim(self, now: Now, session_id: str, held: Sequence[Held]) -> None:
        """Decide on each lease that a session's host says it holds; lose those it does not.

        A lease is kept when the contract's open attempt has exactly that epoch and host. What the
        host had before a restart of ours, or on a session whose link is gone, it says here or has
        not any more.
        """
        host = self._core.fleet.hosts.get(session_id)
        if host is None:
            return
        kept = self._decide(now, host, held)
        self._lose_all(
            now, host, {c for c in host.leases if c not in kept}, "its host no longer holds it"
        )
        named = {(item.contract_id, item.epoch) for item in held}
        for key in [key for key in host.stopping if key not in named]:
            # It stopped while no link could say so.
            self._attempts.stopped(session_id, *key)
        why = "its host came back, and does not hold it"
        for contract in self._orphans.pop((host.tenant, host.name), {}).values():
            if contract.lease is not None and not contract.lease.session_id:
                self._attempts.lose_lease(now, contract, why)
        older = self._core.fleet.hosts.get(host.older_id)
        if older is not None and older.link is None:
            self.end(now, older.session_id, why)

    def claim_more(self, now: Now, session_id: str, held: Sequence[Held]) -> None:
        """The same for leases of shards that were taken over; the others stay as they are."""
        host = self._core.fleet.hosts.get(session_id)
        if host is None:
            return
        for contract_id in self._decide(now, host, held):
            self._orphans.get((host.tenant, host.name), {}).pop(contract_id, None)

    def _decide(self, now: Now, host: Host, held: Sequence[Held]) -> set[int]:
        """Give a verdict on each lease that is ours to judge; returns the contracts kept."""
        kept: set[int] = set()
        for item in held:
            if not self._core.owns(item.contract_id):
                continue
            contract = self._core.contracts.get(item.contract_id)
            lease = contract.lease if contract is not None else None
            keep = (
                contract is not None
                and lease is not None
                and contract.tenant == host.tenant
                and lease.epoch == item.epoch
                and lease.host == host.name
            )
            if keep and contract is not None and lease is not None:
                kept.add(contract.id)
                self._bind(now, host, contract, lease, item)
            self._core.effects.append(
                Decide(host.session_id, item.contract_id, item.epoch, keep),
            )
        return kept

    def _bind(self, now: Now, host: Host, contract: Contract, lease: Lease, item: Held) -> None:
        self._attempts.mark_accepted(lease)
        if lease.session_id != host.session_id or lease.slots is None:
            agent = host.agents.get(lease.agent)
            self._unbind(contract, lease)
            lease.session_id = host.session_id
            lease.slots = agent
            host.leases[contract.id] = contract
            if agent is not None and not lease.suspended:
                self._core.placing.take(agent)
            elif agent is not None:
                self._core.placing.suspend(contract, agent)
        if contract.losses >= limits.SOLO_AFTER_LOSSES and item.state != HELD_SUSPENDED:
            host.exclusive_id = contract.id  # it goes on alone
        if item.state != HELD_ACCEPTED:
            self._attempts.mark_started(now, contract)
        if item.state == HELD_SUSPENDED:
            self._attempts.suspend(now, host.session_id, contract.id, lease.epoch)
        elif lease.suspended:
            self._attempts.resume(now, host.session_id, contract.id, lease.epoch)

    def _unbind(self, contract: Contract, lease: Lease) -> None:
        old = self._core.fleet.hosts.get(lease.session_id)
        if old is not None:
            old.leases.pop(contract.id, None)
            self._core.placing.leave_alone(old.session_id, contract.id)
        slots = lease.slots
        if slots is None:
            return
        if lease.suspended:
            self._core.placing.end_suspension(contract, slots)
        else:
            self._core.placing.give_back(slots)

    def end(self, now: Now, session_id: str, why: str) -> None:
        """A session is over; what is still bound to it is lost."""
        host = self._core.fleet.hosts.get(session_id)
        if host is None:
            return
        self._gone.pop(session_id, None)
        if self._newest.get((host.tenant, host.name)) == session_id:
            del self._newest[host.tenant, host.name]
        self._lose_all(now, host, set(host.leases), why)
        host.stopping.clear()
        names = set(host.agents)
        self._core.fleet.remove_host(host)
        if self._rivals:
            self._rivals.forget(session_id)
            hosts = self._core.fleet.hosts.values()
            others = {each.session_id for each in hosts if each.tenant == host.tenant}
            for other_id, info in self._rivals.take(others, names):
                self.attach(other_id, info)
        self._core.placing.agents_changed()

    def _lose_all(self, now: Now, host: Host, contract_ids: set[int], why: str) -> None:
        """Lose leases of a host; one loss may end others, a parent's those of its children."""
        for contract_id in sorted(contract_ids):
            contract = host.leases.get(contract_id)
            if contract is not None:
                self._attempts.lose_lease(now, contract, why)

    # --- links ------------------------------------------------------------------------------------

    def link_gone(self, now: Now, link: Any) -> None:
        """A link broke. Its hosts get one lease to appear on another."""
        for host in self._core.fleet.hosts.values():
            if host.link is link:
                host.link = None
                host.link_gone_at = now.mono
                self._gone[host.session_id] = host

    def tick(self, now: Now, stalled_seconds: float) -> None:
        """Judge executors, and hosts that did not come back after a start.

        `stalled_seconds` is how much longer than a sweep we ourselves were away; nobody is judged
        for that time.
        """
        if stalled_seconds:
            self._orphans_until += stalled_seconds
            for host in self._gone.values():
                if host.link_gone_at is not None:
                    host.link_gone_at += stalled_seconds
        for host in self._core.fleet.hosts.values():
            host.measure(now.mono)
        for host in list(self._gone.values()):
            if host.link_gone_at is not None and (
                now.mono >= host.link_gone_at + limits.LEASE_SECONDS
            ):
                self.end(now, host.session_id, "its executor was lost")
        for session_id, agent in self._rivals.overdue(now.mono):
            self._core.effects.append(Detach(session_id, agent))
        if self._orphans and now.mono >= self._orphans_until:
            orphans, self._orphans = self._orphans, {}
            for contract in chain.from_iterable(each.values() for each in orphans.values()):
                if contract.lease is not None and not contract.lease.session_id:
                    self._attempts.lose_lease(now, contract, "its host did not come back")

    # --- restart ----------------------------------------------------------------------------------

    def restore(
        self, now: Now, stored: StoredContract, contract: Contract, progress: tuple[int, int]
    ) -> Contract:
        """Take an open contract from the ledger. `progress` is (last item, output chunks).

        `contract` is made from its request; where the record says otherwise, the record is right.
        """
        restore_contract(self._core, now, stored, contract, progress)
        lease = contract.lease
        if lease is not None:
            self._orphans.setdefault((stored.tenant, lease.host), {})[contract.id] = contract
        return contract

    def restored(self, now: Now, taken: Iterable[Contract]) -> None:
        """All open contracts of the shards are there: join their trees, and start the hosts' time
        to return."""
        contracts = self._core.contracts
        self._orphans_until = now.mono + limits.LEASE_SECONDS
        for contract in [c for c in taken if c.parent_id]:
            parent = contracts.get(contract.parent_id)
            if parent is not None:
                contract.parent = parent
                parent.adopt(contract)
            if contract.id in contracts and self._is_orphaned(contract, parent):
                self._core.end_by_mesh(
                    now, contract, Trigger.CANCEL, "PARENT_ENDED", "its parent ended"
                )

    def _is_orphaned(self, contract: Contract, parent: Contract | None) -> bool:
        """Whether the child should have ended with its parent, or with its parent's attempt."""
        if parent is None:
            return not contract.abandoned_on_close
        epoch = parent.lease.epoch if parent.lease is not None else 0
        return not contract.keyed and epoch != contract.parent_epoch
