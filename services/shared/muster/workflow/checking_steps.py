"""Checks of one step by itself: which fields go with what it does, and a gate's answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from muster.v1.capability_pb2 import Schema
from muster.v1.workflow_pb2 import Gate, Step
from muster.wire.jsontext import json_value
from muster.workflow.lookups import BadSchema, validator_of
from muster.workflow.places import Problem

_TEXT = Schema(json_schema='{"type":"string"}')

# Fields that mean something only for some actions, and which.
_CONTRACT, _CHILD = "capability", "workflow"
_ONLY_FOR = {
    "for_each": (_CONTRACT, _CHILD),
    "concurrency": (_CONTRACT, _CHILD),
    "fan_in": (_CONTRACT, _CHILD),
    "input": (_CONTRACT, _CHILD),
    "retry": (_CONTRACT,),
    "attempt_timeout": (_CONTRACT,),
}
_WORDS = {"gate": "a gate", "wait": "a wait", "workflow": "a step that runs a workflow"}


def kind_problems(step: Step, path: str) -> Iterator[Problem]:
    """Fields that do not go with what the step does, or with each other."""
    action = step.WhichOneof("action") or ""
    for name, actions in _ONLY_FOR.items():
        if action in _WORDS and action not in actions and _is_set(step, name):
            message = f"{_WORDS[action]} has no {name}: take it out"
            yield Problem(f"{path}.{name}", message)
    if step.for_each:
        return
    for name in ("fan_in", "concurrency"):
        if _is_set(step, name) and action in _ONLY_FOR[name]:
            yield Problem(f"{path}.{name}", "it needs a for_each: add one, or take it out")


def _is_set(step: Step, name: str) -> bool:
    return any(field.name == name for field, _ in step.ListFields())


def gate_problems(gate: Gate, path: str) -> Iterator[Problem]:
    """Choices and a default that are no answers."""
    try:
        validator = validator_of(gate.answer if gate.HasField("answer") else _TEXT)
    except BadSchema as error:
        yield Problem(f"{path}.answer", f"this is no usable JSON Schema: {error}")
        validator = None
    choices: list[Any] = []
    for number, text in enumerate(gate.choices):
        yield from _answer_problems(text, validator, f"{path}.choices[{number}]")
        if text in choices:
            yield Problem(f"{path}.choices[{number}]", "it stands here twice: once is enough")
        choices.append(text)
    if gate.default:
        yield from _answer_problems(gate.default, validator, f"{path}.default")
        if choices and not any(_same(gate.default, each) for each in choices):
            shown = ", ".join(choices)[:200]
            yield Problem(f"{path}.default", f"it must be one of the choices: {shown}")


def _answer_problems(text: str, validator: Any, path: str) -> Iterator[Problem]:
    try:
        value = json_value(text)
    except ValueError as error:
        yield Problem(path, f"it must be JSON text, and is not: {error}")
        return
    if validator is None:
        return
    for misfit in list(validator.iter_errors(value))[:1]:
        yield Problem(path, f"it does not fit the type of the answer: {misfit.message[:200]}")


def _same(one: str, other: str) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except (ValueError, RecursionError):
        return one == other
