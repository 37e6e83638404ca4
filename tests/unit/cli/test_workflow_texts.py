"""What is said of runs: pages, lists, lines of a journal, plans."""

from __future__ import annotations

import io
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from rich.console import Console

from muster.cli.exits import Trouble
from muster.cli.workflow_boxes import STEPS_DRAWN_MAX, drawn
from muster.cli.workflow_input import run_input
from muster.cli.workflow_page import Page, page_parts
from muster.cli.workflow_runs import run_states_of
from muster.cli.workflow_states import SIGNS, step_detail
from muster.cli.workflow_view import live_lines
from muster.cli.workflow_watch import line_of
from muster.v1.payload_pb2 import Payload
from muster.v1.response_pb2 import Failure
from muster.v1.workflow_run_pb2 import (
    ENGINE_KIND_LOCAL,
    RUN_STATE_FAILED,
    RUN_STATE_RUNNING,
    RUN_STATE_SUCCEEDED,
    ItemEnded,
    RunEnded,
    RunEvent,
    RunSignalled,
    RunStarted,
    RunState,
    StepBegun,
    StepRun,
    StepState,
    WorkflowRun,
)
from muster.wire.times import timestamp_of_seconds

NOW = 1_800_000_000.0
RUN = "0" * 15 + "1"


def step(
    name: str,
    state: str,
    *after: str,
    began: float | None = None,
    took: float | None = None,
    **rest: Any,
) -> StepRun:
    """A step that began so many seconds ago, and took so long."""
    made = StepRun(
        name=name, state=StepState.Value(f"STEP_STATE_{state}"), depends_on=after, **rest
    )
    if began is not None:
        made.start_time.CopyFrom(timestamp_of_seconds(NOW - began))
        if took is not None:
            made.end_time.CopyFrom(timestamp_of_seconds(NOW - began + took))
    return made


def failed(code: str, message: str = "") -> Failure:
    return Failure(code=code, message=message)


STEPS = [
    step("plan", "SUCCEEDED", began=20, took=1.25, items_total=1, action="a.plan"),
    step(
        "article",
        "RUNNING",
        "plan",
        began=12.4,
        items_total=100,
        items_succeeded=35,
        items_failed=2,
        action="item",
    ),
    step("approve", "WAITING", "plan", began=65, action="gate"),
    step("picture", "FAILED", "plan", began=9, took=1, failure=failed("ATTEMPT_TIMEOUT")),
    step("reserve", "SUCCEEDED", "plan", began=9, took=1, compensated=True),
    step("translate", "SKIPPED", "article"),
    step("index", "PENDING", "article", "approve", "picture", action="a.index"),
    step("upload", "CANCELLED", "index"),
]


def run(
    steps: list[StepRun], state: RunState.ValueType = RUN_STATE_RUNNING, **rest: Any
) -> WorkflowRun:
    return WorkflowRun(
        id=RUN,
        workflow="content",
        version=3,
        engine=ENGINE_KIND_LOCAL,
        state=state,
        principal="ann",
        start_id="mine",
        steps=steps,
        start_time=timestamp_of_seconds(NOW - 30),
        deadline=timestamp_of_seconds(NOW + 3600),
        **rest,
    )


def looks(text: Any, wanted: str) -> None:
    assert [line.rstrip() for line in str(text).splitlines()] == dedent(wanted).strip(
        "\n"
    ).splitlines()


def test_every_state_is_drawn_so_that_it_is_readable_without_colour() -> None:
    looks(
        drawn(STEPS, 80, NOW),
        """
                                       ┌────────────────┐
                                       │ ✓ plan         │
                                       │ 1.25 s         │
                                       └────────┬───────┘
                  ╭───────────────────┬─────────┴─────────┬───────────────────╮
         ┌────────┴───────┐  ┌────────┴───────┐  ┌────────┴───────┐  ┌────────┴───────┐
         │ ▶ article      │  │ ? approve      │  │ ✗ picture      │  │ ↺ reserve      │
         │ 37/100 2✗      │  │ asks 1m 05s    │  │ ATTEMPT_TIMEO… │  │ undone         │
         └───────┬─┬──────┘  └────────┬───────┘  └────────┬───────┘  └────────────────┘
                 │ ╰──────────────────┼───────────────────╯
        ┌────────┴───────┐   ┌────────┴───────┐
        │ ↷ translate    │   │ · index        │
        │ skipped        │   │ a.index        │
        └────────────────┘   └────────┬───────┘
                             ┌────────┴───────┐
                             │ – upload       │
                             │ cancelled      │
                             └────────────────┘
        · pending  ▶ running  ? waiting  ✓ succeeded  ✗ failed  ↷ skipped  – cancelled
        ↺ undone
        """,
    )


def test_every_state_has_a_sign_of_its_own_in_ascii_too() -> None:
    looks(
        drawn(STEPS[:4], 80, NOW, ascii_only=True),
        """
                            +----------------+
                            | + plan         |
                            | 1.25 s         |
                            +--------+-------+
                 +-------------------+-------------------+
        +--------+-------+  +--------+-------+  +--------+-------+
        | > article      |  | ? approve      |  | x picture      |
        | 37/100 2x      |  | asks 1m 05s    |  | ATTEMPT_TIMEO. |
        +----------------+  +----------------+  +----------------+
        > running  ? waiting  + succeeded  x failed
        """,
    )
    for at in (0, 1):
        assert len({signs[at] for signs in SIGNS.values()}) == len(SIGNS)
    names = {each.removeprefix("STEP_STATE_").lower() for each in StepState.keys()}  # noqa: SIM118
    assert names - {"unspecified"} <= SIGNS.keys()


def test_colours_are_those_of_the_states() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(drawn(STEPS, 80, NOW))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[32m│ ✓ plan " in shown
    assert "\x1b[31m│ ✗ picture " in shown


def test_what_has_no_place_as_a_picture_is_a_list() -> None:
    listed = str(drawn(STEPS, 80, NOW, height=5)).splitlines()
    assert listed[0].split() == ["✓", "plan", "1.25", "s"]
    assert listed[1].split() == ["▶", "article", "37/100", "2✗", "12.4", "s", "after", "plan"]
    many = [step(f"s{n}", "PENDING") for n in range(STEPS_DRAWN_MAX + 1)]
    assert str(drawn(many, 80, NOW)).splitlines()[0].split() == ["·", "s0"]


def test_a_picture_keeps_its_shape_while_steps_change() -> None:
    before = [step("a", "PENDING"), step("b", "PENDING", "a")]
    after = [
        step("a", "FAILED", failure=failed("SOMETHING_RATHER_LONG"), began=1, took=1),
        step("b", "RUNNING", "a", items_total=5000, items_failed=999, began=5),
    ]
    one, other = (str(drawn(each, 80, NOW)).splitlines()[:8] for each in (before, after))
    assert [len(line) for line in one] == [len(line) for line in other]


def test_what_matters_less_is_left_out_of_a_box() -> None:
    article = STEPS[1]
    assert step_detail(article, NOW) == "37/100 2✗ 12.4 s"
    assert step_detail(article, NOW, 14) == "37/100 2✗"
    assert step_detail(article, NOW, 7) == "37/100"


def page(run: WorkflowRun, **rest: Any) -> str:
    return "\n".join(map(str, page_parts(Page(run, **rest), NOW, 80, ascii_only=False)))


def test_the_page_tells_why_what_now_and_where_it_came_from() -> None:
    picture = step("picture", "FAILED", items_total=3, items_failed=2, items_succeeded=1)
    for index in (0, 2):
        picture.items.add(
            index=index, failure=failed("BLURRED", "not sharp"), contract_id=f"{index:016x}"
        )
    said = page(
        run(
            [
                picture,
                step("told", "WAITING", action="wait"),
                step("ok", "WAITING", action="gate", revision=2),
            ],
            RUN_STATE_RUNNING,
            forked_from="f" * 16,
            forked_step="picture",
            parent_id="e" * 16,
            parent_step="article",
            revision=2,
            input=Payload(json='{"count":3}'),
        ),
        signals={"told": "go"},
    )
    for part in (
        f"run {RUN}  content 3  running",
        "for 30.0 s · engine local · revision 2",
        "started by ann as mine · deadline in 1h 00m",
        f"step article of run {'e' * 16}",
        f"forked from run {'f' * 16}, from picture on",
        "2 of 3 items have not succeeded",
        "BLURRED ×2 (item 0, 2): not sharp",
        "look closer: muster contracts show 0000000000000000",
        f"told waits for a signal: muster workflow signal {RUN} go",
        f"answer with: muster answer {RUN}/ok.2 VALUE",
        '{"count":3}',
    ):
        assert part in said, (part, said)


def test_the_page_of_a_run_that_has_ended_says_how_to_go_on() -> None:
    ended = timestamp_of_seconds(NOW - 5)
    failure = failed("STEP_FAILED", "x failed")
    said = page(run(STEPS[:1], RUN_STATE_FAILED, failure=failure, end_time=ended))
    assert "took 25.0 s" in said
    assert "STEP_FAILED: x failed" in said
    assert f"go on with: muster workflow retry {RUN}" in said
    output = Payload(json='{"a":1}')
    done = page(run(STEPS[:1], RUN_STATE_SUCCEEDED, output=output, end_time=ended))
    assert '"a": 1' in done
    assert "retry" not in done


def test_what_goes_on_is_told_in_lines_that_fit() -> None:
    lines = [str(line) for line in live_lines(run(STEPS), NOW)]
    assert lines[0].startswith("content running  30.0 s")
    assert "37/100  2 failed  12.4 s" in lines[2]
    assert len(lines) == 1 + len(STEPS)
    few = [str(line) for line in live_lines(run(STEPS), NOW, height=6)]
    assert len(few) <= 6
    assert any("article" in line for line in few)


def test_a_journal_is_told_line_by_line() -> None:
    items: dict[str, int] = {}
    time = timestamp_of_seconds(NOW)

    def said(**kind: Any) -> str:
        return " ".join(str(line_of(RunEvent(time=time, **kind), items)).split()[1:])

    assert said(started=RunStarted()) == "started"
    assert said(begun=StepBegun(step="plan", items=1)) == "begun plan"
    ended = ItemEnded(step="plan", state=StepState.STEP_STATE_SUCCEEDED, contract_id="c" * 16)
    assert said(item_ended=ended) == f"succeeded plan {'c' * 16}"
    assert said(begun=StepBegun(step="each", items=3)) == "begun each 3 items"
    ended = ItemEnded(
        step="each", index=0, state=StepState.STEP_STATE_FAILED, failure=failed("BAD", "so")
    )
    assert said(item_ended=ended) == "failed each[0] BAD: so"
    undone = ItemEnded(step="plan", compensation=True, state=StepState.STEP_STATE_SUCCEEDED)
    assert said(item_ended=undone) == "undone plan"
    assert said(begun=StepBegun(step="other", skipped=True)) == "skipped other"
    assert said(signalled=RunSignalled(name="go", principal="ann")) == "signalled go by ann"
    over = RunEnded(state=RUN_STATE_FAILED, failure=failed("STEP_FAILED"))
    assert said(ended=over) == "failed STEP_FAILED"


@pytest.mark.parametrize(
    ("words", "sets", "begin", "wanted"),
    [
        ([], [], None, None),
        ([], [], {"a": 1}, {"a": 1}),
        (['{"b": 2}'], [], {"a": 1, "b": 1}, {"a": 1, "b": 2}),
        (["b=2", "c:=3"], ["b=4", "d=text", "e=[1]", 'f="5"'], None, None),
        (["[1, 2]"], [], {"a": 1}, [1, 2]),
    ],
)
def test_an_input_is_made_of_what_is_given(
    words: list[str], sets: list[str], begin: Any, wanted: Any
) -> None:
    if len(sets) == 4:
        wanted = {"b": 4, "c": 3, "d": "text", "e": [1], "f": "5"}
    assert run_input(words, None, sets, begin) == wanted


def test_an_input_is_given_once(tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"a": 1}')
    assert run_input([], file, ["b=x=y"], None) == {"a": 1, "b": "x=y"}
    for words, path, sets in (
        (["a=1"], file, []),
        (["[1]"], None, ["a=1"]),
        ([], None, ["a"]),
        ([], None, ["a:=b"]),
    ):
        with pytest.raises(Trouble) as caught:
            run_input(words, path, sets, None)
        assert caught.value.code == 2


def test_states_of_runs_have_names_of_their_own_and_of_several() -> None:
    assert run_states_of(["open", "failed"]) == ["RUNNING", "UNWINDING", "FAILED"]
    with pytest.raises(Trouble, match="is no state"):
        run_states_of(["lost"])
