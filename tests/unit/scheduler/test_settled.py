"""How far back there is nothing open."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from muster.model import limits
from muster.model.ids import IdMaker, shard_of_id
from muster.model.ledger import Settled
from muster.scheduler.settled import settled_marks


def test_where_nothing_is_open_everything_made_so_far_is_settled() -> None:
    assert settled_marks({3: 500, 4: 600}, []) == {3: Settled(500, []), 4: Settled(600, [])}


def test_only_so_many_are_named_and_the_next_one_is_the_mark() -> None:
    ids = IdMaker()
    numbers = [ids.make(7, 2_000_000_000_000) for _ in range(limits.SETTLED_OPEN_MAX + 3)]
    (mark,) = settled_marks({7: ids.bound(7)}, reversed(numbers)).values()
    assert mark.open == numbers[: limits.SETTLED_OPEN_MAX]
    assert mark.before == numbers[limits.SETTLED_OPEN_MAX]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=1, max_size=60
    ),
    st.integers(0, 4),
)
def test_whatever_is_open_is_named_or_beyond_the_mark_and_so_is_what_is_made_later(
    made: list[tuple[int, int, bool]], most: int
) -> None:
    ids, now = IdMaker(), 2_000_000_000_000
    everything: dict[int, bool] = {}
    for shard, passed, is_open in made:
        now += passed
        everything[ids.make(shard, now)] = is_open
    open_ids = [number for number, is_open in everything.items() if is_open]
    owned = {0, 1, 2}
    before, limits.SETTLED_OPEN_MAX = limits.SETTLED_OPEN_MAX, most
    try:
        marks = settled_marks({shard: ids.bound(shard) for shard in owned}, open_ids)
    finally:
        limits.SETTLED_OPEN_MAX = before
    assert marks.keys() == owned
    for number, is_open in everything.items():
        if (shard := shard_of_id(number)) in owned:
            named = number in marks[shard].open
            assert named == (is_open and number < marks[shard].before)
    for shard in owned:
        assert ids.make(shard, 0) >= marks[shard].before
        assert len(marks[shard].open) <= most
