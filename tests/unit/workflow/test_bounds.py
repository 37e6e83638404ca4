"""Definitions and types that are made to take long, or for ever."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from muster.v1.capability_pb2 import Capability, Schema
from muster.v1.workflow_pb2 import Workflow
from muster.workflow.checking import check_workflow
from muster.workflow.fitting import mismatches
from muster.workflow.shapes import Shape

ANY = Capability(name="c")


@contextmanager
def soon(seconds: float = 2.0) -> Iterator[None]:
    """Of this process's own time, so that a busy machine is no reason to fail."""
    before = time.process_time()
    yield
    assert time.process_time() - before < seconds


def whole(schema: Any) -> Shape:
    return Shape(schema, schema)


def with_step(template: Any, takes: Any = None, gives: Any = None) -> list[str]:
    offered = Capability(name="c")
    if takes is not None:
        offered.input.json_schema = json.dumps(takes)
    if gives is not None:
        offered.output.json_schema = json.dumps(gives)
    workflow = Workflow(name="a")
    workflow.steps.add(name="p").capability.name = "any"
    step = workflow.steps.add(name="s", input=json.dumps(template), depends_on=["p", "q"])
    step.capability.name = "c"
    workflow.steps.add(name="q").capability.name = "c"
    found = check_workflow(
        workflow, lambda name, _: offered if name == "c" else ANY, lambda *_: None
    )
    return [str(problem) for problem in found if "q is missing" not in problem.message]


KEYS = "abcdefgh"
TREE = {"type": "object", "properties": {key: {"$ref": "#"} for key in KEYS}, "required": [*KEYS]}
SELF = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}]}


def test_types_that_hold_themselves_are_compared_in_bounded_time() -> None:
    with soon():
        assert not list(mismatches(whole(TREE), whole({**TREE, "title": "the same"})))
        assert not list(mismatches(whole(SELF), whole(TREE)))
        assert not list(mismatches(whole(TREE), whole(SELF)))
        assert not list(mismatches(whole(SELF), whole(SELF)))
        assert whole(SELF).kinds
        assert whole(SELF).member("a").kinds


def test_types_that_refer_in_circles_may_be_anything() -> None:
    circle = {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    }
    with soon():
        assert not list(mismatches(whole({"type": "string"}), whole(circle)))
        assert whole(circle).member("x").kinds == whole(True).kinds


def test_a_definition_over_such_types_is_checked_in_bounded_time() -> None:
    with soon():
        assert with_step("${steps.q.output.a.b.c}", None, SELF) == []
        assert with_step({"a": "${steps.q.output}"}, {"properties": {"a": TREE}}, TREE) == []


def test_many_expressions_are_refused_before_they_are_compiled() -> None:
    with soon():
        (said,) = with_step(["${1}"] * 9_000 + ["${1} ${2}"] * 1_000)
    assert said == "it has 11,000 expressions, more than 10,000: pass on larger parts"


def test_the_largest_definition_is_checked_in_bounded_time() -> None:
    workflow = Workflow(name="a")
    for number in range(256):
        first = max(0, number - 64)
        step = workflow.steps.add(name=f"s{number}")
        step.depends_on.extend(f"s{before}" for before in range(first, number))
        step.capability.name = "c"
        outputs = [f"${{steps.s{before}.output}}" for before in range(number % 2, number, 9)]
        step.input = json.dumps(outputs)
    with soon(6.0):
        assert check_workflow(workflow, lambda *_: ANY, lambda *_: None) == []


def test_workflows_that_run_many_others_are_checked_in_bounded_time() -> None:
    """Each level runs the next one eight times: 8¹² of them in all."""
    levels = {}
    for level in range(12):
        workflow = Workflow(name=f"w{level}", output='"${steps.s0.output}"')
        for number in range(8):
            step = workflow.steps.add(name=f"s{number}")
            if level == 11:
                step.capability.name = "c"
            else:
                step.workflow.name = f"w{level + 1}"
        levels[workflow.name] = workflow
    text = Capability(name="c", output=Schema(json_schema='{"type": "string"}'))
    top = levels["w0"]
    top.output = '"${steps.s0.output.x}"'
    with soon():
        (problem,) = check_workflow(top, lambda *_: text, lambda name, _: levels.get(name))
    assert problem.message == "steps.s0.output is a string, and so has no 'x'"
