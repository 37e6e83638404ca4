"""Workflows built in Python are those written in YAML."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.agent import Workflow
from muster.agent.workflow import Value, choose
from muster.agent.workflow_values import literal
from muster.model.retry import RetryPolicy
from muster.workflow.checking import check_workflow
from muster.workflow.definition import compile_workflow
from muster.workflow.expression import Expression
from muster.workflow.scope import Scope, StepValue
from muster.workflow.source import read_workflow, to_yaml
from tests.unit.workflow.definitions import capability, workflow

IN_YAML = """\
name: content
description: What can be said.
timeout: 2h
input: {type: object, properties: {topics: {type: array, items: {type: string}}},
        required: [topics], additionalProperties: false}
steps:
  - name: plan
    capability: content.plan@1
    input: {topics: "${input.topics}"}
    retry: {maximum_attempts: 3, initial_interval: 200ms, backoff_coefficient: 2,
            maximum_interval: 30s, non_retryable_codes: [BROKEN]}
    compensate: {capability: any.thing, input: {plan: "${steps.plan.output}", by: "${run.id}"}}
  - name: draft
    depends_on: [plan]
    when: size(steps.plan.output.items) > 0
    for_each: steps.plan.output.items
    concurrency: 20
    fan_in: {tolerate: 5}
    capability: content.draft
    input: {item: "${item}"}
    timeout: 90s
    attempt_timeout: 10s
    on_failure: continue
  - name: fine
    depends_on: [draft]
    gate: {question: "Are ${size(steps.draft.output)} drafts fine?", answer: {type: boolean},
           choices: [true, false], default: false, deadline: 1d}
  - {name: pause, wait: 500ms, depends_on: [fine]}
  - {name: sign, wait: {signal: go}, depends_on: [pause, fine, plan],
     when: steps.fine.output && (steps.plan.output.count < 3)}
  - {name: sub, workflow: child@1, depends_on: [sign, plan],
     input: {n: "${steps.plan.output.count + 1}"}}
output: {drafts: "${steps.draft.output}", of: ["${steps.sub.output.n}", "$$1"]}
"""


def built() -> Workflow:
    flow = Workflow(
        "content",
        description="What can be said.",
        timeout=7200,
        input={"topics": list[str]},
    )
    plan = flow.step(
        "plan",
        "content.plan@1",
        input={"topics": flow.input.topics},
        retry=RetryPolicy(maximum_attempts=3, non_retryable_codes=frozenset({"BROKEN"})),
    )
    plan.undo_with("any.thing", {"plan": plan.output, "by": flow.run.id})
    draft = flow.step(
        "draft",
        "content.draft",
        when=plan.output["items"].size() > 0,
        for_each=plan.output["items"],
        concurrency=20,
        tolerate=5,
        input={"item": flow.item},
        timeout=90,
        attempt_timeout=10,
        on_failure="continue",
    )
    question = f"Are {draft.output.size()} drafts fine?"
    fine = flow.gate(
        "fine", question, answer=bool, choices=[True, False], default=False, deadline=86400
    )
    pause = flow.wait("pause", 0.5, depends_on=[fine])
    sign = flow.signal(
        "sign",
        "go",
        when=fine.output & (plan.output["count"] < 3),
        depends_on=[pause],
    )
    sub = flow.child("sub", "child@1", depends_on=[sign], input={"n": plan.output["count"] + 1})
    flow.output = {"drafts": draft.output, "of": [sub.output.n, "$$1"]}
    return flow


def test_what_is_built_is_what_is_written() -> None:
    written = read_workflow(IN_YAML).workflow
    assert to_yaml(built().proto()) == to_yaml(written)
    assert built().proto() == written


def test_what_is_built_passes_all_checks() -> None:
    assert check_workflow(built().proto(), capability, workflow) == []


A, B = Value("input.a"), Value("input.b")
SCOPE: dict[str, Any] = {"a": 7, "b": 2, "l": [1, 2, 3], "t": "text", "o": {"x-y": 1, "k": None}}
L, T, M = Value("input.l"), Value("input.t"), Value("input.o")


@pytest.mark.parametrize(
    ("value", "text", "result"),
    [
        (A + B * 2, "input.a + (input.b * 2)", 11),
        ((A + 1) % B, "(input.a + 1) % input.b", 0),
        (10 - A / 2, "10 - (input.a / 2)", 7),
        (-A - (-3), "(-input.a) - (-3)", -4),
        ((A > 1) & ~(B == 2) | (A >= B), None, True),
        (True & (A != 1), "true && (input.a != 1)", True),
        (A.one_of([1, 7]), "input.a in [1, 7]", True),
        (M["x-y"], 'input.o["x-y"]', 1),
        (M.has("k"), "has(input.o.k)", True),
        (M.has("x-y"), '"x-y" in input.o', True),
        (L[0] + L[B], "input.l[0] + input.l[input.b]", 4),
        (L.map(lambda x: [x, x > 1]), "input.l.map(x, [x, x > 1])", None),
        (L.filter(lambda item: item > A), "input.l.filter(item_, item_ > input.a)", []),
        (L.all(lambda x: x > 0) & L.exists(lambda x: x == 3), None, True),
        (T.contains("ex") & T.starts_with("t") & T.ends_with("t"), None, True),
        (T.matches("^t.*"), 'input.t.matches("^t.*")', True),
        (T + ' "q" \\ ü\n𐀀', None, 'text "q" \\ ü\n𐀀'),
        (choose(A > 3, {"a": 1.5}, None), None, {"a": 1.5}),
        (L.map(lambda x: choose(x < 2, "low", T)).size(), None, 3),
    ],
)
def test_python_becomes_cel(value: Value, text: str | None, result: Any) -> None:
    if text is not None:
        assert str(value) == f"${{{text}}}"
    if result is not None:
        assert Expression(str(value)[2:-1]).evaluate({"input": SCOPE}) == result


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_plain_value_has_a_literal(value: Any) -> None:
    assert Expression(literal(value)).evaluate({}) == value


def test_what_cannot_be_known_before_the_run_says_what_to_use_instead() -> None:
    with pytest.raises(TypeError, match=r"use &, \| and ~"):
        bool(A == 1)
    with pytest.raises(TypeError, match=r"for_each= of a step"):
        list(L)
    with pytest.raises(TypeError, match=r"use \.size"):
        len(L)
    with pytest.raises(TypeError, match="use one_of"):
        assert 1 in L
    with pytest.raises(TypeError, match="cannot be formatted before"):
        f"{A:>10}"


def test_a_step_says_what_is_wrong_with_it_at_once() -> None:
    flow = Workflow("a")
    step = flow.step("one", "b")
    with pytest.raises(ValueError, match="there is a step one already"):
        flow.wait("one", 1)
    with pytest.raises(ValueError, match="no step's name"):
        flow.wait("Two", 1)
    with pytest.raises(ValueError, match="only one of first, quorum can decide"):
        flow.step("two", "b", for_each=[1, 2], first=1, quorum=2)
    with pytest.raises(ValueError, match="name its output"):
        flow.step("three", "b", input=step)
    with pytest.raises(TypeError, match="unexpected keyword argument 'concurency'"):
        flow.step("four", "b", concurency=2)


@dataclass
class Wanted:
    topic: str
    most: int = 5


def test_an_input_can_be_a_class() -> None:
    flow = Workflow("a", input=Wanted)
    flow.step("s", "any.thing", input=f"{flow.input.topic} and {flow.input.most}", when="true")
    assert check_workflow(flow.proto(), capability, workflow) == []
    flow.step("t", "any.thing", input=flow.input.tpoic)
    (problem,) = check_workflow(flow.proto(), capability, workflow)
    assert problem.message == "input has no 'tpoic'; it has topic, most"


def test_a_step_sees_how_others_ended() -> None:
    flow = Workflow("a")
    one = flow.step("one", "b", on_failure="continue")
    flow.step("two", "b", when=~one.succeeded, input={"why": one.failure.code})
    definition = compile_workflow(flow.proto())
    failed = StepValue("FAILED", None, {"code": "X", "message": "y"})
    scope = Scope(steps={"one": failed})
    assert not definition.begin("two", scope).skipped
    assert definition.input_of("two", scope) == '{"why":"X"}'
    assert definition.plan.steps["two"].depends_on == ("one",)
