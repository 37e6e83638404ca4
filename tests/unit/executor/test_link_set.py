"""Which schedulers an executor is linked to."""

from muster.executor.link_set import LinkSet

A, B, C = {"a": "10.0.0.1:1"}, {"b": "10.0.0.2:1"}, {"c": "10.0.0.3:1"}


def test_what_was_configured_stays_whoever_answers():
    links = LinkSet(["one:1", "two:1"])
    assert links.wanted() == {"one:1", "two:1"}
    links.welcomed("one:1", "a", A)
    assert links.wanted() == {"one:1", "two:1"}
    links.lost("one:1")
    assert links.wanted() == {"one:1", "two:1"}


def test_schedulers_that_others_know_of_are_linked_too():
    links = LinkSet(["one:1"])
    links.welcomed("one:1", "a", A | B)
    assert links.wanted() == {"one:1", "10.0.0.2:1"}
    links.welcomed("10.0.0.2:1", "b", A | B | C)
    assert links.wanted() == {"one:1", "10.0.0.2:1", "10.0.0.3:1"}


def test_a_scheduler_that_has_left_is_dialled_no_more():
    links = LinkSet(["one:1"])
    links.welcomed("one:1", "a", A | B)
    links.wanted()
    links.welcomed("10.0.0.2:1", "b", A | B)
    links.lost("10.0.0.2:1")
    assert links.wanted() == {"one:1", "10.0.0.2:1"}
    links.welcomed("one:1", "a", A)
    assert links.wanted() == {"one:1"}


def test_while_nobody_answers_nothing_is_given_up():
    links = LinkSet(["one:1"])
    links.welcomed("one:1", "a", A | B)
    links.wanted()
    links.lost("one:1")
    assert links.wanted() == {"one:1", "10.0.0.2:1"}


def test_a_scheduler_has_one_link_whatever_it_is_called():
    links = LinkSet(["one:1", "two:1"])
    links.welcomed("one:1", "a", A | B)
    assert links.wanted() == {"one:1", "two:1", "10.0.0.2:1"}
    links.welcomed("10.0.0.2:1", "b", A | B)
    links.welcomed("two:1", "b", A | B)
    assert links.wanted() == {"one:1", "two:1"}


def test_a_scheduler_that_moved_is_found_at_its_new_place():
    links = LinkSet(["one:1"])
    links.welcomed("one:1", "a", A | B)
    links.wanted()
    links.welcomed("10.0.0.2:1", "b", A | B)
    links.lost("10.0.0.2:1")
    links.welcomed("one:1", "a", A | {"b": "10.0.0.9:1"})
    assert links.wanted() == {"one:1", "10.0.0.9:1"}


def test_schedulers_of_the_directory_are_linked_also_where_none_was_configured():
    links = LinkSet([])
    assert links.wanted() == set()
    links.found(A)
    assert links.wanted() == {"10.0.0.1:1"}
    links.welcomed("10.0.0.1:1", "a", A | B)
    assert links.wanted() == {"10.0.0.1:1", "10.0.0.2:1"}


def test_a_link_that_stands_is_kept_whatever_the_directory_says():
    links = LinkSet([])
    links.found(A | B)
    links.wanted()
    links.welcomed("10.0.0.1:1", "a", {})
    links.found({})
    assert links.wanted() == {"10.0.0.1:1"}
    links.found({"a": "10.0.0.9:1"})
    assert links.wanted() == {"10.0.0.1:1"}


def test_while_the_directory_knows_nothing_and_nobody_answers_nothing_is_given_up():
    links = LinkSet([])
    links.found(A)
    links.wanted()
    links.welcomed("10.0.0.1:1", "a", {})
    links.lost("10.0.0.1:1")
    for found in ({}, B):
        links.found(found)
        assert "10.0.0.1:1" in links.wanted()
    links.found({"a": "10.0.0.9:1"})  # it came back elsewhere
    assert links.wanted() == {"10.0.0.9:1", "10.0.0.2:1"}


def test_a_found_scheduler_that_was_configured_by_another_name_has_one_link():
    links = LinkSet(["localhost:1"])
    links.found(A)
    assert links.wanted() == {"localhost:1", "10.0.0.1:1"}
    links.welcomed("10.0.0.1:1", "a", {})
    links.welcomed("localhost:1", "a", {})
    assert links.wanted() == {"localhost:1"}
