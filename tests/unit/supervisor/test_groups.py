"""The hosts of one kind: who is there, who leaves, what they are called."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.cli.options import PoolKind
from muster.model.fleet import Fleet, HostJob, Kind, agents_per_host, replica
from muster.model.scaling import Demand
from muster.supervisor.groups import Group, PoolPlan, demands_of
from muster.supervisor.pools import POOLS
from muster.supervisor.presence import Presence
from muster.v1.agent_pb2 import Agent, AgentSpec, AgentState
from muster.v1.capability_pb2 import Capability
from muster.v1.registry_service_pb2 import AgentChange, AgentChangeType, WatchAgentsResponse
from muster.v1.scheduler_service_pb2 import GetStatisticsResponse
from muster.wire.times import duration_of_seconds

KIND = Kind("counter", 6, ("fleet.py:counter",), max_in_flight=2)
FLEET = Fleet("demo", 3, (KIND,))  # two agents a host, and so four slots
PLAN = PoolPlan(FLEET, "demo", Path("/logs"), "subprocess", 1, 4, 1.0, 20.0, 30.0)


def presence_of(*agents: tuple[str, int], kind: str = "counter") -> Presence:
    """Agents by their host, each with so many attempts."""
    presence, frame = Presence(), WatchAgentsResponse(reset=True)
    for number, (host, active) in enumerate(agents):
        spec = AgentSpec(
            name=f"{host}-{number}",
            kind=kind,
            max_in_flight=2,
            capabilities=[Capability(name="demo.count"), Capability(name="demo.sum")],
        )
        agent = Agent(spec=spec, host=host, state=AgentState.AGENT_STATE_READY, active=active)
        frame.changes.append(AgentChange(type=AgentChangeType.AGENT_CHANGE_TYPE_PUT, agent=agent))
    presence.apply(frame)
    return presence


def started(group: Group) -> list[str]:
    return [group.name_of(number) for number in group.to_start()]


LATE = Demand(queued=9, active=3, oldest_wait_seconds=5.0)


def test_the_first_host_comes_also_where_none_is_needed() -> None:
    assert started(Group(replace(PLAN, hosts_min=0), KIND)) == ["demo-counter-1"]
    assert started(Group(replace(PLAN, hosts_min=2), KIND)) == ["demo-counter-1", "demo-counter-2"]


def test_nothing_is_decided_before_somebody_has_said_what_the_kind_can_do() -> None:
    group = Group(PLAN, KIND)
    started(group)
    assert group.look(0.0, {"demo.count": LATE}, Presence()) == 1
    assert group.look(1.0, {"demo.count": LATE}, presence_of(("demo-counter-1", 0))) == 3
    # It is known from now on.
    assert group.look(2.0, {"demo.count": LATE}, Presence()) == 3


def test_all_that_a_kind_can_do_counts_and_nothing_else() -> None:
    group = Group(PLAN, KIND)
    started(group)
    demands = {"demo.count": LATE, "demo.sum": Demand(queued=3), "demo.wait": Demand(queued=99)}
    assert group.look(0.0, demands, presence_of(("demo-counter-1", 0))) == 4
    assert group.demand == Demand(12, 3, 0, 5.0)


def test_what_others_of_the_kind_work_on_is_none_of_its_business() -> None:
    group = Group(PLAN, KIND)
    started(group)
    elsewhere = presence_of(("demo-counter-1", 1), ("other-1", 2), ("other-1", 2))
    demands = {"demo.count": Demand(queued=3, active=5, oldest_wait_seconds=5.0)}
    assert group.look(0.0, demands, elsewhere) == 1
    assert group.demand.active == 1


def test_hosts_that_leave_count_until_they_are_gone() -> None:
    group = Group(replace(PLAN, hosts_max=2), KIND)
    group.wanted = 2
    assert started(group) == ["demo-counter-1", "demo-counter-2"]
    group.wanted = 1
    idle = presence_of(("demo-counter-1", 0), ("demo-counter-2", 1))
    assert group.to_stop(idle) == [1]
    assert (group.staying, group.hosts) == (
        ["demo-counter-2"],
        ["demo-counter-1", "demo-counter-2"],
    )
    group.wanted = 2
    assert started(group) == []
    group.gone(1)
    assert started(group) == ["demo-counter-1"]


def test_a_host_that_can_never_run_is_not_replaced_and_without_any_the_group_is_lost() -> None:
    group = Group(replace(PLAN, hosts_max=2), KIND)
    group.wanted = 2
    started(group)
    group.refused("demo-counter-1")
    assert not group.is_lost
    assert started(group) == []
    group.refused("demo-counter-2")
    assert group.is_lost


def test_when_all_are_to_leave_all_leave_once() -> None:
    group = Group(replace(PLAN, hosts_min=3), KIND)
    started(group)
    assert group.stop_all() == [1, 2, 3]
    assert group.stop_all() == []
    assert group.staying == []


def test_the_schedulers_counts_are_demands() -> None:
    statistics = GetStatisticsResponse()
    row = statistics.capabilities.add(capability="a", queued=4, active=3, suspended=2)
    row.oldest_wait.CopyFrom(duration_of_seconds(1.5))
    statistics.capabilities.add(capability="b", queued=1)
    assert demands_of(statistics) == {"a": Demand(4, 3, 2, 1.5), "b": Demand(1)}


# --- names ----------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 20))
def test_no_two_agents_of_a_pool_have_one_name_and_hosts_are_alike(
    count: int, hosts: int, most: int
) -> None:
    fleet = Fleet("f", hosts, (Kind("k", count, ("a:b",)), Kind("k-1", count, ("a:b",))))
    jobs = [
        replica(fleet, kind, number, most, "east", 8.0)
        for kind in fleet.kinds
        for number in range(1, most + 1)
    ]
    names = [name for job in jobs for name in job.agents]
    assert len(names) == len(set(names))
    assert len({job.name for job in jobs}) == len(jobs)
    assert {len(job.agents) for job in jobs} == {agents_per_host(fleet, fleet.kinds[0])}
    assert all(name.startswith("east-") for name in (*names, *(job.name for job in jobs)))


def test_what_a_host_runs_does_not_depend_on_how_many_others_there_are() -> None:
    job = replica(FLEET, KIND, 2, 8, "demo", 24.0)
    assert (job.name, job.agents) == ("demo-counter-2", ["demo-counter-02", "demo-counter-10"])
    assert HostJob.from_json(job.to_json()) == job


@pytest.mark.parametrize("name", POOLS)
def test_the_command_line_knows_every_pool(name: str) -> None:
    assert PoolKind(name).value == name
    assert len(PoolKind) == len(POOLS)
