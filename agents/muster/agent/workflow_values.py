"""Values that a workflow will have when it runs, in Python's clothes: they write CEL.

    plan.output["items"].size() > 0          size(steps.plan.output.items) > 0
    plan.output.topics.filter(lambda t: t.score > 0.5)

A member is an attribute, or an index where its name is taken or no name. `&`, `|` and `~` stand for
and, or and not, which Python does not let anybody mean otherwise. In an f-string a value becomes
${…}, for the text of a template.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = frozenset({"in", "true", "false", "null"})
_VARIABLES = frozenset({"input", "steps", "run", "item", "index"})


class Value:
    """A value that is known when the workflow runs."""

    __slots__ = ("_atomic", "_text")

    def __init__(self, text: str, *, atomic: bool = True) -> None:
        self._text = text
        self._atomic = atomic

    # --- members ----------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: str | int | Value) -> Value:
        """A member of an object by its key, or an element of a list by its index."""
        if isinstance(key, str) and _NAME.fullmatch(key) and key not in _WORDS:
            return Value(f"{self._inner}.{key}")
        return Value(f"{self._inner}[{expression(key)}]")

    def size(self) -> Value:
        """How many elements, keys or characters it has."""
        return Value(f"size({self._text})")

    def has(self, key: str) -> Value:
        """Whether an object has the key, which must be a name."""
        if not _NAME.fullmatch(key) or key in _WORDS:
            return Value(f"{literal(key)} in {self._inner}", atomic=False)
        return Value(f"has({self._inner}.{key})")

    # --- lists ------------------------------------------------------------------------------------

    def map(self, function: Callable[[Value], Any]) -> Value:
        """What the function makes of each element."""
        return self._macro("map", function)

    def filter(self, function: Callable[[Value], Any]) -> Value:
        """The elements for which the function is true."""
        return self._macro("filter", function)

    def all(self, function: Callable[[Value], Any]) -> Value:
        """Whether the function is true for every element."""
        return self._macro("all", function)

    def exists(self, function: Callable[[Value], Any]) -> Value:
        """Whether the function is true for some element."""
        return self._macro("exists", function)

    def _macro(self, name: str, function: Callable[[Value], Any]) -> Value:
        variable = next(iter(inspect.signature(function).parameters))
        if variable in _VARIABLES or variable in _WORDS:
            variable += "_"
        body = expression(function(Value(variable)))
        return Value(f"{self._inner}.{name}({variable}, {body})")

    # --- texts ------------------------------------------------------------------------------------

    def contains(self, part: str | Value) -> Value:
        """Whether a text contains another. What is in a list is asked with `one_of`."""
        return Value(f"{self._inner}.contains({expression(part)})")

    def starts_with(self, part: str | Value) -> Value:
        """Whether a text begins so."""
        return Value(f"{self._inner}.startsWith({expression(part)})")

    def ends_with(self, part: str | Value) -> Value:
        """Whether a text ends so."""
        return Value(f"{self._inner}.endsWith({expression(part)})")

    def matches(self, pattern: str) -> Value:
        """Whether a regular expression (RE2) is found in a text."""
        return Value(f"{self._inner}.matches({expression(pattern)})")

    # --- operators --------------------------------------------------------------------------------

    def one_of(self, values: Any) -> Value:
        """Whether it is an element of a list, or a key of an object."""
        return self._with("in", values)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return self._with("==", other)

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return self._with("!=", other)

    __hash__ = object.__hash__

    def __lt__(self, other: Any) -> Value:
        return self._with("<", other)

    def __le__(self, other: Any) -> Value:
        return self._with("<=", other)

    def __gt__(self, other: Any) -> Value:
        return self._with(">", other)

    def __ge__(self, other: Any) -> Value:
        return self._with(">=", other)

    def __add__(self, other: Any) -> Value:
        return self._with("+", other)

    def __radd__(self, other: Any) -> Value:
        return _between(other, "+", self)

    def __sub__(self, other: Any) -> Value:
        return self._with("-", other)

    def __rsub__(self, other: Any) -> Value:
        return _between(other, "-", self)

    def __mul__(self, other: Any) -> Value:
        return self._with("*", other)

    def __rmul__(self, other: Any) -> Value:
        return _between(other, "*", self)

    def __truediv__(self, other: Any) -> Value:
        return self._with("/", other)

    def __rtruediv__(self, other: Any) -> Value:
        return _between(other, "/", self)

    def __mod__(self, other: Any) -> Value:
        return self._with("%", other)

    def __and__(self, other: Any) -> Value:
        return self._with("&&", other)

    def __rand__(self, other: Any) -> Value:
        return _between(other, "&&", self)

    def __or__(self, other: Any) -> Value:
        return self._with("||", other)

    def __ror__(self, other: Any) -> Value:
        return _between(other, "||", self)

    def __invert__(self) -> Value:
        return Value(f"!{self._inner}", atomic=False)

    def __neg__(self) -> Value:
        return Value(f"-{self._inner}", atomic=False)

    def _with(self, operator: str, other: Any) -> Value:
        return _between(self, operator, other)

    # --- as text ----------------------------------------------------------------------------------

    @property
    def _inner(self) -> str:
        return self._text if self._atomic else f"({self._text})"

    def __str__(self) -> str:
        return f"${{{self._text}}}"

    def __format__(self, spec: str) -> str:
        if spec:
            message = f"{self!r} is known when the workflow runs: it cannot be formatted before"
            raise TypeError(message)
        return str(self)

    def __repr__(self) -> str:
        return f"<{self._text}>"

    # --- what it is not ---------------------------------------------------------------------------

    def __bool__(self) -> NoReturn:
        message = (
            f"{self!r} is known when the workflow runs: use &, | and ~ for and, or and not, "
            "one_of() for in, and when= of a step for if"
        )
        raise TypeError(message)

    def __iter__(self) -> NoReturn:
        message = f"{self!r} is known when the workflow runs: use for_each= of a step, or .map()"
        raise TypeError(message)

    def __len__(self) -> NoReturn:
        message = f"{self!r} is known when the workflow runs: use .size()"
        raise TypeError(message)

    def __contains__(self, item: object) -> NoReturn:
        message = f"{self!r} is known when the workflow runs: use one_of() of what is looked for"
        raise TypeError(message)


def _between(one: Any, operator: str, other: Any) -> Value:
    return Value(f"{_operand(one)} {operator} {_operand(other)}", atomic=False)


def _operand(value: Any) -> str:
    return value._inner if isinstance(value, Value) else literal(value)


def choose(condition: Value, yes: Any, no: Any) -> Value:
    """`yes` where the condition is true when the workflow runs, else `no`."""
    return Value(f"{_operand(condition)} ? {_operand(yes)} : {_operand(no)}", atomic=False)


def expression(value: Any) -> str:
    """The CEL of a value; of a plain one its literal. Raises `TypeError` where it has none."""
    return value._text if isinstance(value, Value) else literal(value)


def literal(value: Any) -> str:
    """A plain value in CEL."""
    match value:
        case Value():
            return str(value._text)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if -(2**63) <= value < 2**63:
            return str(value) if value >= 0 else f"({value})"
        case float() if math.isfinite(value):
            return repr(value) if value >= 0 else f"({value!r})"
        case str():
            return _quoted(value)
        case list() | tuple():
            return f"[{', '.join(map(literal, value))}]"
        case Mapping():
            entries = (f"{literal(key)}: {literal(each)}" for key, each in value.items())
            return f"{{{', '.join(entries)}}}"
    message = f"{value!r} has no literal in an expression"
    raise TypeError(message)


def _quoted(text: str) -> str:
    """JSON's quotes are CEL's too, where nothing is escaped by a pair of surrogates."""
    return json.dumps(text, ensure_ascii=False)
