"""What expressions see of a run, and what is said when they have no value.

Values are JSON's: None, bool, int, float, str, list and dict. What is not to be read, because it is
large or no JSON, stands there as `Unread`: it can be passed on whole and not looked into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muster.v1.payload_pb2 import Payload


class Unevaluable(ValueError):
    """An expression has no value here. The message names step, field, expression and reason.

    Below a definition, `place` is where in its template it stands.
    """

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class NoValue(ValueError):
    """There is nothing that can be used at a path; the message says why."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Content that nobody has read."""

    payload: Payload

    @property
    def problem(self) -> str:
        """Why nothing in it can be used, and what to do about it."""
        match self.payload.WhichOneof("content"):
            case "blob":
                size = self.payload.blob.size_bytes
                return (
                    f"is a blob of {size:,} bytes, which expressions do not look into: keep it "
                    "under 64 KiB, or pass it on whole, as the only thing in an input"
                )
            case "message":
                return "is a protobuf message, which expressions do not look into: pass it on whole"
        return "is bytes, which expressions do not look into: pass it on whole"


@dataclass(frozen=True, slots=True)
class StepValue:
    """A step that has ended, or not: what `steps.NAME` is."""

    state: str  # the name of a StepState without its prefix
    output: Any = None
    failure: Mapping[str, str] | None = None  # {"code", "message"}


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run has so far. Outputs are needed only as far as `Definition.needs` says."""

    run: Mapping[str, Any] = field(default_factory=dict)
    input: Any = None
    steps: Mapping[str, StepValue] = field(default_factory=dict)


Variables = Mapping[str, Any]


def variables_of(scope: Scope) -> dict[str, Any]:
    """The variables of an expression outside for_each."""
    return {"run": scope.run, "input": scope.input, "steps": scope.steps}


def plain(value: Any) -> Any:
    """A value as JSON has it: a step as an object, mappings as dicts."""
    if isinstance(value, StepValue):
        failure = None if value.failure is None else dict(value.failure)
        return {"state": value.state, "output": value.output, "failure": failure}
    if isinstance(value, Mapping) and (
        not isinstance(value, dict) or any(isinstance(each, StepValue) for each in value.values())
    ):
        return {key: plain(each) for key, each in value.items()}
    return value
