"""Which agents a registry keeps in the directory, and when it is hosts instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from muster.model.directory import State, Upkeep
from muster.model.versions import parse_version
from muster.registry.core import Change, Presence
from muster.registry.core_agents import Agent, AgentState, Key, Offer
from muster.registry.core_enrolment import Enrolment, Grain

ECHO = Offer("test.echo", parse_version("1.2.0"))


def agent(number: int, host: str = "host", **more: object) -> Agent:
    made = Agent(Key("default", f"agent-{number}"), "kind", host, f"session-{host}", offers=(ECHO,))
    return replace(made, **more)  # type: ignore[arg-type]


class Registry:
    """One registry, whose executor says what is there."""

    def __init__(self, name: str = "a", agents_max: int = 10) -> None:
        self.presence = Presence()
        self.upkeep = Upkeep()
        self.enrolment = Enrolment(name, agents_max, self.upkeep, lambda _agent: "1.0")
        self.revision = self.presence.revision
        self.stream = self.presence.open_stream("executor", 1, (), 0)

    def share(self, *names: str) -> None:
        if self.enrolment.members(names):
            self.enrolment.level(list(self.presence.agents()))

    def report(self, there: Sequence[Agent] = (), gone: Sequence[Agent] = ()) -> None:
        left = [(each.key, each.session_id) for each in gone]
        self.presence.update("executor", self.stream, there, left)
        changes: list[Change] = self.presence.changes_after(self.revision, 1_000) or []
        self.revision = self.presence.revision
        if self.enrolment.changes(changes):
            self.enrolment.level(list(self.presence.agents()))

    def grain(self) -> Grain:
        return self.enrolment.grain

    @property
    def agents(self) -> dict[str, State]:
        return {each.meta["name"]: each.state for each in self.upkeep.wanted("agent")}

    @property
    def hosts(self) -> dict[str, State]:
        return {each.meta["name"]: each.state for each in self.upkeep.wanted("host")}


def test_an_entry_says_what_an_agent_is_and_can_do() -> None:
    registry = Registry()
    registry.share("a")
    registry.report([agent(1, labels={"zone": "lab", "other": "x"})])
    (entry,) = registry.upkeep.wanted("agent")
    assert entry.id == "muster-agent:default:agent-1"
    assert entry.meta == {
        "name": "agent-1",
        "tenant": "default",
        "kind": "kind",
        "version": "1.0",
        "host": "host",
        "capabilities": "test.echo@1.2.0",
        "zone": "lab",
    }


def test_draining_warns_and_lost_is_critical() -> None:
    registry = Registry()
    registry.share("a")
    registry.report([agent(1), agent(2), agent(3)])
    registry.report([agent(2, state=AgentState.DRAINING), agent(3, state=AgentState.LOST)])
    assert registry.agents == {
        "agent-1": State.PASSING,
        "agent-2": State.WARNING,
        "agent-3": State.CRITICAL,
    }
    registry.report(gone=[agent(3)])
    assert registry.agents.keys() == {"agent-1", "agent-2"}


def test_nothing_is_registered_while_nobody_knows_who_shares() -> None:
    registry = Registry()
    registry.report([agent(1)])
    assert registry.agents == {}
    registry.share("a")
    assert registry.agents.keys() == {"agent-1"}


def test_each_agent_is_kept_by_one_of_those_who_share() -> None:
    both = [Registry("a", 100), Registry("b", 100)]
    everybody = [agent(number) for number in range(50)]
    for registry in both:
        registry.share("a", "b")
        registry.report(everybody)
    first, second = (registry.agents.keys() for registry in both)
    assert len(first) + len(second) == 50
    assert not first & second
    assert min(len(first), len(second)) > 10
    both[0].share("a")
    assert len(both[0].agents) == 50
    both[0].share("a", "b")
    assert both[0].agents.keys() == first


def test_past_the_limit_hosts_stand_for_their_agents_until_there_are_clearly_fewer() -> None:
    registry = Registry(agents_max=10)
    registry.share("a")
    registry.report([agent(number, f"host-{number % 3}") for number in range(11)])
    assert registry.grain() is Grain.HOSTS
    assert registry.agents == {}
    assert registry.hosts == {f"host-{number}": State.PASSING for number in range(3)}
    registry.report(gone=[agent(number, f"host-{number % 3}") for number in range(2)])
    assert registry.grain() is Grain.HOSTS
    registry.report(gone=[agent(2, "host-2")])
    assert registry.grain() is Grain.AGENTS
    assert registry.hosts == {}
    assert len(registry.agents) == 8


def test_a_host_is_as_its_best_agent() -> None:
    registry = Registry(agents_max=2)
    registry.share("a")
    lost = [agent(number, state=AgentState.LOST) for number in range(3)]
    registry.report(lost)
    assert registry.hosts == {"host": State.CRITICAL}
    registry.report([agent(0, state=AgentState.DRAINING)])
    assert registry.hosts == {"host": State.WARNING}
    registry.report([agent(1)])
    assert registry.hosts == {"host": State.PASSING}


def test_where_even_hosts_are_too_many_there_are_none() -> None:
    registry = Registry(agents_max=10)
    registry.share("a")
    many = [agent(number, f"host-{number}") for number in range(11)]
    registry.report(many)
    assert registry.grain() is Grain.NOTHING
    assert registry.agents == registry.hosts == {}
    registry.report(gone=many[:6])
    assert registry.grain() is Grain.AGENTS
    assert len(registry.agents) == 5


def test_a_busy_agent_is_no_reason_to_register_it_again() -> None:
    registry = Registry()
    registry.share("a")
    registry.report([agent(1, body="idle")])
    registry.upkeep.read({})
    registry.upkeep.done(registry.upkeep.due(0, 10), 0)
    assert registry.upkeep.due(0, 10) == []
    registry.report([agent(1, body="busy")])
    assert registry.upkeep.due(0, 10) == []
