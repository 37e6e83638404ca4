"""What a command line says of a schedule, as a spec; and a spec as people read it."""

from __future__ import annotations

import pytest

from muster.cli.exits import Trouble
from muster.cli.schedule_spec import (
    ScheduleOptions,
    What,
    When,
    action_line,
    length,
    spec_of,
    times_line,
)
from muster.v1.schedule_pb2 import OverlapPolicy
from muster.v1.workflow_run_pb2 import EngineKind

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "0.2s"), (1, "1s"), (90, "1m30s"), (600, "10m"), (5_400, "1h30m"), (86_400, "1d")],
)
def test_a_chosen_duration_is_told_as_it_is_written(seconds: float, expected: str) -> None:
    assert length(seconds) == expected


def test_a_contract_is_scheduled_with_all_that_is_said_of_it() -> None:
    when = When(cron="0 9 * * *", time_zone="Europe/Berlin", jitter="5m", limit=3)
    what = What(call="text.say", words=["n:=1"], timeout="1m", labels=["a=b"], version="2")
    spec = spec_of(ScheduleOptions(when, what, "cancel", 4, "1h", "why"))
    assert (spec.limit, spec.queue_max, spec.note) == (3, 4, "why")
    assert spec.overlap == OverlapPolicy.OVERLAP_POLICY_CANCEL
    assert spec.catch_up_window.seconds == 3_600
    contract = spec.action.contract
    assert contract.request.payload.json == '{"n":1}'
    assert (contract.timeout.seconds, contract.request.labels["a"]) == (60, "b")
    assert times_line(spec, NOW) == "cron 0 9 * * * (Europe/Berlin)"
    assert action_line(spec.action) == "text.say"


def test_a_run_is_scheduled_on_an_engine() -> None:
    what = What(workflow="flow", words=['{"a": 1}'], version="7", engine="temporal")
    spec = spec_of(ScheduleOptions(When(every="90s"), what))
    assert spec.action.run.engine == EngineKind.ENGINE_KIND_TEMPORAL
    assert spec.action.run.input.json == '{"a":1}'
    assert (times_line(spec, NOW), action_line(spec.action)) == ("every 1m30s", "workflow flow v7")


@pytest.mark.parametrize(
    ("when", "what", "said"),
    [
        (When(), What(call="a"), "say when"),
        (When(every="1s", at="2s"), What(call="a"), "say when"),
        (When(every="1s"), What(call="a", workflow="b"), "say what"),
        (When(every="1s"), What(workflow="b", version="x"), "is a number"),
        (When(every="1s"), What(workflow="b", engine="cloud"), "local or temporal"),
        (When(every="1s", start="someday"), What(call="a"), "neither like 10m"),
    ],
)
def test_what_is_wrong_is_named(when: When, what: What, said: str) -> None:
    with pytest.raises(Trouble, match=said):
        spec_of(ScheduleOptions(when, what))
