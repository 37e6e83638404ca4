"""When, and how soon, a failed attempt is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model import limits
from muster.model.retry import DEFAULT_RETRY, RetryPolicy

# What the wire takes; see muster.v1.RetryPolicy.
policies = st.builds(
    RetryPolicy,
    maximum_attempts=st.integers(1, 100),
    initial_seconds=st.floats(0, 86400),
    coefficient=st.floats(0, 100),
    maximum_seconds=st.floats(0, 86400),
)
failures = st.integers(1, 10_000)


def test_pauses_double_up_to_their_limit() -> None:
    pauses = [DEFAULT_RETRY.pause_seconds(count) for count in range(1, 10)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, limits.RETRY_MAX_SECONDS]


@given(policies, failures, st.floats(0, 86400))
def test_a_pause_is_never_shorter_than_asked_nor_otherwise_than_allowed(
    policy: RetryPolicy, count: int, asked: float
) -> None:
    pause = policy.pause_seconds(count, asked)
    assert asked <= pause <= max(asked, policy.maximum_seconds)


@given(policies, failures)
def test_pauses_do_not_shrink_while_the_coefficient_is_at_least_one(
    policy: RetryPolicy, count: int
) -> None:
    if policy.coefficient >= 1.0:
        assert policy.pause_seconds(count) <= policy.pause_seconds(count + 1)


@given(policies, failures)
def test_so_many_attempts_and_no_more_may_fail(policy: RetryPolicy, count: int) -> None:
    allowed = policy.allows(count, "ANY", permanent=False)
    assert allowed is (count < policy.maximum_attempts)


@given(policies, failures)
def test_what_is_permanent_is_not_tried_again(policy: RetryPolicy, count: int) -> None:
    assert not policy.allows(count, "ANY", permanent=True)


@pytest.mark.parametrize(("code", "allowed"), [("HOPELESS", False), ("HOPELESSLY", True)])
def test_a_code_can_be_named_as_not_worth_a_retry(code: str, allowed: bool) -> None:
    policy = RetryPolicy(non_retryable_codes=frozenset({"HOPELESS"}))
    assert policy.allows(1, code, permanent=False) is allowed
