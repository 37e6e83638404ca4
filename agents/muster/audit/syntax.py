"""Parsing Python and walking its statements, without ever recursing over the audited code.

Only statements are visited: everything the audit measures (imports, functions, classes, nesting,
docstrings) is a statement, and a walk over expressions costs four times as much.
"""

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef

_BLOCKS: Final = ("body", "orelse", "finalbody", "handlers", "cases")
_NESTING: Final = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.TryStar,
    ast.With,
    ast.AsyncWith,
    ast.Match,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a statement stands: enclosing definitions, outermost first, and depth in them.

    `unloaded`: in a block that importing the module does not run, under `if TYPE_CHECKING` or
    `if __name__ == "__main__"`.
    """

    scope: tuple[Definition, ...] = ()
    nesting: int = 0
    unloaded: bool = False

    @property
    def in_function(self) -> bool:
        return any(not isinstance(scope, ast.ClassDef) for scope in self.scope)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(scope.name for scope in self.scope)


def parse(text: str) -> tuple[ast.Module | None, str | None]:
    """The tree, or None and why there is none. Any text is safe to give."""
    with warnings.catch_warnings():
        # Invalid escapes and the like in audited code are not our warnings.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text), None
        except SyntaxError as error:
            return None, f"{error.msg} (line {error.lineno or 1})"
        except ValueError as error:
            return None, str(error)
        except (RecursionError, MemoryError):
            return None, "too deeply nested to parse"


def statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, Place]]:
    """Every statement in source order with its place."""
    stack: list[tuple[ast.stmt, Place]] = [(node, Place()) for node in reversed(tree.body)]
    while stack:
        node, place = stack.pop()
        yield node, place
        stack.extend(reversed(list(_children(node, place))))


def _children(node: ast.stmt, place: Place) -> Iterator[tuple[ast.stmt, Place]]:
    if isinstance(node, Definition):
        # Depth is counted inside each function, so a method in a nested class starts at 0.
        inner = replace(place, scope=(*place.scope, node), nesting=0)
    elif isinstance(node, _NESTING):
        inner = replace(place, nesting=place.nesting + 1)
    else:
        return
    for block in _BLOCKS:
        for child in getattr(node, block, ()):
            if isinstance(child, ast.stmt):
                yield child, _child_place(node, block, child, place, inner)
            else:  # an except handler or a match case
                yield from ((grandchild, inner) for grandchild in child.body)


def _child_place(node: ast.stmt, block: str, child: ast.stmt, place: Place, inner: Place) -> Place:
    if isinstance(node, ast.If):
        if block == "orelse" and isinstance(child, ast.If) and len(node.orelse) == 1:
            return place  # an elif is no deeper than its if
        if block == "body" and _is_false_on_import(node.test):
            return replace(inner, unloaded=True)
    return inner


def _is_false_on_import(test: ast.expr) -> bool:
    name = test.left if isinstance(test, ast.Compare) else test
    if isinstance(name, ast.Attribute):
        return name.attr == "TYPE_CHECKING"
    return isinstance(name, ast.Name) and name.id in ("TYPE_CHECKING", "__name__")
