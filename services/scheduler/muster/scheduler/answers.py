"""Whether a question can be asked, and whether an answer is one to it."""

from __future__ import annotations

import json

from muster.model import limits
from muster.runtime.validation import check
from muster.scheduler.schemas import check_of, check_schema, mismatch_at
from muster.v1.capability_pb2 import Schema
from muster.v1.payload_pb2 import Payload
from muster.v1.question_pb2 import Question

_TEXT = Schema(json_schema='{"type": "string"}')


def check_question(question: Question) -> None:
    """Raises `InvalidArgument` where nobody could answer it, or its default is no answer."""
    check(question)
    if question.ByteSize() > limits.QUESTION_BYTES_MAX:
        what = f"has more than {limits.QUESTION_BYTES_MAX} bytes"
        raise mismatch_at("question", what, "INVALID_FIELD")
    for number, choice in enumerate(question.choices):
        _check_value(question, choice, f"question.choices[{number}]", "INVALID_FIELD")
    if question.HasField("default_answer"):
        default, field = question.default_answer, "question.default_answer"
        _check_value(question, default, field, "INVALID_FIELD")
        _check_choice(question, default, field, "INVALID_FIELD")
    check_schema(question.answer, "the type of the answer")


def check_answer(question: Question, value: Payload) -> None:
    """Raises `InvalidArgument` (ANSWER_MISMATCH), which names what is wrong with the answer."""
    if value.ByteSize() > limits.ANSWER_BYTES_MAX:
        what = f"has more than {limits.ANSWER_BYTES_MAX} bytes; send it as a blob"
        raise mismatch_at("value", what, "ANSWER_MISMATCH")
    _check_value(question, value, "value", "ANSWER_MISMATCH")
    _check_choice(question, value, "value", "ANSWER_MISMATCH")


def same_value(one: Payload, other: Payload) -> bool:
    """Whether both say the same; JSON may be spelled in several ways."""
    return _canonical(one) == _canonical(other)


def _schema_of(question: Question) -> Schema:
    """An empty one for a question whose choices are its type."""
    if question.HasField("answer"):
        return question.answer
    return Schema() if question.choices else _TEXT


def _check_value(question: Question, value: Payload, field: str, reason: str) -> None:
    if value.WhichOneof("content") is None:
        raise mismatch_at(field, "is empty", reason)
    check_of(
        _schema_of(question),
        "the question's type",
        lambda problem, path: mismatch_at(f"{field}{path}", problem, reason),
    )(value)


def _check_choice(question: Question, value: Payload, field: str, reason: str) -> None:
    if question.choices and not any(same_value(value, each) for each in question.choices):
        known = ", ".join(
            each.json or each.WhichOneof("content") or "" for each in question.choices
        )
        raise mismatch_at(field, f"is none of the choices: {known}", reason)


def _canonical(value: Payload) -> object:
    if value.WhichOneof("content") != "json":
        return value.SerializeToString(deterministic=True)
    try:
        return json.dumps(json.loads(value.json), sort_keys=True)
    except (ValueError, RecursionError):
        return value.json
