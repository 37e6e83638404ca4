"""Templates: JSON, or text, with `${EXPRESSION}` in its strings.

A string that is one ${…} stands for the expression's value, with its type. Among other text the
value is put in its place: a string as it is, anything else as JSON. "$$" is a dollar; a dollar
before anything else stands for itself. Keys of objects are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from muster.wire.jsontext import json_text, json_value
from muster.workflow.expression import Expression
from muster.workflow.places import inside
from muster.workflow.scope import Unevaluable, Unread, Variables
from muster.workflow.syntax import BadSyntax

LEVELS_MAX = 64  # of lists and objects in a template

# What may hold a brace that closes nothing: strings, and comments.
_OPAQUE = re.compile(
    r"[bB]?[rR](?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|\"[^\"\n]*\")"
    r"|'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\""
    r"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\""
    r"|//[^\n]*|[A-Za-z0-9_]+",
    re.DOTALL,
)


class BadTemplate(ValueError):
    """Text is no template. `path` is the place in it: "topics[0]"."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Text:
    """A string: its pieces in order. One expression alone stands for its value."""

    pieces: tuple[str | Expression, ...]

    @property
    def expressions(self) -> Iterator[Expression]:
        """What is evaluated in it."""
        return (piece for piece in self.pieces if isinstance(piece, Expression))

    @property
    def whole(self) -> Expression | None:
        """The expression that the string stands for."""
        if len(self.pieces) == 1 and isinstance(self.pieces[0], Expression):
            return self.pieces[0]
        return None

    def value(self, variables: Variables) -> Any:
        """What it stands for; an `Unread` where the whole is one. Raises `Unevaluable`."""
        whole = self.whole
        return self.interpolated(variables) if whole is None else whole.evaluate(variables)

    def interpolated(self, variables: Variables) -> str:
        """The text with every value in its place. Raises `Unevaluable`."""
        return "".join(
            piece if isinstance(piece, str) else _in_text(piece, variables) for piece in self.pieces
        )


def _in_text(expression: Expression, variables: Variables) -> str:
    value = expression.evaluate(variables)
    return value if isinstance(value, str) else _encoded(value, expression.text)


def _encoded(value: Any, where: str) -> str:
    if isinstance(value, Unread):
        message = f"{where} {value.problem}"
        raise Unevaluable(message)
    try:
        return json_text(value)
    except ValueError as error:
        found = _unread_in(value)
        reason = found.problem if found is not None else str(error)
        message = f"something in {where} {reason}" if found else f"{where}: {reason}"
        raise Unevaluable(message) from None


def _unread_in(value: Any) -> Unread | None:
    if isinstance(value, Unread):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for each in inner if (found := _unread_in(each)) is not None), None)


def parse_text(text: str) -> Text:
    """A string with its expressions. Raises `BadTemplate`."""
    pieces: list[str | Expression] = []
    plain, at = "", 0
    while at < len(text):
        mark = text.find("$", at)
        if mark < 0:
            plain += text[at:]
            break
        plain += text[at:mark]
        follows = text[mark + 1 : mark + 2]
        if follows == "{":
            if plain:
                pieces.append(plain)
            end = _closing(text, mark + 2)
            pieces.append(_expression(text[mark + 2 : end]))
            plain, at = "", end + 1
        else:
            plain += "$"
            at = mark + (2 if follows == "$" else 1)
    if plain or not pieces:
        pieces.append(plain)
    return Text(tuple(pieces))


def _expression(text: str) -> Expression:
    try:
        return Expression(text)
    except BadSyntax as error:
        message = f"${{{text}}}: {error}"
        raise BadTemplate(message) from None


def _closing(text: str, at: int) -> int:
    """Where the brace is that closes the one before `at`. Raises `BadTemplate`."""
    start, depth = at, 0
    while at < len(text):
        opaque = _OPAQUE.match(text, at)
        if opaque is not None:
            at = opaque.end()
            continue
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            if not depth:
                return at
            depth -= 1
        at += 1
    message = f"no }} closes ${{{text[start : start + 40]}; a dollar is written $$"
    raise BadTemplate(message)


# A template's parts: a Text, a list or dict of parts, or another JSON value.
Part = Any


class Template:
    """A template of JSON. Raises `BadTemplate`."""

    __slots__ = ("_constant", "part", "texts")

    def __init__(self, text: str) -> None:
        try:
            self.part = _parsed(json_value(text), "", 0)
        except ValueError as error:
            if isinstance(error, BadTemplate):
                raise
            message = f"it is not JSON: {error}"
            raise BadTemplate(message) from None
        self.texts = tuple(_texts(self.part, ""))
        constant = not any(isinstance(each, Expression) for _, t in self.texts for each in t.pieces)
        self._constant = json_text(_valued(self.part, {}, "")) if constant else None

    @property
    def expressions(self) -> Iterator[Expression]:
        """All that is evaluated in it."""
        return (each for _, text in self.texts for each in text.expressions)

    def json(self, variables: Variables) -> str | Unread:
        """The JSON text; what is unread where the whole is one.

        Raises `Unevaluable` with the place in the template.
        """
        if self._constant is not None:
            return self._constant
        value = _valued(self.part, variables, "")
        return value if isinstance(value, Unread) else _encoded(value, "the value")


def _parsed(value: Any, path: str, level: int) -> Part:
    if level > LEVELS_MAX:
        message = f"it has more than {LEVELS_MAX} levels"
        raise BadTemplate(message, path)
    if isinstance(value, str):
        _check_encodable(value, path)
        try:
            return parse_text(value)
        except BadTemplate as error:
            raise BadTemplate(str(error), path) from None
    if isinstance(value, list):
        return [_parsed(each, inside(path, i), level + 1) for i, each in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            _check_encodable(key, path)
        return {key: _parsed(each, inside(path, key), level + 1) for key, each in value.items()}
    return value


def _check_encodable(text: str, path: str) -> None:
    """JSON can escape half a character, and nothing else can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        message = "it holds a surrogate without its other half"
        raise BadTemplate(message, path) from None


def _texts(part: Part, path: str) -> Iterator[tuple[str, Text]]:
    """The strings of a template, each with its path."""
    if isinstance(part, Text):
        yield path, part
    elif isinstance(part, list):
        for number, each in enumerate(part):
            yield from _texts(each, inside(path, number))
    elif isinstance(part, dict):
        for key, each in part.items():
            yield from _texts(each, inside(path, key))


def _valued(part: Part, variables: Variables, path: str) -> Any:
    if isinstance(part, Text):
        try:
            value = part.value(variables)
        except Unevaluable as error:
            raise Unevaluable(str(error), path) from None
        if path and (found := _unread_in(value)) is not None:
            message = (
                f"{path}: {'something in it ' if found is not value else 'it '}{found.problem}"
            )
            raise Unevaluable(message)
        return value
    if isinstance(part, list):
        return [_valued(each, variables, inside(path, i)) for i, each in enumerate(part)]
    if isinstance(part, dict):
        return {key: _valued(each, variables, inside(path, key)) for key, each in part.items()}
    return part
