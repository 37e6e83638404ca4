"""Who may compute."""

from hypothesis import given
from hypothesis import strategies as st

from muster.agent.workers.slots import Slots


def test_slots_go_to_the_deepest_and_then_to_the_first() -> None:
    slots = Slots(2, 10)
    for who, depth in (("root 1", 0), ("root 2", 0), ("deep 1", 2), ("deep 2", 2)):
        slots.ask(who, depth)
    assert slots.admit() == ["deep 1", "deep 2"]
    slots.release()
    assert slots.admit() == ["root 1"]


def test_who_waits_for_children_leaves_a_slot_and_takes_it_back_without_asking() -> None:
    slots = Slots(1, 10)
    slots.ask("parent", 0)
    slots.ask("other", 0)
    assert slots.admit() == ["parent"]
    slots.suspend(0)
    assert slots.admit() == ["other"]
    slots.resume(0)
    assert slots.active == 2
    slots.ask("third", 0)
    slots.release()
    assert slots.admit() == []
    slots.release()
    assert slots.admit() == ["third"]


def test_past_the_bound_only_deeper_ones_start() -> None:
    slots = Slots(1, 2)
    for who in range(3):
        slots.ask(who, 0)
    for _ in range(2):
        assert len(slots.admit()) == 1
        slots.suspend(0)
    assert slots.admit() == []
    slots.ask("child", 1)
    assert slots.admit() == ["child"]


def test_who_withdraws_gets_nothing() -> None:
    slots = Slots(1, 10)
    slots.ask("a", 0)
    slots.ask("b", 0)
    slots.withdraw("a")
    assert slots.admit() == ["b"]


@given(
    size=st.integers(1, 3),
    suspended_max=st.integers(0, 3),
    widths=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    roots=st.integers(1, 5),
)
def test_trees_of_delegation_always_finish(
    size: int, suspended_max: int, widths: list[int], roots: int
) -> None:
    """Each attempt asks for as many children as its level says, waits for all, and ends."""
    slots = Slots(size, suspended_max)
    waiting_for: dict[tuple[int, ...], int] = {}
    for root in range(roots):
        slots.ask((root,), 0)
    ended = 0

    def end(who: tuple[int, ...]) -> None:
        nonlocal ended
        ended += 1
        slots.release()
        parent = who[:-1]
        if parent:
            waiting_for[parent] -= 1
            if not waiting_for[parent]:
                slots.resume(len(parent) - 1)
                end(parent)

    while admitted := slots.admit():
        assert slots.suspended <= suspended_max + size * len(widths)
        for who in admitted:
            assert isinstance(who, tuple)
            depth = len(who) - 1
            if depth == len(widths):
                end(who)
                continue
            waiting_for[who] = widths[depth]
            slots.suspend(depth)
            for child in range(widths[depth]):
                slots.ask((*who, child), depth + 1)
    expected, level = 0, roots
    for width in (*widths, 0):
        expected += level
        level *= width
    assert ended == expected
    assert (slots.active, slots.suspended) == (0, 0)
