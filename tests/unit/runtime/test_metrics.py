"""Labels have few values."""

from muster.runtime.metrics import OTHER, counter, gauge, labelled, largest


def test_beyond_the_bound_the_smaller_ones_are_counted_together():
    counts = {"c": 5, "a": 9, "b": 1, "d": 1}
    assert largest(counts, 4) == {"a": 9, "b": 1, "c": 5, "d": 1}
    assert largest(counts, 2) == {"a": 9, "c": 5, OTHER: 2}
    assert largest({}, 2) == {}


def test_a_label_takes_the_place_of_a_value():
    family = labelled(gauge("x", "text", "kind"), {"a": 1, "b": 2})
    assert [(each.labels, each.value) for each in family.samples] == [
        ({"kind": "a"}, 1),
        ({"kind": "b"}, 2),
    ]
    assert [each.name for each in counter("x", "text", 3).samples] == ["x_total"]
