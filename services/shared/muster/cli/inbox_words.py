"""What a person types as an answer, and how questions look in a line. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from muster.cli import text
from muster.cli.exits import USAGE, Trouble
from muster.cli.messages import payload_line
from muster.wire.jsontext import json_value
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from muster.v1.inbox_service_pb2 import InboxEntry
    from muster.v1.payload_pb2 import Payload
    from muster.v1.question_pb2 import Question

_WORDS = {"yes": True, "y": True, "no": False, "n": False}
_VALUE_CHARS_MAX = 200


def value_of_word(question: Question, word: str) -> Any:
    """The value that a word stands for. Whether it fits is for the mesh to say, unless it is none
    of the choices: that raises `Trouble`."""
    if question.choices:
        return _chosen(question, word)
    if not question.HasField("answer"):
        return word
    kind = _schema_of(question).get("type")
    if kind == "string":
        return word
    if kind == "boolean" and word.lower() in _WORDS:
        return _WORDS[word.lower()]
    try:
        return json_value(word)
    except ValueError:
        return word


def _chosen(question: Question, word: str) -> Any:
    for choice in question.choices:
        if word in (shown_value(choice), choice.json):
            return json_value(choice.json)
    known = ", ".join(map(shown_value, question.choices))
    message = f"{word!r} is none of the choices: {known}"
    raise Trouble(message, USAGE)


def _schema_of(question: Question) -> dict[str, Any]:
    try:
        schema = json.loads(question.answer.json_schema)
    except ValueError:
        return {}
    return schema if isinstance(schema, dict) else {}


def shown_value(payload: Payload) -> str:
    """An answer as a person would type it."""
    if payload.HasField("json"):
        try:
            value = json_value(payload.json)
        except ValueError:
            return text.shortened(payload.json, _VALUE_CHARS_MAX)
        shown = value if isinstance(value, str) else text.compact(value)
        return text.shortened(shown, _VALUE_CHARS_MAX)
    return payload_line(payload, _VALUE_CHARS_MAX)


def wanted(question: Question) -> str:
    """What can be answered, in few words: "red | blue", "text", "integer"."""
    if question.choices:
        return " | ".join(map(shown_value, question.choices))
    if not question.HasField("answer"):
        return "text"
    if question.answer.HasField("message"):
        return question.answer.message.full_name
    schema = _schema_of(question)
    if "enum" in schema:
        return " | ".join(
            each if isinstance(each, str) else text.compact(each) for each in schema["enum"]
        )
    kind = schema.get("type")
    if kind == "boolean":
        return "yes | no"
    if kind == "string":
        return "text"
    return kind if isinstance(kind, str) else "JSON"


def asker_of(entry: InboxEntry) -> str:
    """Who asks: an agent and its capability, or a workflow and its step."""
    if entry.workflow:
        return f"{entry.workflow} · {entry.step}"
    return f"{entry.agent} · {entry.capability}"


def left_of(entry: InboxEntry, now: float) -> str:
    """How long somebody waits for the answer yet: "3m", "now"; empty for ever."""
    if not entry.HasField("deadline"):
        return ""
    return text.short_age(seconds_of_timestamp(entry.deadline) - now)


def at_the_deadline(question: Question, last: Timestamp) -> str:
    """What happens when nobody answers; at `last` whoever asks has ended anyway."""
    own = question.deadline
    if not question.HasField("deadline") or own.ToNanoseconds() > last.ToNanoseconds():
        return "whoever asked then expires"
    if question.HasField("default_answer"):
        return f"the answer is then {shown_value(question.default_answer)}"
    return "it then fails with INPUT_TIMEOUT"


def example_of(question: Question) -> str:
    """An answer that one could type."""
    return "VALUE" if " | " not in wanted(question) else wanted(question).split(" | ")[0]
