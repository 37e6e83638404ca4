import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model.fleet import AgentGroup, Fleet, HostJob, Kind, spread

ORIGINAL = {
    "research": 100,
    "processing": 200,
    "analysis": 150,
    "monitoring": 100,
    "coordination": 70,
}


def fleet_of(counts: dict[str, int], hosts: int) -> Fleet:
    kinds = tuple(Kind(name, count, ("my.agents:agent",)) for name, count in counts.items())
    return Fleet("test", hosts, kinds)


counts = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=6), st.integers(1, 300), min_size=1, max_size=6
)


@given(counts, st.integers(1, 20))
def test_every_agent_is_on_exactly_one_host(kinds: dict[str, int], hosts: int) -> None:
    names = [name for job in spread(fleet_of(kinds, hosts)) for name in job.agents]
    assert len(names) == len(set(names)) == sum(kinds.values())


@given(counts, st.integers(1, 20))
def test_hosts_differ_by_one_agent_at_most_in_all_and_in_each_kind(
    kinds: dict[str, int], hosts: int
) -> None:
    jobs = spread(fleet_of(kinds, hosts))
    sizes = [len(job.agents) for job in jobs] + [0] * (hosts - len(jobs))
    assert max(sizes) - min(sizes) <= 1
    for kind in kinds:
        held = [sum(len(g.names) for g in job.groups if g.kind.name == kind) for job in jobs]
        assert max(held) - min(held) <= 1


@given(counts, st.integers(2, 20))
def test_no_host_holds_all_of_a_kind_that_has_two_agents_or_more(
    kinds: dict[str, int], hosts: int
) -> None:
    for job in spread(fleet_of(kinds, hosts)):
        for group in job.groups:
            assert group.kind.count == 1 or len(group.names) < group.kind.count


def test_the_original_fleet_on_eight_hosts_has_77_or_78_agents_on_each() -> None:
    jobs = spread(fleet_of(ORIGINAL, 8))
    assert sorted(len(job.agents) for job in jobs) == [77, 77, 77, 77, 78, 78, 78, 78]
    assert [job.name for job in jobs] == [f"test-{number}" for number in range(1, 9)]


def test_agents_are_called_after_their_kind_with_as_many_digits_as_the_count_has() -> None:
    group = AgentGroup(Kind("research", 100, ("a:b",)), first=7, step=31)
    assert group.names == ["research-007", "research-038", "research-069", "research-100"]


def test_a_host_without_agents_is_not_started() -> None:
    assert len(spread(fleet_of({"one": 2}, 5))) == 2


def test_a_job_comes_back_from_its_text() -> None:
    kind = Kind("text", 3, ("a.b:c", "d.py:e"), 4, "1.2.0", {"tier": "gold"})
    job = HostJob("h-1", (AgentGroup(kind, 1, 2),), 2, ("/somewhere",))
    assert HostJob.from_json(job.to_json()) == job


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"name": "x"}', '{"groups": [1]}'])
def test_anything_else_is_no_job(text: str) -> None:
    with pytest.raises(ValueError, match="this is not a host's job"):
        HostJob.from_json(text)


def test_a_job_of_a_large_fleet_fits_into_an_environment_variable() -> None:
    (job, *_) = spread(fleet_of({f"kind-{n}": 20_000 for n in range(5)}, 2))
    assert len(job.to_json()) < 2_000
    assert json.loads(job.to_json())["name"] == "test-1"
