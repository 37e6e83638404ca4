"""Expressions in CEL: compiled once, evaluated often.

What an expression mentions (`steps.plan.output.items`) is looked up here and handed to the library
as a variable of its own. So nothing is converted that is not needed, a missing key is named, what
is only passed on stays exactly as it was (the library has no integers beyond 64 bits, and forgets
the order of keys), and a macro over a map sees its keys in their order.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from muster.workflow import finding, syntax
from muster.workflow.costs import Weight, check_cost, weigh
from muster.workflow.scope import NoValue, Unevaluable, Unread, Variables
from muster.workflow.syntax import BadSyntax, Call, Macro, Node, Path

if TYPE_CHECKING:
    import cel

SHOWN_CHARS_MAX = 200

# Names that stand for types: type(x) == int.
TYPES = frozenset(
    "bool bytes double duration int list map null_type string timestamp type uint".split()
)


@dataclass(frozen=True, slots=True)
class _Mention:
    """A part of an expression that is worked out here: a path, or something about one."""

    path: Path
    span: tuple[int, int]
    of: Callable[[Path, Variables], Any]


class Expression:
    """One expression. Raises `BadSyntax` when it is none."""

    __slots__ = ("_mentions", "_prefix", "_program", "node", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        _compiled(text)
        self.node = syntax.parse(text)
        self._mentions = tuple(_mentions(self.node, TYPES))
        self._prefix = _unused(text)
        self._program = _compiled(self._rewritten())

    @property
    def paths(self) -> frozenset[tuple[str | int, ...]]:
        """Everything that it mentions, as (root, part, …)."""
        return frozenset((each.root, *each.parts) for each in syntax.free_paths(self.node, TYPES))

    def evaluate(self, variables: Variables) -> Any:
        """Its value: JSON's, or an `Unread` where it is a path to one. Raises `Unevaluable`."""
        try:
            if isinstance(self.node, Path):
                return _at(self.node, variables)
            return self._computed(variables)
        except NoValue as error:
            message = f"{shown(self.text)}: {error}"
            raise Unevaluable(message) from None

    def _computed(self, variables: Variables) -> Any:
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        weights: dict[tuple[int, int], Weight] = {}
        for number, mention in enumerate(self._mentions):
            name = f"{self._prefix}{number}"
            try:
                value = mention.of(mention.path, variables)
                weights[mention.span] = weigh(value)
                values[name] = value
            except NoValue as error:
                # It counts only where the library comes to it: other branches have a value.
                problems[name] = str(error)
                weights[mention.span] = Weight()
        try:
            check_cost(self.node, weights)
            return json_of(self._program.execute(values))
        except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
            raise NoValue(_reason(error, problems)) from None

    def _rewritten(self) -> str:
        text = self.text
        for number in reversed(range(len(self._mentions))):
            start, end = self._mentions[number].span
            text = f"{text[:start]} {self._prefix}{number} {text[end:]}"
        return text


def shown(text: str) -> str:
    """An expression as messages name it."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


def _compiled(text: str) -> cel.Program:
    # Loaded with the first expression: what it brings costs a tenth of a second of a start.
    import cel

    try:
        return cel.compile(text)
    except ValueError as error:
        raise BadSyntax(_syntax_problem(str(error))) from None


def _syntax_problem(said: str) -> str:
    """The library's first complaint, without the expression and the list of all that may follow."""
    found = re.search(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)", said)
    if found is None:
        return said.splitlines()[0][:SHOWN_CHARS_MAX]
    line, column, what = found.groups()
    what = re.sub(r" expecting \{.*", "", what)[:SHOWN_CHARS_MAX]
    what = what.replace("mismatched input '<EOF>'", "it ends where something must follow")
    at = f"character {column}" if line == "1" else f"line {line}, character {column}"
    return f"{what} (at {at})"


def _unused(text: str) -> str:
    """What no name in the text begins with."""
    prefix = "v"
    while prefix in text:
        prefix += "_"
    return prefix


# --- what it mentions -----------------------------------------------------------------------------


def _mentions(node: Node, bound: frozenset[str]) -> Iterator[_Mention]:
    """In the order of the text."""
    match node:
        case Path(root=root):
            if root not in bound:
                yield _Mention(node, (node.start, node.end), _at)
        case Call(name="size", arguments=(Path(root=root) as path,)) if root not in bound:
            yield _Mention(path, (node.start, node.end), _size)
        case Call(name="has", arguments=(Path(root=root, parts=(*_, str())) as path,)) if (
            root not in bound
        ):
            yield _Mention(path, (node.start, node.end), _has)
        case Macro(operand=operand, variable=variable, bodies=bodies):
            if isinstance(operand, Path) and operand.root not in bound:
                yield _Mention(operand, (operand.start, operand.end), _elements)
            else:
                yield from _mentions(operand, bound)
            for body in bodies:
                yield from _mentions(body, bound | {variable})
        case _:
            for child in node.children():
                yield from _mentions(child, bound)


def _at(path: Path, variables: Variables) -> Any:
    return finding.find(path.root, path.parts, variables)


def _has(path: Path, variables: Variables) -> bool:
    return finding.has(path.root, path.parts, variables)


def _size(path: Path, variables: Variables) -> int:
    value = _at(path, variables)
    if isinstance(value, str | list | dict):
        return len(value)
    if isinstance(value, Unread):
        raise NoValue(value.problem)
    message = f"size() is of a list, an object or a string, and this is {finding.kind(value)}"
    raise NoValue(message)


def _elements(path: Path, variables: Variables) -> Any:
    value = _at(path, variables)
    return list(value) if isinstance(value, dict) else value


# --- what comes out -------------------------------------------------------------------------------


def json_of(value: Any) -> Any:
    """A result of the library as JSON has it. Raises `NoValue`."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if math.isfinite(value):
                return value
            message = f"the result is {value}, which JSON has not"
            raise NoValue(message)
        case list():
            return [json_of(each) for each in value]
        case dict():
            if not all(isinstance(key, str) for key in value):
                message = "the keys of an object must be strings: use string(…)"
                raise NoValue(message)
            # The library has no order of keys, and the same must come out each time.
            return {key: json_of(value[key]) for key in sorted(value)}
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return _seconds(value)
    message = "the result has no place in JSON"
    raise NoValue(message)


def _seconds(value: timedelta) -> str:
    """As protobuf's JSON mapping has it: "5400s", "0.25s"."""
    us = value // timedelta(microseconds=1)
    whole, rest = divmod(abs(us), 1_000_000)
    sign = "-" if us < 0 else ""
    return f"{sign}{whole}{f'.{rest:06}'.rstrip('0') if rest else ''}s"


def _reason(error: Exception, problems: dict[str, str]) -> str:
    """What was wrong, in fewer words than the library's."""
    text = str(error)
    undefined = re.match(r"Undefined variable or function: '(\w+)'", text)
    if undefined is not None:
        name = undefined[1]
        return problems.get(name, f"there is no such function for these values: {name}()")
    if isinstance(error, KeyError):
        return f"there is no key {text}"
    if text.startswith("No such overload"):
        return (
            "an operator or function is not for values of these types (int(), double(), string())"
        )
    return text.splitlines()[0].partition(". ")[0][:SHOWN_CHARS_MAX] if text else "it has no value"
