"""The syntax of CEL, as far as it takes to see what an expression refers to.

The library that evaluates expressions tells only which names one mentions. To know before a run
that `steps.plan.output.items` is there and is a list, and to load no more than what is needed,
takes the tree. The library decides what is valid: what is read here it has compiled before.

The tree's depth is bounded, so that whoever walks it may recurse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DEPTH_MAX = 50  # of parentheses, lists, calls and members; the library refuses some more

_TOKEN = re.compile(
    r"""(?P<space>[ \t\n\f\r]+|//[^\n]*)
    |(?P<text>[bB]?[rR](?:'{3}.*?'{3}|\"{3}.*?\"{3}|'[^'\n\r]*'|\"[^\"\n\r]*\")
        |[bB]?(?:'{3}(?:\\.|[^\\])*?'{3}|\"{3}(?:\\.|[^\\])*?\"{3}
                |'(?:\\.|[^'\\\n\r])*'|\"(?:\\.|[^\"\\\n\r])*\"))
    |(?P<number>0x[0-9a-fA-F]+[uU]?|[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?
        |[0-9]+[eE][+-]?[0-9]+|[0-9]+[uU]?)
    |(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
    |(?P<mark>&&|\|\||<=|>=|==|!=|[-<>+*/%!?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)

MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_LEVELS = (
    ("||",),
    ("&&",),
    ("<", "<=", ">", ">=", "==", "!=", "in"),
    ("+", "-"),
    ("*", "/", "%"),
)


class BadSyntax(ValueError):
    """Text is no expression."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression: the text from `start` to before `end`."""

    start: int
    end: int

    def children(self) -> tuple[Node, ...]:
        """The parts that it is made of."""
        return ()


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A number, a text, bytes, true, false or null."""

    value: Any


@dataclass(frozen=True, slots=True)
class Path(Node):
    """A name, and what is reached from it by members and literal indexes: `input.topics[0]`."""

    root: str
    parts: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Member(Node):
    """A member of what is no path: `f(x).name`."""

    operand: Node
    key: str | int

    def children(self) -> tuple[Node, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Index(Node):
    """An element whose index is not literal: `steps.plan.output[index]`."""

    operand: Node
    index: Node

    def children(self) -> tuple[Node, ...]:
        return (self.operand, self.index)


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function or a method, whose receiver is then the first argument. `has` is one too."""

    name: str
    arguments: tuple[Node, ...]

    def children(self) -> tuple[Node, ...]:
        return self.arguments


@dataclass(frozen=True, slots=True)
class Macro(Node):
    """A macro over a list, in whose bodies `variable` is bound."""

    name: str
    operand: Node
    variable: str
    bodies: tuple[Node, ...]

    def children(self) -> tuple[Node, ...]:
        return (self.operand, *self.bodies)


@dataclass(frozen=True, slots=True)
class Operation(Node):
    """Operators of one precedence and what they stand between; before it, for `!` and `-`."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]

    def children(self) -> tuple[Node, ...]:
        return self.operands


@dataclass(frozen=True, slots=True)
class Choice(Node):
    """`condition ? yes : no`."""

    condition: Node
    yes: Node
    no: Node

    def children(self) -> tuple[Node, ...]:
        return (self.condition, self.yes, self.no)


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """`[a, b]`."""

    items: tuple[Node, ...]

    def children(self) -> tuple[Node, ...]:
        return self.items


@dataclass(frozen=True, slots=True)
class MapOf(Node):
    """`{a: b}`."""

    entries: tuple[tuple[Node, Node], ...]

    def children(self) -> tuple[Node, ...]:
        return tuple(part for entry in self.entries for part in entry)


def parse(text: str) -> Node:
    """The tree of an expression that the library takes. Raises `BadSyntax`."""
    return _Parser(text).whole()


def free_paths(node: Node, bound: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The paths that begin with a name that no macro binds."""
    if isinstance(node, Path):
        if node.root not in bound:
            yield node
    elif isinstance(node, Macro):
        yield from free_paths(node.operand, bound)
        for body in node.bodies:
            yield from free_paths(body, bound | {node.variable})
    else:
        for child in node.children():
            yield from free_paths(child, bound)


def every(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in node.children():
        yield from every(child)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            message = f"{text[at]!r} at {at + 1} has no place in an expression"
            raise BadSyntax(message)
        if found.lastgroup not in (None, "space"):
            tokens.append(_Token(str(found.lastgroup), found.group(), at, found.end()))
        at = found.end()
    tokens.append(_Token("end", "", len(text), len(text)))
    return tokens


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression()
        if self._next.kind != "end":
            raise self._unexpected()
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    @property
    def _end(self) -> int:
        """Where the token before ends."""
        return self._tokens[self._at - 1].end

    def _unexpected(self) -> BadSyntax:
        token = self._next
        return BadSyntax(f"{token.text!r} at {token.start + 1} is not understood here")

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _skip(self, *marks: str) -> str:
        """Takes the next token if it is one of these; else it is empty."""
        token = self._next
        if token.text in marks and token.kind in ("mark", "name"):
            self._at += 1
            return token.text
        return ""

    def _need(self, mark: str) -> None:
        if not self._skip(mark):
            raise self._unexpected()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            message = f"it is nested too deeply: {DEPTH_MAX} levels at most"
            raise BadSyntax(message)

    def _expression(self) -> Node:
        self._deeper()
        start = self._next.start
        node = self._level(0)
        if self._skip("?"):
            yes = self._level(0)
            self._need(":")
            no = self._expression()
            node = Choice(start, self._end, node, yes, no)
        self._depth -= 1
        return node

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        start = self._next.start
        operands, operators = [self._level(level + 1)], []
        while operator := self._skip(*_LEVELS[level]):
            operators.append(operator)
            operands.append(self._level(level + 1))
        if not operators:
            return operands[0]
        return Operation(start, self._end, tuple(operators), tuple(operands))

    def _unary(self) -> Node:
        start, operators = self._next.start, []
        while operator := self._skip("!", "-"):
            operators.append(operator)
        node = self._members()
        if not operators:
            return node
        return Operation(start, self._end, tuple(operators), (node,))

    def _members(self) -> Node:
        start, depth = self._next.start, self._depth
        node = self._primary()
        while True:
            if self._skip("."):
                token = self._take()
                if token.kind != "name":
                    self._at -= 1
                    raise self._unexpected()
                if self._skip("("):
                    node = self._called(start, token.text, node)
                else:
                    node = self._member(start, node, token.text)
            elif self._skip("["):
                index = self._expression()
                self._need("]")
                key = index.value if isinstance(index, Literal) else None
                if type(key) in (str, int):
                    node = self._member(start, node, key)
                else:
                    node = Index(start, self._end, node, index)
            else:
                break
            self._deeper()
        if isinstance(node, Path) and self._next.text == "{":
            message = "there are no messages to be made: write an object as {'key': value}"
            raise BadSyntax(message)
        self._depth = depth
        return node

    def _member(self, start: int, node: Node, key: Any) -> Node:
        if isinstance(node, Path):
            return Path(start, self._end, node.root, (*node.parts, key))
        return Member(start, self._end, node, key)

    def _called(self, start: int, name: str, receiver: Node) -> Node:
        arguments = self._until(")")
        if name in MACROS and len(arguments) in (2, 3):
            variable = arguments[0]
            if not isinstance(variable, Path) or variable.parts:
                message = f"{name}() needs a name first"
                raise BadSyntax(message)
            return Macro(start, self._end, name, receiver, variable.root, tuple(arguments[1:]))
        return Call(start, self._end, name, (receiver, *arguments))

    def _until(self, mark: str) -> list[Node]:
        items: list[Node] = []
        while not self._skip(mark):
            items.append(self._expression())
            if not self._skip(","):
                self._need(mark)
                break
        return items

    def _primary(self) -> Node:
        token = self._take()
        start = token.start
        if token.kind in ("number", "text") or token.text in ("true", "false", "null"):
            return Literal(start, token.end, _literal(token.text))
        if token.kind == "name":
            if self._skip("("):
                arguments = tuple(self._until(")"))
                return Call(start, self._end, token.text, arguments)
            return Path(start, token.end, token.text)
        if token.text == "(":
            node = self._expression()
            self._need(")")
            return node
        if token.text == "[":
            items = tuple(self._until("]"))
            return ListOf(start, self._end, items)
        if token.text == "{":
            return self._map(start)
        self._at -= 1
        if token.text == ".":
            message = "a name does not begin with a dot"
            raise BadSyntax(message)
        raise self._unexpected()

    def _map(self, start: int) -> Node:
        entries = []
        while not self._skip("}"):
            key = self._expression()
            self._need(":")
            entries.append((key, self._expression()))
            if not self._skip(","):
                self._need("}")
                break
        return MapOf(start, self._end, tuple(entries))


def _literal(text: str) -> Any:
    try:
        import cel

        return cel.compile(text).execute({})
    except ValueError:  # the least integer without its sign
        return int(text, 0)
