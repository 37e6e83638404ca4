from __future__ import annotations

import pytest

from muster.model.states import EventType
from muster.model.subjects import (
    contract_subject,
    is_pattern,
    is_topic,
    matches,
    topic_subject,
)


@pytest.mark.parametrize(
    ("pattern", "subject", "takes"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a", False),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.*.>", "a.b", False),
        (">", "a", True),
        ("a.b.>", "a.c.b", False),
    ],
)
def test_a_pattern_takes_what_nats_would(pattern: str, subject: str, takes: bool) -> None:
    assert matches(pattern, subject) is takes


def test_a_capability_stands_as_it_is_so_that_it_can_be_subscribed_to() -> None:
    subject = contract_subject("acme", EventType.ENDED, "report.write")
    assert subject == "muster.acme.contract.ended.report.write"
    assert matches("muster.acme.contract.ended.report.>", subject)
    assert matches("muster.*.contract.>", subject)
    assert not matches(topic_subject("acme", ">"), subject)


@pytest.mark.parametrize("text", ["a", "a.b", "build-1.done_2", "0"])
def test_a_topic_is_a_pattern_as_well(text: str) -> None:
    assert is_topic(text)
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["*", ">", "a.*", "a.>", "*.b.>"])
def test_a_pattern_with_a_wildcard_is_no_topic(text: str) -> None:
    assert is_pattern(text)
    assert not is_topic(text)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "A", "a b", "a\n", "a.>.b", "a>", "**", "ä", "a" * 129]
)
def test_nothing_else_gets_onto_the_bus(text: str) -> None:
    assert not is_topic(text)
    assert not is_pattern(text)
