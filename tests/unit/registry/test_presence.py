from itertools import islice

import pytest

from muster.model import limits
from muster.model.errors import Code, Fenced, NotFound
from muster.model.versions import Version, parse_selector
from muster.registry.core import Presence
from muster.registry.core_agents import EVERYTHING, Agent, AgentState, Filter, Key, Offer

GRACE = 6.0


def make_agent(name: str = "a", session: str = "s1", since: int = 0, **fields) -> Agent:
    return Agent(Key("acme", name), session_id=session, since_ms=since, **fields)


def offering(name: str, *offers: tuple[str, str], **fields) -> Agent:
    made = tuple(Offer(cap, Version(*map(int, version.split(".")))) for cap, version in offers)
    return make_agent(name, offers=made, **fields)


def names(presence: Presence, chosen: Filter = EVERYTHING) -> list[str]:
    return [agent.key.name for agent in presence.page("acme", chosen, "", 1000).agents]


def found(presence: Presence, capability: str, version: str) -> list[str]:
    agents = presence.offering("acme", capability, parse_selector(version))
    return [agent.key.name for agent in agents]


def make_presence(*agents: Agent) -> Presence:
    presence = Presence(grace_seconds=GRACE)
    presence.open_stream("e1", 1, agents, 0.0)
    return presence


# --- executors ------------------------------------------------------------------------------------


def test_reported_agents_are_there():
    presence = make_presence(make_agent("b"), make_agent("a"))
    assert names(presence) == ["a", "b"]
    assert presence.get(Key("acme", "a")).session_id == "s1"


def test_another_tenant_sees_nothing_of_them():
    presence = make_presence(make_agent("a"))
    assert presence.page("other", EVERYTHING, "", 10).total == 0
    with pytest.raises(NotFound) as caught:
        presence.get(Key("other", "a"))
    assert caught.value.reason == "AGENT_UNKNOWN"


def test_an_agent_that_left_is_gone():
    presence = Presence()
    stream = presence.open_stream("e1", 1, [make_agent()], 0.0)
    presence.update("e1", stream, (), [(Key("acme", "a"), "s1")])
    assert names(presence) == []


def test_word_that_an_older_sessions_agent_left_does_not_touch_the_newer():
    presence = Presence()
    stream = presence.open_stream("e1", 1, [make_agent(session="s1")], 0.0)
    presence.update("e1", stream, [make_agent(session="s2", since=1)], ())
    presence.update("e1", stream, (), [(Key("acme", "a"), "s1")])
    assert presence.get(Key("acme", "a")).session_id == "s2"


def test_agents_outlive_their_executors_stream_by_the_grace():
    presence = Presence(grace_seconds=GRACE)
    stream = presence.open_stream("e1", 1, [make_agent()], 0.0)
    presence.close_stream("e1", stream, 10.0)
    presence.sweep(10.0 + GRACE - 0.1)
    assert names(presence) == ["a"]
    presence.sweep(10.0 + GRACE)
    assert names(presence) == []


def test_an_executor_that_comes_back_within_the_grace_loses_nothing():
    presence = Presence(grace_seconds=GRACE)
    stream = presence.open_stream("e1", 1, [make_agent()], 0.0)
    before = presence.revision
    presence.close_stream("e1", stream, 1.0)
    presence.open_stream("e1", 1, [make_agent()], 2.0)
    presence.sweep(100.0)
    assert names(presence) == ["a"]
    assert presence.revision == before


def test_what_a_new_stream_does_not_name_within_the_grace_is_gone():
    presence = make_presence(make_agent("a"), make_agent("b"), make_agent("c"))
    stream = presence.open_stream("e1", 1, [make_agent("a")], 10.0)
    presence.update("e1", stream, [make_agent("b")], ())
    assert names(presence) == ["a", "b", "c"]
    presence.sweep(10.0 + GRACE)
    assert names(presence) == ["a", "b"]


def test_an_older_stream_of_the_same_executor_is_superseded():
    presence = Presence()
    old = presence.open_stream("e1", 1, [make_agent("a")], 0.0)
    new = presence.open_stream("e1", 2, [make_agent("b")], 0.0)
    with pytest.raises(Fenced) as caught:
        presence.update("e1", old, (), [(Key("acme", "a"), "s1")])
    assert (caught.value.reason, caught.value.code) == ("SUPERSEDED", Code.ABORTED)
    presence.close_stream("e1", old, 0.0)
    presence.sweep(limits.PRESENCE_GRACE_SECONDS)
    assert names(presence) == ["b"]
    presence.update("e1", new, [make_agent("c")], ())


def test_an_older_incarnation_is_refused_while_a_newer_one_is_there():
    presence = Presence()
    stream = presence.open_stream("e1", 2, (), 0.0)
    with pytest.raises(Fenced):
        presence.open_stream("e1", 1, (), 0.0)
    presence.close_stream("e1", stream, 0.0)
    presence.open_stream("e1", 1, (), 0.0)


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_of_two_executors_with_one_name_the_newer_attachment_counts(order: tuple[str, ...]):
    claims = {"old": make_agent(session="s1", since=1), "new": make_agent(session="s2", since=2)}
    presence = Presence()
    for executor in order:
        presence.open_stream(executor, 1, [claims[executor]], 0.0)
    assert presence.get(Key("acme", "a")).session_id == "s2"


def test_when_the_newer_attachment_ends_the_older_one_shows_again():
    presence = Presence()
    presence.open_stream("old", 1, [make_agent(session="s1", since=1)], 0.0)
    stream = presence.open_stream("new", 1, [make_agent(session="s2", since=2)], 0.0)
    presence.update("new", stream, (), [(Key("acme", "a"), "s2")])
    assert presence.get(Key("acme", "a")).session_id == "s1"


def test_a_judge_that_stalled_gives_everybody_more_time():
    presence = Presence(grace_seconds=GRACE)
    stream = presence.open_stream("e1", 1, [make_agent("a")], 0.0)
    presence.close_stream("e1", stream, 0.0)
    presence.register("r1", make_agent("b", session=""), 10.0, 0.0)
    presence.forgive(60.0)
    presence.sweep(60.0)
    assert names(presence) == ["a", "b"]


# --- registrations --------------------------------------------------------------------------------


def test_a_registration_is_lost_after_its_time_and_gone_after_twice_that():
    presence = Presence()
    presence.register("r1", make_agent(session=""), 10.0, 0.0)
    presence.sweep(9.9)
    assert presence.get(Key("acme", "a")).state is AgentState.READY
    presence.sweep(10.0)
    assert presence.get(Key("acme", "a")).state is AgentState.LOST
    presence.sweep(20.0)
    assert names(presence) == []
    with pytest.raises(NotFound) as caught:
        presence.heartbeat("acme", "r1", None, 20.0)
    assert caught.value.reason == "REGISTRATION_UNKNOWN"


def test_a_heartbeat_brings_a_lost_registration_back_as_it_was():
    presence = Presence()
    presence.register("r1", make_agent(session=""), 10.0, 0.0)
    presence.heartbeat("acme", "r1", AgentState.DRAINING, 1.0)
    presence.sweep(12.0)
    assert presence.get(Key("acme", "a")).state is AgentState.LOST
    assert presence.heartbeat("acme", "r1", None, 12.0) == 10.0
    assert presence.get(Key("acme", "a")).state is AgentState.DRAINING
    presence.sweep(21.9)
    assert presence.get(Key("acme", "a")).state is AgentState.DRAINING
    presence.sweep(22.0)
    assert presence.get(Key("acme", "a")).state is AgentState.LOST


def test_registering_a_name_again_replaces_the_registration():
    presence = Presence()
    presence.register("r1", make_agent(session="", kind="old"), 10.0, 0.0)
    presence.register("r2", make_agent(session="", kind="new"), 10.0, 5.0)
    assert presence.get(Key("acme", "a")).kind == "new"
    presence.deregister("acme", "r1")
    presence.sweep(12.0)
    assert presence.get(Key("acme", "a")).state is AgentState.READY


def test_a_session_hides_a_registration_of_the_same_name_however_new_it_is():
    presence = make_presence(make_agent(session="s1", since=1))
    presence.register("r1", make_agent(session="", since=2), 10.0, 0.0)
    assert presence.get(Key("acme", "a")).session_id == "s1"


def test_a_registration_cannot_be_touched_by_another_tenant():
    presence = Presence()
    presence.register("r1", make_agent(session=""), 10.0, 0.0)
    with pytest.raises(NotFound):
        presence.heartbeat("other", "r1", None, 0.0)
    presence.deregister("other", "r1")
    assert names(presence) == ["a"]
    presence.deregister("acme", "r1")
    presence.deregister("acme", "r1")
    assert names(presence) == []


def test_registrations_have_a_limit_that_replacing_does_not_reach(monkeypatch):
    monkeypatch.setattr(limits, "REGISTRATIONS_MAX", 1)
    presence = Presence()
    presence.register("r1", make_agent("a", session=""), 10.0, 0.0)
    presence.register("r2", make_agent("a", session=""), 10.0, 0.0)
    with pytest.raises(Exception, match="1 agents are registered") as caught:
        presence.register("r3", make_agent("b", session=""), 10.0, 0.0)
    assert getattr(caught.value, "code", None) is Code.RESOURCE_EXHAUSTED


# --- finding --------------------------------------------------------------------------------------


def test_agents_are_found_by_capability_and_acceptable_version():
    presence = make_presence(
        offering("a", ("text.sum", "1.0.0")),
        offering("b", ("text.sum", "1.2.0"), ("other", "1.0.0")),
        offering("c", ("text.sum", "2.0.0")),
        offering("d", ("text.sum", "1.2.0"), ("text.sum", "2.1.3")),
    )
    assert found(presence, "text.sum", "1") == ["a", "b", "d"]
    assert found(presence, "text.sum", "1.1") == ["b", "d"]
    assert found(presence, "text.sum", "2") == ["c", "d"]
    assert found(presence, "text.sum", "2.1.3") == ["d"]
    assert found(presence, "text.sum", "") == ["a", "b", "c", "d"]
    assert found(presence, "text.sum", "3") == []
    assert found(presence, "text", "1") == []
    assert presence.count("acme", "text.sum", Version(1, 2, 0)) == 2


def test_an_agent_that_changes_its_capabilities_is_found_by_the_new_ones_only():
    presence = Presence()
    stream = presence.open_stream("e1", 1, [offering("a", ("x", "1.0.0"), ("x", "1.1.0"))], 0.0)
    presence.update("e1", stream, [offering("a", ("x", "1.1.0"), ("y", "1.0.0"))], ())
    assert found(presence, "x", "1.1") == ["a"]
    assert presence.count("acme", "x", Version(1, 0, 0)) == 0
    presence.update("e1", stream, [offering("a")], ())
    assert found(presence, "x", "") == found(presence, "y", "") == []


def test_every_condition_of_a_filter_must_hold():
    presence = make_presence(
        make_agent("a", kind="k", host="h", labels={"zone": "1", "gpu": "yes"}),
        make_agent("b", kind="k", host="h", labels={"zone": "2"}),
        make_agent("c", kind="l", host="i", state=AgentState.DRAINING),
    )
    assert names(presence, Filter(kinds=frozenset({"k", "m"}))) == ["a", "b"]
    assert names(presence, Filter(labels={"zone": "1"})) == ["a"]
    assert names(presence, Filter(labels={"zone": "1", "gpu": "no"})) == []
    assert names(presence, Filter(host="i")) == ["c"]
    assert names(presence, Filter(states=frozenset({2}))) == ["c"]
    assert names(presence, Filter(kinds=frozenset({"k"}), states=frozenset({2}))) == []


def test_pages_follow_each_other_without_gap_or_repeat_while_agents_come_and_go():
    presence = Presence()
    stream = presence.open_stream("e1", 1, [make_agent(f"a{i}") for i in range(10)], 0.0)
    first = presence.page("acme", EVERYTHING, "", 4)
    assert (first.rest, first.total) == (True, 10)
    presence.update("e1", stream, [make_agent("a35")], [(Key("acme", "a3"), "s1")])
    second = presence.page("acme", EVERYTHING, first.agents[-1].key.name, 4)
    assert [agent.key.name for agent in second.agents] == ["a35", "a4", "a5", "a6"]
    last = presence.page("acme", EVERYTHING, "a6", 4)
    assert ([agent.key.name for agent in last.agents], last.rest) == (["a7", "a8", "a9"], False)


def test_the_first_of_many_is_found_without_looking_at_the_others():
    agents = [offering(f"a{i:04}", ("x", "1.0.0")) for i in range(2000)]
    presence = make_presence(*agents, offering("b", ("rare", "1.0.0")))
    lazily = presence.offering("acme", "x", parse_selector("1"))
    assert [agent.key.name for agent in islice(lazily, 2)] == ["a0000", "a0001"]
    assert found(presence, "rare", "1") == ["b"]


# --- changes --------------------------------------------------------------------------------------


def test_changes_tell_what_was_and_what_is():
    presence = Presence(first_revision=100)
    stream = presence.open_stream("e1", 1, [make_agent(kind="old")], 0.0)
    presence.update("e1", stream, [make_agent(kind="new")], [(Key("acme", "a"), "s1")])
    changes = presence.changes_after(100, 10)
    assert changes is not None
    assert [change.revision for change in changes] == [101, 102, 103]
    kinds = [(c.before and c.before.kind, c.after and c.after.kind) for c in changes]
    assert kinds == [(None, "old"), ("old", "new"), ("new", None)]


def test_a_report_that_changes_nothing_is_no_change():
    presence = Presence()
    stream = presence.open_stream("e1", 1, [make_agent()], 0.0)
    before = presence.revision
    presence.update("e1", stream, [make_agent()], [(Key("acme", "nobody"), "s1")])
    assert presence.revision == before


@pytest.mark.parametrize("revision", [0, 99, 104, 10**18])
def test_revisions_from_before_a_restart_or_after_now_have_no_changes(revision: int):
    presence = Presence(first_revision=100)
    presence.open_stream("e1", 1, [make_agent(str(i)) for i in range(3)], 0.0)
    assert presence.changes_after(revision, 10) is None
    assert presence.changes_after(103, 10) == []


def test_only_so_many_changes_are_kept():
    presence = Presence(first_revision=0, changes_max=5)
    presence.open_stream("e1", 1, [make_agent(str(i)) for i in range(9)], 0.0)
    assert presence.changes_after(3, 10) is None
    kept = presence.changes_after(4, 2)
    assert kept is not None
    assert [change.revision for change in kept] == [5, 6]
