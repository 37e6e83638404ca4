"""Whatever executors and agents report, in whatever order, presence is what their claims say."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from muster.model.errors import Fenced, NotFound
from muster.model.versions import Version, parse_selector
from muster.registry.core import Presence
from muster.registry.core_agents import EVERYTHING, Agent, AgentState, Key, Offer

GRACE = 6.0
LIFE = 10.0

EXECUTORS = st.sampled_from(["e1", "e2"])
KEYS = st.builds(Key, st.sampled_from(["acme", "other"]), st.sampled_from(["a", "b", "c"]))
OFFERS = st.lists(
    st.builds(
        Offer,
        st.sampled_from(["x", "y"]),
        st.builds(Version, st.integers(1, 2), st.integers(0, 1), st.just(0)),
    ),
    unique=True,
    max_size=3,
).map(tuple)
AGENTS = st.builds(
    Agent,
    KEYS,
    session_id=st.sampled_from(["s1", "s2"]),
    offers=OFFERS,
    since_ms=st.integers(0, 3),
)


class Claims:
    """The model: an executor's claims, each with the stream that last named it."""

    def __init__(self) -> None:
        self.incarnation = 0
        self.stream = 0
        self.opened_at = 0.0
        self.closed_at: float | None = None
        self.agents: dict[Key, tuple[Agent, int]] = {}

    def sweep(self, now: float) -> None:
        if self.closed_at is not None and now >= self.closed_at + GRACE:
            self.agents.clear()
        elif now >= self.opened_at + GRACE:
            kept = {k: v for k, v in self.agents.items() if v[1] == self.stream}
            self.agents = kept


class PresenceMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.presence = Presence(first_revision=1000, grace_seconds=GRACE, changes_max=50)
        self.executors: dict[str, Claims] = {"e1": Claims(), "e2": Claims()}
        self.registrations: dict[str, tuple[Agent, float]] = {}
        self.registered: dict[Key, str] = {}
        self.now = 0.0
        self.ids = 0
        # A watcher that sees every change, and what it believes.
        self.seen = 1000
        self.believed: dict[Key, Agent] = {}

    @rule(name=EXECUTORS, incarnation=st.integers(1, 2), agents=st.lists(AGENTS, max_size=3))
    def open_stream(self, name: str, incarnation: int, agents: list[Agent]) -> None:
        claims = self.executors[name]
        alive = claims.stream and claims.closed_at is None
        try:
            stream = self.presence.open_stream(name, incarnation, agents, self.now)
        except Fenced:
            assert alive
            assert incarnation < claims.incarnation
            return
        assert not (alive and incarnation < claims.incarnation)
        claims.incarnation, claims.stream = incarnation, stream
        claims.opened_at, claims.closed_at = self.now, None
        claims.agents.update({agent.key: (agent, stream) for agent in agents})

    @rule(name=EXECUTORS, agents=st.lists(AGENTS, max_size=3), gone=st.lists(AGENTS, max_size=2))
    def update(self, name: str, agents: list[Agent], gone: list[Agent]) -> None:
        claims = self.executors[name]
        if not claims.stream or claims.closed_at is not None:
            return
        leaving = [(agent.key, agent.session_id) for agent in gone]
        self.presence.update(name, claims.stream, agents, leaving)
        claims.agents.update({agent.key: (agent, claims.stream) for agent in agents})
        for key, session_id in leaving:
            if key in claims.agents and claims.agents[key][0].session_id == session_id:
                del claims.agents[key]

    @rule(name=EXECUTORS, agents=st.lists(AGENTS, max_size=2))
    def update_from_a_stream_that_was_superseded(self, name: str, agents: list[Agent]) -> None:
        stream = self.executors[name].stream
        try:
            self.presence.update(name, stream - 1, agents, ())
        except Fenced:
            return
        raise AssertionError

    @rule(name=EXECUTORS)
    def close_stream(self, name: str) -> None:
        claims = self.executors[name]
        if claims.stream and claims.closed_at is None:
            self.presence.close_stream(name, claims.stream, self.now)
            claims.closed_at = self.now

    @rule(agent=AGENTS)
    def register(self, agent: Agent) -> None:
        self.ids += 1
        made, registration_id = Agent(agent.key, offers=agent.offers), f"r{self.ids}"
        self.presence.register(registration_id, made, LIFE, self.now)
        self.registrations.pop(self.registered.get(agent.key, ""), None)
        self.registered[agent.key] = registration_id
        self.registrations[registration_id] = (made, self.now)

    @rule(number=st.integers(1, 5), tenant=st.sampled_from(["acme", "other"]))
    def heartbeat(self, number: int, tenant: str) -> None:
        known = self.registrations.get(f"r{number}")
        try:
            self.presence.heartbeat(tenant, f"r{number}", None, self.now)
        except NotFound:
            assert known is None or known[0].key.tenant != tenant
        else:
            assert known is not None
            self.registrations[f"r{number}"] = (known[0], self.now)

    @rule(number=st.integers(1, 5))
    def deregister(self, number: int) -> None:
        known = self.registrations.get(f"r{number}")
        self.presence.deregister("acme", f"r{number}")
        if known is not None and known[0].key.tenant == "acme":
            self.forget(f"r{number}")

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.presence.sweep(self.now)
        for claims in self.executors.values():
            claims.sweep(self.now)
        for registration_id, (_, since) in list(self.registrations.items()):
            if self.now >= since + 2 * LIFE:
                self.forget(registration_id)

    def forget(self, registration_id: str) -> None:
        del self.registered[self.registrations.pop(registration_id)[0].key]

    def expected(self) -> dict[Key, Agent]:
        visible: dict[Key, Agent] = {}
        for agent, since in self.registrations.values():
            lost = self.now >= since + LIFE
            state = AgentState.LOST if lost else AgentState.READY
            visible[agent.key] = Agent(agent.key, offers=agent.offers, state=state)
        claimed = [agent for each in self.executors.values() for agent, _ in each.agents.values()]
        for agent in sorted(claimed, key=lambda each: (each.since_ms, each.session_id)):
            visible[agent.key] = agent
        return visible

    @invariant()
    def what_is_visible_is_what_the_claims_say(self) -> None:
        expected = self.expected()
        for tenant in ("acme", "other"):
            page = self.presence.page(tenant, EVERYTHING, "", 100)
            mine = sorted((a for k, a in expected.items() if k.tenant == tenant), key=_name)
            # Of two claims that are equal in rank either may show.
            assert [_rank(agent) for agent in page.agents] == [_rank(agent) for agent in mine]
            assert page.total == len(mine)
        assert len(self.presence) == len(expected)

    @invariant()
    def the_index_finds_what_a_walk_finds(self) -> None:
        for tenant in ("acme", "other"):
            agents = self.presence.page(tenant, EVERYTHING, "", 100).agents
            for capability in ("x", "y"):
                for text in ("", "1", "1.1", "2.0.0"):
                    walked = [a for a in agents if _offers(a, capability, text)]
                    found = self.presence.offering(tenant, capability, parse_selector(text))
                    assert list(found) == walked
                version = Version(1, 1, 0)
                offered = sum(Offer(capability, version) in agent.offers for agent in agents)
                assert self.presence.count(tenant, capability, version) == offered

    @invariant()
    def a_watcher_of_changes_believes_what_is_visible(self) -> None:
        changes = self.presence.changes_after(self.seen, 1000)
        assert changes is not None
        for change in changes:
            assert change.revision == self.seen + 1
            self.seen = change.revision
            if change.before is not None:
                assert self.believed.pop(change.before.key) == change.before
            if change.after is not None:
                self.believed[change.after.key] = change.after
        assert len(self.believed) == len(self.presence)
        for key, agent in self.believed.items():
            assert self.presence.get(key) == agent


def _offers(agent: Agent, capability: str, text: str) -> bool:
    accepts = parse_selector(text).accepts
    return any(name == capability and accepts(version) for name, version in agent.offers)


def _name(agent: Agent) -> str:
    return agent.key.name


def _rank(agent: Agent) -> tuple[Key, int, str, AgentState]:
    return agent.key, agent.since_ms, agent.session_id, agent.state


TestPresence = PresenceMachine.TestCase
TestPresence.settings = settings(max_examples=40, stateful_step_count=30)
