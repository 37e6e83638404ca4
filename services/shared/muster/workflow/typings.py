"""What is known of an expression's value before a run, and of a template's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from muster.workflow import syntax
from muster.workflow.places import inside
from muster.workflow.shapes import (
    ANYTHING,
    ARRAY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    NoSuch,
    Shape,
    constant,
    describe,
    list_of,
    list_with,
    object_with,
    union,
)
from muster.workflow.syntax import Node, Operation
from muster.workflow.template import Part, Text

_COMPARES = frozenset({"<", "<=", ">", ">=", "==", "!=", "in", "&&", "||", "!"})
_RESULTS = {
    "bytes": STRING,
    "contains": BOOLEAN,
    "double": NUMBER,
    "duration": STRING,
    "endsWith": BOOLEAN,
    "has": BOOLEAN,
    "int": INTEGER,
    "matches": BOOLEAN,
    "size": INTEGER,
    "startsWith": BOOLEAN,
    "string": STRING,
    "timestamp": STRING,
    "type": STRING,
    "uint": INTEGER,
}

Note = Callable[[str], None]
Roots = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Typing:
    """Knows the variables' shapes, and notes what is certainly not there."""

    roots: Roots
    note: Note

    def of(self, node: Node) -> Shape:
        """The shape of a part's value."""
        match node:
            case syntax.Literal(value=value):
                return ANYTHING if isinstance(value, bytes) else constant(value)
            case syntax.Path(root=root, parts=parts):
                return self._path(root, parts)
            case syntax.Member(operand=operand):
                self.of(operand)
                return ANYTHING
            case syntax.Call(name=name):
                for argument in node.children():
                    self.of(argument)
                return INTEGER if name.startswith("get") else _RESULTS.get(name, ANYTHING)
            case syntax.Macro():
                return self._macro(node)
            case syntax.Operation():
                return self._operation(node)
            case syntax.Choice(condition=condition, yes=yes, no=no):
                self.of(condition)
                return union((self.of(yes), self.of(no)))
            case syntax.ListOf(items=items):
                return list_with([self.of(item) for item in items])
            case syntax.MapOf():
                return self._map(node)
        for child in node.children():
            self.of(child)
        return ANYTHING

    def _path(self, root: str, parts: tuple[str | int, ...]) -> Shape:
        shape, at = self.roots.get(root, ANYTHING), root
        for part in parts:
            try:
                shape = shape.member(part)
            except NoSuch as error:
                self.note(f"{at} {error}")
                return ANYTHING
            at = inside(at, part)
        return shape

    def _macro(self, node: syntax.Macro) -> Shape:
        over = self.of(node.operand)
        if not {"array", "object"} & over.kinds:
            self.note(f"{node.name}() is of a list, and this is {describe(over)}")
        element = over.element if over.kinds == {"array"} else ANYTHING
        inner = replace(self, roots={**self.roots, node.variable: element})
        results = [inner.of(body) for body in node.bodies]
        if node.name == "map":
            return list_of(results[-1])
        if node.name == "filter":
            return list_of(over.element) if over.kinds == {"array"} else ARRAY
        return BOOLEAN

    def _operation(self, node: Operation) -> Shape:
        shapes = [self.of(operand) for operand in node.operands]
        if _COMPARES & set(node.operators):
            return BOOLEAN
        if node.operators == ("-",) and len(shapes) == 1:
            shapes.append(shapes[0])
        if "+" in node.operators:
            self._check_addends(shapes)
        for kind, shape in (("string", STRING), ("array", ARRAY)):
            if any(each.kinds == {kind} for each in shapes):
                # Instants and durations are strings in JSON and count as times here.
                return shape if set(node.operators) == {"+"} else ANYTHING
        # Operands of one operator have one type in CEL.
        if any(each.kinds == {"integer"} for each in shapes):
            return INTEGER
        return NUMBER if any(each.kinds <= {"number", "integer"} for each in shapes) else ANYTHING

    def _check_addends(self, shapes: list[Shape]) -> None:
        """Text is added to text only."""
        texts = [shape for shape in shapes if shape.kinds == {"string"}]
        others = [shape for shape in shapes if "string" not in shape.kinds]
        if texts and others:
            what = describe(others[0])
            self.note(f"{what} cannot be added to a string; convert it with string(…)")

    def _map(self, node: syntax.MapOf) -> Shape:
        entries = [(self.of(key).values, self.of(value)) for key, value in node.entries]
        if not all(keys and isinstance(keys[0], str) for keys, _ in entries):
            return Shape({"type": "object"})
        return object_with({str(keys[0]): shape for keys, shape in entries if keys})


def shape_of_part(part: Part, typing: Callable[[str], Typing], path: str = "") -> Shape:
    """The shape of what a template makes. `typing` is what notes problems at a place in it."""
    if isinstance(part, Text):
        here = typing(path)
        shapes = [here.of(expression.node) for expression in part.expressions]
        if part.whole is not None:
            return shapes[0]
        return STRING if shapes else constant("".join(map(str, part.pieces)))
    if isinstance(part, list):
        shapes = [shape_of_part(each, typing, inside(path, i)) for i, each in enumerate(part)]
        return _folded(list_with(shapes), shapes, lambda values: values)
    if isinstance(part, dict):
        members = {
            key: shape_of_part(each, typing, inside(path, key)) for key, each in part.items()
        }
        shapes = list(members.values())
        return _folded(
            object_with(members), shapes, lambda values: dict(zip(part, values, strict=True))
        )
    return constant(part)


def _folded(shape: Shape, parts: list[Shape], make: Callable[[list[Any]], Any]) -> Shape:
    """One value where all parts are one."""
    values = [part.values for part in parts]
    if all(each is not None and len(each) == 1 for each in values):
        return constant(make([each[0] for each in values if each]))
    return shape
