"""Safety of the session's core, whatever happens in whatever order.

A model of the mesh reads every frame. It loses sessions at any moment, with all that was under way,
gives verdicts late, and acknowledges when it likes.
"""

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from muster.agent.session.core import Decision, SessionCore, Verdict
from muster.agent.session.core_outbox import Frame, Key, Lease, LeaseState

ITEMS_MAX = 4
AGENTS = ("a", "b", "c")


class HostAndMesh(RuleBasedStateMachine):
    """The core, driven by a host that works and a mesh that judges."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.core = SessionCore()
        self.now = 0.0
        self.epochs = 0
        self.bound: set[Key] = set()  # leases that the mesh counts to the current session
        self.undecided: set[Key] = set()
        self.open: dict[Key, LeaseState] = {}  # what the mesh believes of open attempts
        self.reports: dict[Key, object] = {}
        self.items: dict[Key, list[int]] = defaultdict(list)
        self.made: dict[Key, int] = defaultdict(int)
        self.seq = 0

    @initialize()
    def connect(self) -> None:
        self.reconnect()

    @rule()
    def reconnect(self) -> None:
        """The stream breaks; a new one is welcomed."""
        frame = self.core.open()
        self.seq = frame.seq
        held = {lease.key: lease for lease in frame.hello or ()}
        assert set(held) == set(self.core.leases)
        self.bound = set()
        self.undecided = set(held)
        for key, lease in held.items():
            if key in self.open:
                self.open[key] = lease.state
        # What the host does not name, the mesh does not wait for.
        self.open = {key: state for key, state in self.open.items() if key in held}
        self.core.set_limits(3, 50, ITEMS_MAX, 1_000)
        self.core.welcome(1, self.now)

    @rule(data=st.data(), keep=st.booleans())
    def decide(self, data: st.DataObject, keep: bool) -> None:
        if not self.undecided:
            return
        key = data.draw(st.sampled_from(sorted(self.undecided)))
        self.undecided.discard(key)
        if keep and key in self.open:
            self.bound.add(key)
            self.core.decide(key, Decision.KEEP)
        else:
            self.open.pop(key, None)
            self.core.decide(key, Decision.DROP)

    @rule(target=leases, agent=st.sampled_from(AGENTS))
    def assign(self, agent: str) -> Lease:
        self.epochs += 1
        key = (f"{self.epochs:016x}", self.epochs)
        lease = self.core.assign(key, agent)
        assert lease is not None
        self.open[key] = LeaseState.ACCEPTED
        self.bound.add(key)
        return lease

    @rule(lease=leases)
    def start(self, lease: Lease) -> None:
        if lease.key in self.core.leases and lease.state is LeaseState.ACCEPTED:
            self.core.start(lease)

    @rule(lease=leases, on=st.booleans())
    def wait_for_children(self, lease: Lease, on: bool) -> None:
        if lease.key in self.core.leases:
            (self.core.suspend if on else self.core.resume)(lease)

    @rule(lease=leases, size=st.integers(1, 40))
    def emit(self, lease: Lease, size: int) -> None:
        alive = lease.key in self.core.leases and lease.state is not LeaseState.REPORTED
        if alive and self.core.has_room(lease, size):
            self.made[lease.key] += 1
            self.core.emit(lease, (lease.key, self.made[lease.key]), size)

    @rule(lease=leases)
    def report(self, lease: Lease) -> None:
        if lease.state is not LeaseState.REPORTED and not lease.cancelled:
            self.core.report(lease, (lease.key, self.made[lease.key]), 10)

    @rule(lease=consumes(leases))
    def cancel(self, lease: Lease) -> None:
        if lease.key in self.bound:
            self.open.pop(lease.key, None)
            if self.core.cancel(lease.key) is not None:
                self.core.stopped(lease)
            self.bound.discard(lease.key)

    @rule(lease=leases, share=st.floats(0, 1))
    def acknowledge_items(self, lease: Lease, share: float) -> None:
        got = self.items[lease.key]
        if got and lease.key in self.bound:
            self.core.acknowledge_items(lease.key, got[int(share * (len(got) - 1))])

    @rule(lease=leases)
    def acknowledge_report(self, lease: Lease) -> None:
        if lease.key in self.reports and lease.key in self.bound:
            self.core.acknowledge(lease.key, Verdict.ACCEPTED)

    @rule(later=st.sampled_from([0.0, 0.5, 2.0]), lost=st.booleans())
    def write(self, later: float, lost: bool) -> None:
        """A frame goes out, and arrives, or is lost with its session."""
        self.now += later
        frame = self.core.take(self.now)
        if frame is None:
            return
        assert frame.seq == self.seq + 1
        self.seq = frame.seq
        if lost:
            self.reconnect()
        else:
            self.receive(frame)

    def receive(self, frame: Frame) -> None:
        for key in (*frame.accepts, *frame.starts, *frame.suspends, *frame.resumes):
            assert key in self.bound, "something was said about a lease of another session"
        for key in frame.starts:
            self.believe(key, LeaseState.ACCEPTED, LeaseState.STARTED)
        for key, index in frame.items:
            got = self.items[key]
            assert index <= len(got) + 1, "an item was left out"
            if index == len(got) + 1:
                got.append(index)
        for key in frame.suspends:
            self.believe(key, LeaseState.STARTED, LeaseState.SUSPENDED)
        for key in frame.resumes:
            self.believe(key, LeaseState.SUSPENDED, LeaseState.STARTED)
        for key, chunks in frame.reports:
            assert key in self.bound, "a report was sent before the verdict"
            assert len(self.items[key]) == chunks, "a report overtook its items"
            self.reports[key] = chunks
            self.open.pop(key, None)
        if frame.heartbeat is not None:
            assert {lease.key for lease in frame.heartbeat} == set(self.core.leases)

    def believe(self, key: Key, before: LeaseState, after: LeaseState) -> None:
        if key in self.open:
            assert self.open[key] is before
            self.open[key] = after

    @invariant()
    def the_window_holds(self) -> None:
        for lease in self.core.leases.values():
            assert len(lease.unacked or ()) <= ITEMS_MAX

    @invariant()
    def nothing_open_is_forgotten(self) -> None:
        assert set(self.open) <= set(self.core.leases)

    def teardown(self) -> None:
        """Left alone, with a mesh that answers, the host says everything it has to say."""
        self.reconnect()
        for key in list(self.undecided):
            if key in self.open or key in self.reports:
                self.bound.add(key)
                self.core.decide(key, Decision.KEEP)
            else:
                self.core.decide(key, Decision.DROP)
        while (frame := self.core.take(self.now)) is not None:
            self.receive(frame)
        for lease in self.core.leases.values():
            if lease.state is LeaseState.REPORTED:
                assert lease.key in self.reports
            elif lease.key in self.open:
                assert self.open[lease.key] is lease.state
            assert len(self.items[lease.key]) == self.made[lease.key]


HostAndMesh.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestHostAndMesh = HostAndMesh.TestCase
