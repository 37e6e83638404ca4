"""A test whose failpoint is never reached fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.failpoints import FailpointError
from muster.failpoints.arming import Armed
from tests.support.failpoints import failing


def reach(environment: dict[str, str], name: str) -> None:
    """What a process does that was started with this environment, and comes to `name`."""
    place = Armed.from_environment(environment).at(name, FailpointError)(int)
    with pytest.raises(FailpointError):
        place()


def test_a_failpoint_that_acted_is_fine(tmp_path: Path) -> None:
    with failing("drain=error", tmp_path) as armed:
        assert armed.missed() == ["drain"]
        reach(armed.environment, "drain")
        reach(armed.environment, "drain")
    assert armed.hits("drain") == 2


def test_one_that_was_never_reached_fails_the_test(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"^never reached: report_unsent$"),
        failing("drain=error,report_unsent=error", tmp_path) as armed,
    ):
        reach(armed.environment, "drain")


def test_a_failure_of_the_test_itself_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(LookupError), failing("drain=error", tmp_path):
        raise LookupError
