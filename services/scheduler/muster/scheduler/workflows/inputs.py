"""Checks a run's input against its workflow's schema before anything is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muster.model.errors import InvalidArgument, Violation
from muster.scheduler.schemas import compile_json_schema
from muster.v1.payload_pb2 import Payload
from muster.v1.workflow_pb2 import Workflow
from muster.wire.jsontext import json_value

PROBLEM_CHARS_MAX = 500

InputCheck = Callable[[Payload], None]


def check_of_input(workflow: Workflow) -> InputCheck:
    """Raises `InvalidArgument` (PAYLOAD_MISMATCH) for a payload that no run can be given.

    Content behind a blob reference is not read here.
    """
    if not workflow.HasField("input"):
        return lambda payload: _check(payload, None)
    _, validator = compile_json_schema(workflow.input, "the workflow's input")
    return lambda payload: _check(payload, validator)


def _check(payload: Payload, validator: Any) -> None:
    kind = payload.WhichOneof("content")
    if kind == "blob":
        return
    if kind not in (None, "json"):
        raise _mismatch(f"is {kind}; JSON is wanted")
    try:
        value = json_value(payload.json) if kind else {}
    except ValueError as error:
        raise _mismatch(f"is no JSON: {error}") from None
    problem = next(validator.iter_errors(value), None) if validator is not None else None
    if problem is not None:
        place = "".join(f"[{part!r}]" for part in problem.instance_path)
        raise _mismatch(f"{place or 'the value'}: {problem.message}")


def _mismatch(problem: str) -> InvalidArgument:
    text = problem[:PROBLEM_CHARS_MAX]
    return InvalidArgument(
        f"the input does not fit the workflow: {text}",
        reason="PAYLOAD_MISMATCH",
        violations=[Violation("input", text)],
    )
