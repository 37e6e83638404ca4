"""What code asks a person, and how the answer becomes a value. Without protobuf, as `values` is."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from muster.agent.codec.annotations import Codec, Definitions, compile_type, root_schema
from muster.wire.jsontext import json_text, json_value

if TYPE_CHECKING:
    from muster.agent.values import Content

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_DIGEST_CHARS = 16
_UNSET: Any = object()


class AskOptions(TypedDict, total=False):
    """What can be said about a question besides its text.

    `choices` are the answers to choose from. `type` is the answer's annotated type, or a JSON
    Schema: text, unless there are choices. `default` is taken after `deadline` seconds; without one
    the contract then fails with INPUT_TIMEOUT, and without a deadline it waits as long as it may.
    `id` names the question within the contract; by default it follows from the text, and from how
    often this attempt has asked the same.
    """

    choices: Sequence[Any]
    type: Any
    default: Any
    deadline: float
    id: str


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question as it goes to whoever asks it; schema, choices and default are JSON text."""

    id: str
    text: str
    schema: str = ""
    choices: tuple[str, ...] = ()
    default: str | None = None
    deadline: float | None = None  # seconds from now


class Inquiries:
    """What one attempt asks."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def make(self, text: str, options: AskOptions) -> tuple[Inquiry, Codec | None]:
        """A question, and what reads its answer. Raises `ValueError` for one nobody can answer."""
        number = options.get("id") or self._next_id(text)
        if not _ID.fullmatch(number):
            message = f"{number!r} is no question's id: up to 64 letters, digits and . _ : -"
            raise ValueError(message)
        choices = options.get("choices", ())
        wanted = options.get("type", None if choices else str)
        if isinstance(wanted, Mapping):
            codec, schema = None, json_text(wanted)
        elif wanted is None:
            codec, schema = None, ""
        else:
            codec = compile_type(wanted, definitions := Definitions())
            schema = json_text(root_schema(codec.schema, definitions))
        default = options.get("default", _UNSET)
        inquiry = Inquiry(
            number,
            text,
            schema,
            tuple(_text_of(choice, codec) for choice in choices),
            None if default is _UNSET else _text_of(default, codec),
            options.get("deadline"),
        )
        return inquiry, codec

    def _next_id(self, text: str) -> str:
        """The same in every attempt that asks the same things in the same order."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]
        self._asked[digest] += 1
        return f"{digest}-{self._asked[digest]}"


def answer_value(content: Content, codec: Codec | None) -> Any:
    """The answer as the type that was asked for."""
    # Here, because values are made of capabilities, and these of contexts.
    from muster.agent.values import value_of

    if codec is None or content.kind != "json":
        return value_of(content)
    return codec.decode(json_value(content.data))


def _text_of(value: Any, codec: Codec | None) -> str:
    if codec is not None:
        return json_text(codec.encode(value))
    from muster.agent.values import content_of

    content = content_of(value)
    if content.kind != "json":
        message = f"a {type(value).__name__} is no answer; an answer is a value of JSON"
        raise ValueError(message)
    text: str = content.data
    return text
