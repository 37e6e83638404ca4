"""Safety of the core under any order of events: the invariants of the promise, as a state machine.

S2 one response; S3 it comes from the newest lease; S4 stale epochs change nothing; S5 epochs grow
and at most one lease is live; S11 cancel is final; S12 no lease after the deadline; S13 attempts
are bounded; S15 conservation. And: a window is never exceeded by a lease, and whatever could be
placed after a plan, is.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from muster.model import limits
from muster.model.errors import MusterError
from muster.model.retry import RetryPolicy
from muster.model.states import TERMINAL, Author, ContractState, Outcome
from muster.scheduler.core_sessions import Held
from muster.scheduler.effects import Assign, End, EndAttempt
from muster.scheduler.records import Contract, Lease
from tests.unit.scheduler.worlds import World

CAPABILITIES = ("echo", "sum")
FAILED_MAX = 3


class Mesh(RuleBasedStateMachine):
    """Hosts, agents, clients and time, in any order."""

    contracts = Bundle("contracts")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.count = 0
        self.leases: list[tuple[Contract, Lease]] = []  # every one ever made
        self.ends: dict[int, End] = {}
        self.started: Counter[int] = Counter()
        self.sessions: dict[str, str] = {}  # session -> host name

    def look(self) -> None:
        """Check every effect as it appears."""
        self.world.effects()
        log, self.world.log = self.world.log, []
        for effect in log:
            match effect:
                case Assign(contract, lease):
                    earlier = [old.epoch for c, old in self.leases if c is contract]
                    assert all(lease.epoch > epoch for epoch in earlier)
                    assert contract.id not in self.ends
                    assert self.world.now.mono < contract.deadline
                    assert lease.slots is not None
                    assert lease.slots.active <= lease.slots.window
                    self.leases.append((contract, lease))
                case End(contract):
                    assert contract.id not in self.ends
                    assert effect.state in TERMINAL
                    if effect.author is Author.AGENT:
                        newest = max(old.epoch for c, old in self.leases if c is contract)
                        assert effect.lease is not None
                        assert effect.lease.epoch == newest
                    self.ends[contract.id] = effect
                case EndAttempt(contract, lease, outcome):
                    if outcome is Outcome.LOST and lease.started_ms:
                        self.started[contract.id] += 1
                        assert self.started[contract.id] < limits.LOST_AGENTS_MAX

    @rule(
        target=contracts,
        capability=st.sampled_from(CAPABILITIES),
        band=st.integers(1, 4),
        share=st.sampled_from("xyz"),
        seconds=st.sampled_from([1, 5, 3600]),
    )
    def submit(self, capability: str, band: int, share: str, seconds: int) -> Contract:
        """A client submits a root."""
        self.count += 1
        contract = self.world.submit(
            f"r{self.count}",
            capability=capability,
            band=band,
            share=share,
            deadline_ms=self.world.now.wall_ms + seconds * 1000,
            start_to_close=4.0,
            retry=RetryPolicy(maximum_attempts=FAILED_MAX, initial_seconds=0.5),
        )
        self.look()
        return contract

    @rule(target=contracts, parent=contracts, keyed=st.booleans(), abandoned=st.booleans())
    def delegate(self, parent: Contract, keyed: bool, abandoned: bool) -> Contract:
        """An agent submits a child, if it still may."""
        self.count += 1
        if parent.lease is None:
            return parent
        try:
            child = self.world.child(
                parent, f"k{self.count}", keyed=keyed, abandoned_on_close=abandoned
            )
        except MusterError:
            return parent
        finally:
            self.look()
        return child

    @rule()
    def plan(self) -> None:
        """The scheduler plans to the end; then nothing that could be placed is left."""
        while self.world.core.plan(self.world.now):
            self.look()
        self.look()
        for contract in self.world.core.contracts.values():
            if contract.state is ContractState.QUEUED and not contract.ready_at:
                alone = contract.losses >= limits.SOLO_AFTER_LOSSES
                assert alone or not self.feasible(contract), contract

    def feasible(self, contract: Contract) -> bool:
        """Whether some agent could take it, found by looking at all."""
        agents = self.world.core.fleet.by_name.values()
        offering = [agent for agent in agents if contract.capability in agent.offers]
        excluded = contract.excluded or set()
        if excluded >= {agent.name for agent in offering}:
            excluded = set()
        return any(
            agent.free > 0
            and agent.name not in excluded
            and not agent.draining
            and agent.host.reachable
            and not agent.host.exclusive_id
            for agent in offering
        )

    @rule(number=st.integers(0, 3), agents=st.integers(1, 3), window=st.integers(1, 2))
    def connect(self, number: int, agents: int, window: int) -> None:
        """A host connects, again with what it holds if it was there."""
        self.count += 1
        session, name = f"s{self.count}", f"h{number}"
        old = [each for each, host in self.sessions.items() if host == name]
        held = [
            Held(contract.id, lease.epoch, lease.agent, 3 if lease.suspended else 2)
            for contract, lease in self.leases
            if contract.lease is lease and lease.session_id in old
        ]
        names = [f"{name}-{n}" for n in range(agents)]
        self.world.host(session, names, name=name, window=window, offers=CAPABILITIES, held=held)
        for each in old:
            self.world.sessions.end(self.world.now, each, "superseded")
            del self.sessions[each]
        self.sessions[session] = name
        self.look()
        kept = {contract.id for contract, lease in self.leases if contract.lease is lease}
        assert {item.contract_id for item in held} <= kept

    @rule(data=st.data())
    def lose_a_host(self, data: st.DataObject) -> None:
        """A host dies."""
        if self.sessions:
            session = data.draw(st.sampled_from(sorted(self.sessions)))
            del self.sessions[session]
            self.world.sessions.end(self.world.now, session, "killed")
            self.look()

    def any_lease(self, data: st.DataObject) -> tuple[Contract, Lease] | None:
        """Any lease that ever was, the stale ones included."""
        return data.draw(st.sampled_from(self.leases)) if self.leases else None

    @rule(data=st.data(), fails=st.booleans())
    def report(self, data: st.DataObject, fails: bool) -> None:
        """Somebody who has, or had, a lease reports. Only the current one changes anything."""
        chosen = self.any_lease(data)
        if chosen is None:
            return
        contract, lease = chosen
        current = contract.lease is lease and contract.id not in self.ends
        before = (contract.state, contract.failures, contract.lease)
        report = self.world.fail if fails else self.world.report
        verdict = report(contract, lease)
        self.look()
        if current:
            assert verdict == "ACCEPTED"
            assert contract.lease is None
        else:
            assert verdict in ("FENCED", "ACCEPTED_DUPLICATE")
            assert before == (contract.state, contract.failures, contract.lease)

    @rule(data=st.data(), seconds=st.sampled_from([None, 0.5, 3.0]), default=st.booleans())
    def ask(self, data: st.DataObject, seconds: float | None, default: bool) -> None:
        """Somebody who has, or had, a lease asks a person. Only the current one parks."""
        chosen = self.any_lease(data)
        if chosen is None:
            return
        contract, lease = chosen
        current = contract.lease is lease and contract.id not in self.ends
        self.count += 1
        name, said = f"q{self.count}", "default" if default else None
        verdict = self.world.ask(contract, lease, name, seconds=seconds, default=said)
        self.look()
        if current:
            assert verdict == "ACCEPTED"
            assert contract.state is ContractState.PARKED
        else:
            assert verdict in ("FENCED", "ACCEPTED_DUPLICATE")

    @rule(contract=contracts)
    def answer(self, contract: Contract) -> None:
        """A person answers, where somebody waits."""
        if contract.asked is not None and contract.id not in self.ends:
            self.world.answer(contract)
            self.look()
            assert contract.state is ContractState.QUEUED

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """An agent says that it started."""
        chosen = self.any_lease(data)
        if chosen is not None:
            self.world.start(*chosen)

    @rule(data=st.data(), resume=st.booleans())
    def suspend_or_resume(self, data: st.DataObject, resume: bool) -> None:
        """An agent waits for children, or goes on."""
        chosen = self.any_lease(data)
        if chosen is not None:
            contract, lease = chosen
            apply = self.world.attempts.resume if resume else self.world.attempts.suspend
            apply(self.world.now, lease.session_id, contract.id, lease.epoch)
            self.look()

    @rule(data=st.data())
    def stop_or_give_back(self, data: st.DataObject) -> None:
        """A host confirms a stop; or gives back what it has not started."""
        chosen = self.any_lease(data)
        if chosen is not None:
            contract, lease = chosen
            key = (lease.session_id, contract.id, lease.epoch)
            if contract.lease is lease and not lease.started_ms:
                self.world.attempts.give_back(self.world.now, *key)
            else:
                self.world.attempts.stopped(*key)
            self.look()

    @rule(contract=contracts)
    def cancel(self, contract: Contract) -> None:
        """A client cancels. After OK the outcome is CANCELLED, and the tree is closed."""
        try:
            self.world.core.cancel(self.world.now, contract.id, "default", "enough")
        except MusterError:
            assert contract.id in self.ends
            return
        self.look()
        assert self.ends[contract.id].state is ContractState.CANCELLED
        assert contract.id not in self.world.core.contracts

    @rule(seconds=st.sampled_from([0.1, 0.6, 3.0, 11.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.pass_time(seconds)
        self.look()

    @invariant()
    def slots_add_up(self) -> None:
        """Every agent's count is what its leases say."""
        for host in self.world.core.fleet.hosts.values():
            taken: Counter[str] = Counter()
            for contract in host.leases.values():
                lease = contract.lease
                assert lease is not None
                assert lease.session_id == host.session_id
                if not lease.suspended and lease.slots is not None:
                    taken[lease.slots.name] += 1
            taken.update(slots.name for slots in host.stopping.values())
            for agent in host.agents.values():
                assert agent.active == taken[agent.name], agent.name

    @invariant()
    def contracts_are_conserved(self) -> None:
        """Accepted = ended + open; nothing open is marked ended."""
        core = self.world.core
        assert core.counts["accepted"] == core.counts["ended"] + len(core.contracts)
        for contract in core.contracts.values():
            assert contract.state not in TERMINAL
            without = (ContractState.QUEUED, ContractState.PARKED)
            assert (contract.lease is None) == (contract.state in without)
            assert (contract.asked is None) == (contract.state is not ContractState.PARKED)
            assert contract.failures < FAILED_MAX
            assert contract.losses < limits.LOST_AGENTS_MAX

    @invariant()
    def suspensions_add_up(self) -> None:
        """The tenant's count of suspended attempts is right."""
        held = [c.lease for c in self.world.core.contracts.values() if c.lease is not None]
        suspended = sum(1 for lease in held if lease.suspended and lease.slots is not None)
        assert self.world.core.placing.suspended["default"] == suspended


TestMesh = Mesh.TestCase
TestMesh.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
