"""How many hosts a group should have: bounds, no flapping, up at once and down slowly."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model import limits
from muster.model.scaling import Demand, HostLoad, Scaler, ScalingRules, free_number, leaving

LOOK = limits.SCALING_LOOK_SECONDS
CALM = 20.0


def rules_of(least: int = 1, most: int = 8, slots: int = 4) -> ScalingRules:
    return ScalingRules(least, most, slots, wait_seconds=1.0, calm_seconds=CALM)


class Group:
    """A group that does at once what is decided, and a clock."""

    def __init__(self, rules: ScalingRules, hosts: int | None = None) -> None:
        self.scaler = Scaler(rules)
        self.hosts = rules.hosts_min if hosts is None else hosts
        self.now = 1_000.0

    def look(self, demand: Demand, after: float = LOOK) -> int:
        self.now += after
        self.hosts = self.scaler.decide(self.now, demand, self.hosts)
        return self.hosts

    def look_for(self, seconds: float, demand: Demand) -> list[int]:
        return [self.look(demand) for _ in range(math.ceil(seconds / LOOK))]


def waiting(queued: int, active: int = 0, seconds: float = 5.0) -> Demand:
    return Demand(queued, active, oldest_wait_seconds=seconds)


def test_when_contracts_wait_too_long_there_are_at_once_as_many_hosts_as_they_take_up() -> None:
    group = Group(rules_of())
    assert group.look(waiting(13, 4)) == 5
    # While those start, looking again asks for no more.
    assert group.look_for(10, waiting(13, 4)) == [5] * 10


def test_many_that_hardly_wait_are_no_reason_for_more_hosts() -> None:
    group = Group(rules_of())
    assert group.look(waiting(1_000, seconds=0.2)) == 1
    assert group.look(waiting(1_000, seconds=1.0)) == 8


def test_long_waits_that_hosts_cannot_help_are_no_reason_either() -> None:
    # Three wait, and of the eight slots five are free: it is not hosts that they wait for.
    group = Group(rules_of(), hosts=2)
    assert group.look(waiting(3, 3, seconds=100.0)) == 2


def test_a_group_of_nobody_grows_with_the_first_contract() -> None:
    group = Group(rules_of(least=0))
    assert group.look(Demand()) == 0
    assert group.look(waiting(1, seconds=0.0)) == 1


def test_what_is_not_needed_leaves_a_few_at_a_time_once_it_has_been_calm_for_long() -> None:
    group = Group(rules_of(least=0), hosts=8)
    seen = group.look_for(CALM, Demand())
    assert set(seen) == {8}
    down = group.look_for(60, Demand())
    assert sorted(set(down), reverse=True) == [6, 5, 4, 3, 2, 1, 0]
    assert down == sorted(down, reverse=True)


def test_one_busy_moment_in_the_calm_period_keeps_its_hosts() -> None:
    group = Group(rules_of(), hosts=6)
    group.look_for(CALM / 2, Demand(active=1))
    group.look(Demand(active=16))
    assert set(group.look_for(CALM - LOOK, Demand(active=1))) == {6}
    assert group.look_for(CALM, Demand(active=1))[-1] < 6


def test_hosts_whose_attempts_wait_for_children_stay() -> None:
    group = Group(rules_of(), hosts=4)
    assert set(group.look_for(CALM * 3, Demand(suspended=11))) == {4}


def test_what_happened_while_nobody_looked_is_not_taken_for_calm() -> None:
    group = Group(rules_of(), hosts=4)
    group.look_for(CALM - 2 * LOOK, Demand())
    assert group.look(Demand(), after=limits.SCALING_GAP_SECONDS + 1.0) == 4
    assert set(group.look_for(CALM - LOOK, Demand())) == {4}
    assert group.look_for(LOOK * 2, Demand())[-1] == 3


@pytest.mark.parametrize(("hosts", "wanted"), [(0, 2), (1, 2), (2, 2), (5, 5), (9, 5)])
def test_bounds_are_kept_at_once(hosts: int, wanted: int) -> None:
    assert Scaler(rules_of(2, 5)).decide(0.0, Demand(), hosts) == wanted


@pytest.mark.parametrize("bounds", [(2, 1, 4), (-1, 1, 4), (0, 0, 4), (1, 2, 0)])
def test_rules_that_contradict_themselves_are_refused(bounds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="hosts of"):
        ScalingRules(*bounds)


def test_the_idlest_leave_first_and_of_equals_the_newest() -> None:
    hosts = [HostLoad(1, 3), HostLoad(2, 0), HostLoad(3, 2), HostLoad(4, 0), HostLoad(5, 2)]
    assert leaving(hosts, 0) == []
    assert leaving(hosts, 3) == [4, 2, 5]
    assert leaving([*hosts, HostLoad(6, 0, connected=False)], 1) == [6]
    assert leaving(hosts, 9) == [4, 2, 5, 3, 1]


def test_numbers_that_are_free_are_used_again() -> None:
    assert [free_number(taken) for taken in ((), (1, 2), (2, 3), (1, 3))] == [1, 3, 1, 2]


# --- whatever the load does -----------------------------------------------------------------------

demands = st.builds(
    Demand,
    queued=st.integers(0, 60),
    active=st.integers(0, 60),
    suspended=st.integers(0, 20),
    oldest_wait_seconds=st.floats(0.0, 10.0),
)
some_rules = st.builds(
    lambda least, more, slots: ScalingRules(least, least + more, slots, 1.0, CALM),
    st.integers(0, 4),
    st.integers(1, 8),
    st.integers(1, 8),
)
looks = st.lists(st.tuples(demands, st.floats(0.1, 30.0)), min_size=1, max_size=80)


@given(some_rules, looks)
def test_the_bounds_hold_after_every_look(
    rules: ScalingRules, seen: list[tuple[Demand, float]]
) -> None:
    group = Group(rules)
    for demand, after in seen:
        assert rules.hosts_min <= group.look(demand, after) <= rules.hosts_max


@given(some_rules, looks)
def test_nothing_leaves_sooner_than_a_calm_period_after_something_came(
    rules: ScalingRules, seen: list[tuple[Demand, float]]
) -> None:
    group, grown_at = Group(rules), -math.inf
    for demand, after in seen:
        before = group.hosts
        now = group.look(demand, after)
        if now > before:
            grown_at = group.now
        if now < before:
            assert group.now - grown_at >= rules.calm_seconds


@given(some_rules, looks)
def test_what_leaves_leaves_room_for_all_that_was_seen_in_the_calm_period(
    rules: ScalingRules, seen: list[tuple[Demand, float]]
) -> None:
    group, history = Group(rules), list[tuple[float, Demand]]()
    for demand, after in seen:
        before = group.hosts
        now = group.look(demand, after)
        history.append((group.now, demand))
        if now < before:
            since = group.now - rules.calm_seconds
            loads = [each.queued + each.active for at, each in history if at >= since]
            assert max(loads) <= now * rules.slots


@given(some_rules, demands, st.integers(0, 12))
def test_under_the_same_load_it_changes_in_one_direction_and_then_never_again(
    rules: ScalingRules, demand: Demand, hosts: int
) -> None:
    group = Group(rules, hosts=min(max(hosts, rules.hosts_min), rules.hosts_max))
    seen = [group.hosts, *group.look_for(CALM * 6, demand)]
    assert seen in (sorted(seen), sorted(seen, reverse=True))
    settled = seen[-1]
    assert set(group.look_for(CALM * 2, demand)) == {settled}


@given(some_rules, st.integers(1, 60), st.integers(0, 60))
def test_who_waits_too_long_gets_every_host_that_the_load_takes_up(
    rules: ScalingRules, queued: int, active: int
) -> None:
    group = Group(rules)
    needed = math.ceil((queued + active) / rules.slots)
    assert group.look(waiting(queued, active)) >= min(needed, rules.hosts_max)
