"""The order in which contracts get agents, and which agents they get."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model import limits
from muster.model.errors import ResourceExhausted
from muster.scheduler.core_sessions import AgentInfo
from muster.scheduler.fleet import LOOKS, RUN_SECONDS
from muster.scheduler.records import Contract
from tests.unit.scheduler.worlds import ONE, World


def serve_all(world: World) -> list[Contract]:
    """Every contract that waits, in the order in which one agent gets them."""
    served = []
    while leased := world.plan():
        [(contract, lease)] = leased
        served.append(contract)
        world.report(contract, lease)
    return served


def test_a_higher_band_goes_first_whatever_came_before() -> None:
    world = World()
    low, normal, critical = (world.submit(f"r{band}", band=band) for band in (1, 2, 4))
    world.host()
    assert serve_all(world) == [critical, normal, low]


def test_keys_of_a_band_take_turns_however_much_one_of_them_asks() -> None:
    world = World()
    for number in range(20):
        world.submit(f"greedy-{number}", share="greedy")
    for number in range(3):
        world.submit(f"modest-{number}", share="modest")
    world.host()
    shares = [contract.share for contract in serve_all(world)]
    assert Counter(shares[:6]) == {"greedy": 3, "modest": 3}


def test_a_key_cannot_save_up_turns_while_it_asks_for_nothing() -> None:
    world = World()
    world.host()
    for number in range(10):
        world.submit(f"early-{number}", share="busy")
    serve_all(world)
    for share in ("busy", "idle"):
        for number in range(4):
            world.submit(f"late-{share}-{number}", share=share)
    shares = [contract.share for contract in serve_all(world)]
    assert Counter(shares[:4]) == {"busy": 2, "idle": 2}


def test_shares_are_counted_over_all_capabilities_of_an_agent() -> None:
    world = World()
    for number in range(10):
        world.submit(f"a{number}", share="two", capability="echo" if number % 2 else "sum")
    for number in range(10):
        world.submit(f"b{number}", share="one")
    world.host(offers=["echo", "sum"])
    shares = [contract.share for contract in serve_all(world)]
    assert Counter(shares[:10]) == {"two": 5, "one": 5}


def test_deeper_contracts_of_a_key_go_before_roots_that_came_earlier() -> None:
    world = World()
    world.host("s0", ["parent"], offers=["sum"], name="h0")
    parent = world.submit("parent", capability="sum")
    world.plan()
    root = world.submit("root")
    child = world.child(parent)
    world.host()
    assert serve_all(world) == [child, root]


def test_contracts_of_a_key_go_in_the_order_in_which_they_were_accepted() -> None:
    world = World()
    submitted = [world.submit(f"r{number}") for number in range(30)]
    world.host()
    assert serve_all(world) == submitted


def test_a_lane_without_agents_holds_up_no_other() -> None:
    world = World()
    world.submit("stuck", capability="nobody", band=4)
    free = world.submit("free")
    world.host()
    assert serve_all(world) == [free]


def test_a_contract_goes_only_to_an_agent_of_its_tenant() -> None:
    world = World()
    world.host(tenant="other")
    world.submit()
    assert world.plan() == []


def test_a_selector_is_held_to() -> None:
    world = World()
    world.host()
    newer = world.submit("newer", selector="2")
    assert world.plan() == []
    version = ONE._replace(major=2)
    world.sessions.attach("s1", AgentInfo("a2", "kind", 1, {"echo": [version]}))
    assert [contract for contract, _ in world.plan()] == [newer]


def test_a_few_contracts_are_spread_over_idle_hosts() -> None:
    world = World()
    for number in range(4):
        agents = [f"a{number}-{n}" for n in range(10)]
        world.host(f"s{number}", agents, name=f"h{number}")
    for number in range(4):
        world.submit(f"r{number}")
    hosts = Counter(lease.host for _, lease in world.plan())
    assert hosts == {"h0": 1, "h1": 1, "h2": 1, "h3": 1}


def longest_run(world: World, count: int, prefix: str) -> tuple[int, Counter[str]]:
    """How many in a row went to one host, and how many to each."""
    for number in range(count):
        world.submit(f"{prefix}{number}")
    hosts = [lease.host for _, lease in world.plan()]
    return max(len(list(run)) for _, run in groupby(hosts)), Counter(hosts)


def test_hosts_that_work_fast_get_runs_and_stay_about_even() -> None:
    world = World()
    for number in range(4):
        agents = [f"a{number}-{n}" for n in range(100)]
        world.host(f"s{number}", agents, name=f"h{number}")
    world.pass_time(0.5)
    run, hosts = longest_run(world, 200, "slow")
    assert (run, hosts.most_common(1)[0][1]) == (1, 50)
    for contract in list(world.core.contracts.values()):
        assert contract.lease is not None
        world.report(contract, contract.lease)
    world.pass_time(0.5)
    run, hosts = longest_run(world, 200, "fast")
    assert 4 < run <= 50 * RUN_SECONDS / 0.5 + 4
    assert max(hosts.values()) <= 1.6 * min(hosts.values())


def test_a_host_that_reads_nothing_is_offered_only_so_many_bytes() -> None:
    world = World()
    world.host(agents=["a1"], window=100)
    size = limits.HOST_OFFERED_BYTES_MAX // 4
    for number in range(8):
        world.submit(f"r{number}", size=size)
    offered = world.plan()
    assert len(offered) == 4
    contract, lease = offered[0]
    world.attempts.accept(lease.session_id, contract.id, lease.epoch)
    [(_, fifth)] = world.plan()
    world.report(*offered[1])
    assert len(world.plan()) == 1
    assert not fifth.accepted


def test_open_requests_take_only_so_many_bytes() -> None:
    world = World()
    first = world.submit("r1", size=limits.OPEN_BYTES_MAX - 1)
    with pytest.raises(ResourceExhausted, match="1024 MiB"):
        world.submit("r2", size=2)
    world.core.cancel(world.now, first.id, "default", "")
    world.submit("r2", size=2)
    assert world.core.open_bytes == 2


def test_roots_wait_while_too_much_is_suspended_and_children_do_not() -> None:
    world = World()
    world.host(agents=["a1", "a2"])
    parent = world.submit("parent")
    [(_, lease)] = world.plan()
    world.start(parent, lease)
    world.attempts.suspend(world.now, "s1", parent.id, lease.epoch)
    world.core.placing.suspended["default"] = limits.SUSPENDED_MAX
    root, child = world.submit("root"), world.child(parent)
    [(leased, child_lease)] = world.plan()
    assert leased is child
    world.report(child, child_lease)
    world.core.placing.suspended["default"] = limits.SUSPENDED_MAX
    world.attempts.resume(world.now, "s1", parent.id, lease.epoch)
    assert [contract for contract, _ in world.plan()] == [root]


@given(
    busy=st.integers(0, 3 * LOOKS),
    idle_host=st.integers(0, 2 * LOOKS),
    hosts=st.integers(1, 2 * LOOKS + 1),
)
def test_the_only_feasible_agent_among_many_is_found(busy: int, idle_host: int, hosts: int) -> None:
    """Nothing else happens: one plan must find it."""
    world = World()
    for number in range(hosts):
        agents = [f"a{number}-{n}" for n in range(1 + busy // hosts)]
        world.host(f"s{number}", agents, name=f"h{number}")
    world.core.fleet.pool(("default", "echo", "1"))  # all were free when it was made
    everyone = [agent for host in world.core.fleet.hosts.values() for agent in host.agents.values()]
    chosen = world.core.fleet.hosts[f"s{idle_host % hosts}"].agents[f"a{idle_host % hosts}-0"]
    for agent in everyone:
        if agent is not chosen:
            world.core.fleet.take(agent)
    contract = world.submit()
    assert [(c, lease.agent) for c, lease in world.plan()] == [(contract, chosen.name)]


def test_what_many_agents_have_failed_still_finds_one_that_has_not() -> None:
    world = World()
    world.host(agents=[f"a{n}" for n in range(3 * LOOKS)])
    contract = world.submit()
    contract.excluded = {f"a{n}" for n in range(3 * LOOKS - 1)}
    [(_, lease)] = world.plan()
    assert lease.agent == f"a{3 * LOOKS - 1}"
