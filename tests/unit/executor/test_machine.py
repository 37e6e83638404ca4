"""The core against a model of hosts and of a scheduler, in any order of events.

Checked at every step: a lease is lost only when its host does not have it; nothing of an older
session is relayed after a newer one took over; no assignment is relayed beyond its agent's window.
Checked at the end, when everybody has finished talking: each assignment ended in exactly one way.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from muster.executor.core_state import (
    CANCELLED,
    OFFERED,
    REPORTED,
    SUSPENDED,
    Lease,
    Session,
)
from muster.v1.link_service_pb2 import LinkRequest
from muster.v1.session_pb2 import AttemptKey, Report, Return, Stopped
from tests.unit.executor.world import World, held, key, spec

HOSTS = ("h1", "h2")
AGENTS = ("a", "b")
LOST_WITH_SESSION, LOST_TO_LEVEL = "lost with its session", "missing from the level"
BY_THE_SCHEDULER = (LOST_WITH_SESSION, LOST_TO_LEVEL)
WORDS = st.integers(0, 7)
SEEDS = st.integers(0, 2**16)


@dataclass
class Host:
    """A host process: what it holds, and its session."""

    session: Session | None = None
    counts: bool = True
    seen: int = 0
    leases: dict[tuple[str, int], tuple[AttemptKey, str, int]] = field(default_factory=dict)
    named: set[tuple[str, int]] = field(default_factory=set)  # in the session's last heartbeat
    read: set[tuple[str, int]] = field(default_factory=set)  # whatever the session's host knew
    cancelled: set[tuple[str, int]] = field(default_factory=set)


@dataclass
class Attempt:
    """An assignment, as the scheduler has it."""

    attempt: AttemptKey
    session_id: str
    host: str
    ended: str = ""


def pair_of(attempt: AttemptKey) -> tuple[str, int]:
    return attempt.contract_id, attempt.epoch


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.hosts = {name: Host() for name in HOSTS}
        self.attempts: dict[tuple[str, int], Attempt] = {}
        self.superseded: set[str] = set()
        self.sessions: dict[str, str] = {}  # that the scheduler knows: id -> host
        self.number = 0
        self.judging = False
        self._watch_losses()

    def _watch_losses(self) -> None:
        book = self.world.core.book
        lose = book.lose

        def watched(lease: Lease) -> None:
            session = lease.agent.session
            host = self.hosts[session.host]
            if host.session is session:
                assert lease.key not in host.named, "lost although its host has it"
                if self.judging:
                    assert lease.state == OFFERED, "taken back although its host has it"
                else:
                    assert lease.key in host.read, "lost although it is still on its way"
            lose(lease)

        book.lose = watched  # type: ignore[method-assign]

    @initialize(windows=st.lists(st.integers(1, 3), min_size=4, max_size=4))
    def begin(self, windows: list[int]) -> None:
        self.windows = dict(zip([(h, a) for h in HOSTS for a in AGENTS], windows, strict=True))
        for name in HOSTS:
            self.connect(name, True, True)

    # --- hosts ------------------------------------------------------------------------------------

    @rule(
        kind=st.sampled_from(["connect", "restart", "break", "link", "link", "time", "stall"]),
        name=st.sampled_from(HOSTS),
        counts=st.booleans(),
        seconds=st.sampled_from([1.0, 3.0, 11.0, 60.0]),
    )
    def trouble(self, kind: str, name: str, counts: bool, seconds: float) -> None:
        """One rule for all that goes wrong, so that most steps are work."""
        if kind == "connect" or kind == "restart":
            self.connect(name, counts, kind == "connect")
        elif kind == "break":
            self.break_stream(name)
        elif kind == "time":
            self.time_passes(seconds)
        elif kind == "stall":
            self.the_executor_stalls(seconds)
        elif self.world.link.up:
            self.world.hang_up()
        else:
            self.link_comes_back()

    def connect(self, name: str, counts: bool, all_of_it: bool) -> None:
        """A new stream: after a reconnect, or after a restart, without leases."""
        host = self.hosts[name]
        if not all_of_it:
            host.leases.clear()
            host.cancelled.clear()
        if host.session is not None and not host.session.over:
            self.superseded.add(host.session.id)
        host.named = set(host.leases)
        host.read = set(host.leases)
        host.session = self.world.connect(
            name,
            agents=[spec(agent, self.windows[name, agent]) for agent in AGENTS],
            held=[held(attempt, state, agent) for attempt, agent, state in host.leases.values()],
            frame_seq=int(counts),
        )
        host.counts = counts
        host.seen = 0

    def break_stream(self, name: str) -> None:
        host = self.hosts[name]
        if self.is_open(host):
            assert host.session is not None
            self.world.broken(host.session)

    @rule(name=st.sampled_from(HOSTS))
    def host_reads(self, name: str) -> None:
        host = self.hosts[name]
        if not self.is_open(host):
            return
        assert host.session is not None
        for frame in self.world.frames(host.session):
            for verdict in frame.verdicts:
                if verdict.decision == 2:
                    host.leases.pop(pair_of(verdict.key), None)
            for ack in frame.report_acks:
                host.leases.pop(pair_of(ack.key), None)
            for cancel in frame.cancels:
                if pair_of(cancel.key) in host.leases:
                    host.cancelled.add(pair_of(cancel.key))
            for assignment in frame.assignments:
                host.read.add(pair_of(assignment.key))
                host.leases[pair_of(assignment.key)] = (assignment.key, assignment.agent, 1)
            host.seen = frame.frame_seq

    @rule(name=st.sampled_from(HOSTS), forgetful=st.integers(0, 9))
    def host_beats(self, name: str, forgetful: int) -> None:
        host = self.hosts[name]
        if not self.is_open(host):
            return
        if forgetful == 0 and host.leases and host.counts:
            host.leases.popitem()
        host.named = set(host.leases)
        leases = [held(attempt, state, agent) for attempt, agent, state in host.leases.values()]
        self.send(host, heartbeat={"held": leases})

    @rule(name=st.sampled_from(HOSTS), which=SEEDS, word=WORDS)
    def host_says(self, name: str, which: int, word: int) -> None:
        host = self.hosts[name]
        if not self.is_open(host) or not host.leases:
            return
        it = list(host.leases)[which % len(host.leases)]
        attempt, agent, state = host.leases[it]
        if state == 4:
            self.send(host, reports=[Report(key=attempt)])
        elif it in host.cancelled:
            self._forget(host, it)
            self.send(host, stops=[Stopped(key=attempt)])
        elif word == 0 and state == 1:
            self._forget(host, it)
            self.send(host, returns=[Return(key=attempt)])
        elif word == 1:
            host.leases[it] = (attempt, agent, 3)
            self.send(host, suspends=[attempt])
        elif word == 2:
            host.leases[it] = (attempt, agent, 2)
            self.send(host, resumes=[attempt], accepts=[attempt])
        else:
            host.leases[it] = (attempt, agent, 4)
            self.send(host, reports=[Report(key=attempt)])

    def _forget(self, host: Host, it: tuple[str, int]) -> None:
        host.leases.pop(it)
        host.named.discard(it)
        host.cancelled.discard(it)

    def is_open(self, host: Host) -> bool:
        session = host.session
        return session is not None and session.outbox.end is None and session.broken_at is None

    def send(self, host: Host, **frame: object) -> None:
        assert host.session is not None
        seq = host.session.in_seq + 1 if host.counts else 0
        seen = host.seen if host.counts else 0
        self.world.send(host.session, frame_seq=seq, seen_seq=seen, **frame)

    # --- the scheduler ----------------------------------------------------------------------------

    @rule(name=st.sampled_from(HOSTS), agent=st.sampled_from(AGENTS), many=st.integers(1, 3))
    def scheduler_assigns(self, name: str, agent: str, many: int) -> None:
        """Without looking at windows: the executor must."""
        session = self.hosts[name].session
        if not self.world.link.up or session is None or session.id not in self.sessions:
            return
        for _ in range(many):
            self.number += 1
            attempt = key(self.number)
            self.attempts[pair_of(attempt)] = Attempt(attempt, session.id, name)
            known = session.agents.get(agent)
            before = known.active if known else 0
            self.world.assign(session, attempt, agent=agent)
            if pair_of(attempt) in session.leases:
                assert before < self.windows[name, agent]

    @rule()
    def scheduler_reads(self) -> None:
        for frame in self.world.relayed():
            self._hear(frame)

    @rule(which=SEEDS)
    def scheduler_cancels(self, which: int) -> None:
        live = [x for x in self.attempts.values() if not x.ended and x.session_id in self.sessions]
        if live and self.world.link.up:
            chosen = live[which % len(live)]
            session = self.world.core.book.sessions.get(chosen.session_id)
            if session is not None:
                self.world.cancel(session, chosen.attempt)

    def link_comes_back(self) -> None:
        self.world.dial()
        frames = self.world.relayed()
        told = {session.session_id for frame in frames[:1] for session in frame.sessions}
        for session_id in [x for x in self.sessions if x not in told]:
            self._end_session(session_id)
        for frame in frames:
            self._hear(frame)

    @rule(name=st.sampled_from(HOSTS), agent=st.sampled_from(AGENTS), which=SEEDS, word=WORDS)
    def a_task_goes_its_way(self, name: str, agent: str, which: int, word: int) -> None:
        """The common case in one step."""
        host = self.hosts[name]
        if not self.is_open(host):
            self.connect(name, host.counts, True)
        self.scheduler_reads()
        self.scheduler_assigns(name, agent, 1)
        self.host_reads(name)
        self.host_says(name, which, word)

    @rule()
    def a_moment_passes(self) -> None:
        self.time_passes(0.4)

    def time_passes(self, seconds: float) -> None:
        self.judging = True
        self.world.wait(seconds)
        self.judging = False

    def the_executor_stalls(self, seconds: float) -> None:
        before = set(self.world.core.book.sessions)
        self.judging = True
        self.world.stall(seconds + 1.5)
        self.judging = False
        assert set(self.world.core.book.sessions) == before

    def _hear(self, frame: LinkRequest) -> None:
        for told in frame.sessions:
            assert told.session_id not in self.superseded
            self.sessions[told.session_id] = told.host
            self._claims(told.session_id, told.host, [pair_of(x.key) for x in told.held])
        for items in frame.items:
            assert items.session_id in self.sessions, "items came before their session"
            assert items.session_id not in self.superseded, "an older session was relayed"
            for given in items.returns:
                self._finish(given.key, items.session_id, "returned")
            for report in items.reports:
                self._finish(report.key, items.session_id, "reported")
                self._acknowledge(items.session_id, report.key)
            # A slot may be said to be free more than once, and by two words that cross.
            for stop in (x for x in items.stops if not self.attempts[pair_of(x.key)].ended):
                self._finish(stop.key, items.session_id, "stopped")
            crossed = [x.key for x in items.reports] + [x.key for x in items.stops]
            for lost in (x for x in items.losses if x not in crossed):
                self._finish(lost, items.session_id, "lost")
        for end in frame.ends:
            self._end_session(end.session_id)

    def _claims(self, session_id: str, host: str, claims: list[tuple[str, int]]) -> None:
        session = self.world.core.book.sessions.get(session_id)
        for it in claims:
            known = self.attempts.get(it)
            keep = known is not None and not known.ended and known.host == host
            if keep and known is not None:
                known.session_id = session_id
            if session is not None:
                attempt = AttemptKey(contract_id=it[0], epoch=it[1])
                self.world.decide(session, attempt, 1 if keep else 2)
        for it, known in self.attempts.items():
            if known.session_id == session_id and not known.ended and it not in claims:
                known.ended = LOST_TO_LEVEL

    def _finish(self, attempt: AttemptKey, session_id: str, how: str) -> None:
        known = self.attempts[pair_of(attempt)]
        if known.session_id != session_id or how == known.ended == "reported":
            return
        # A late report is refused by its epoch; of the other ends, each is told once.
        assert not known.ended or how == "reported" or known.ended in BY_THE_SCHEDULER, known
        known.ended = known.ended or how

    def _end_session(self, session_id: str) -> None:
        self.sessions.pop(session_id, None)
        for known in self.attempts.values():
            if known.session_id == session_id and not known.ended:
                known.ended = LOST_WITH_SESSION

    def _acknowledge(self, session_id: str, attempt: AttemptKey) -> None:
        session = self.world.core.book.sessions.get(session_id)
        if session is not None:
            known = self.attempts[pair_of(attempt)]
            self.world.acknowledge(session, attempt, 1 if known.ended == "reported" else 3)

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def counts_agree_with_leases(self) -> None:
        for session in self.world.core.book.sessions.values():
            for agent in session.agents.values():
                leases = [x for x in session.leases.values() if x.agent is agent]
                assert agent.held == len(leases)
                assert agent.active == sum(x.slot for x in leases)
                assert agent.suspended == sum(x.state == SUSPENDED for x in leases)
            for lease in session.leases.values():
                free = lease.state in (SUSPENDED, REPORTED)
                assert lease.slot is not free or lease.state == CANCELLED
            offered = {x for x, lease in session.leases.items() if lease.state == OFFERED}
            assert offered <= set(session.offered) <= set(session.leases)
            unwritten = sum(len(agent.queue or ()) for agent in session.outbox.ring)
            assert session.outbox.count >= unwritten

    @invariant()
    def an_ended_attempt_is_not_held_unless_its_word_is_on_the_way(self) -> None:
        if self.world.link.up:
            return
        for it, known in self.attempts.items():
            session = self.world.core.book.sessions.get(known.session_id)
            if known.ended in ("returned", "lost") and session is not None:
                assert it not in session.leases

    def teardown(self) -> None:
        """Everybody finishes talking."""
        if not self.world.link.up:
            self.link_comes_back()
        for _ in range(3):
            self.scheduler_reads()
            for name, host in self.hosts.items():
                if not self.is_open(host):
                    self.connect(name, host.counts, True)
                self.scheduler_reads()
                self.host_reads(name)
                self.host_beats(name, 1)
                for which in range(len(host.leases), 0, -1):
                    self.host_says(name, which - 1, 5)
                self.scheduler_reads()
                self.host_reads(name)
        self.world.wait(4.0)
        self.scheduler_reads()
        for name in HOSTS:
            self.host_reads(name)
        left = [x for x in self.attempts.values() if not x.ended]
        assert not left, left
        for session in self.world.core.book.sessions.values():
            assert not session.leases
            assert not session.unacked


Machine.TestCase.settings = settings(max_examples=80, stateful_step_count=80, deadline=None)
TestMachine = Machine.TestCase
