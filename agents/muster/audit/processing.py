"""How large a file is: lines, functions, classes, nesting, docstrings. Run by processing agents.

Only Python is parsed; other languages, and Python that does not parse, get line counts. Cyclomatic
complexity comes with the linter's findings, so it is not counted twice here.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from muster.audit.languages import is_prose
from muster.audit.lexing import INSIDE, STRING, count_lines, masked_lines
from muster.audit.limits import LARGEST_FUNCTIONS_MAX
from muster.audit.shapes import (
    Batch,
    DocCoverage,
    FileMeasures,
    FunctionSize,
    LineCounts,
    MeasureResult,
)
from muster.audit.sources import Text, read
from muster.audit.syntax import Definition, Function, Place, parse, statements

_PROPERTY_PARTS: Final = frozenset({"setter", "deleter", "overload"})


def measure(batch: Batch) -> MeasureResult:
    """FileMeasures for every source of the batch, in the batch's order."""
    return {"files": [_measure_file(read(source)) for source in batch["sources"]]}


@dataclass(slots=True)
class _Tally:
    """What one walk over a module adds up; `depths` is by function, `docs` holds line ranges."""

    functions: list[tuple[str, Function]] = field(default_factory=list)
    depths: dict[Function | None, int] = field(default_factory=dict)
    classes: int = 0
    public: int = 0
    documented: int = 0
    docs: list[tuple[int, int]] = field(default_factory=list)


def _measure_file(file: Text) -> FileMeasures:
    tree, error = parse(file.text) if file.is_python else (None, None)
    tally = _tally(file, tree) if tree else _Tally()
    sizes = [_size(name, node, tally.depths.get(node, 0)) for name, node in tally.functions]
    sizes.sort(key=lambda size: (-size["lines"], size["line"]))
    return {
        "path": file.path,
        "language": file.language,
        "lines": _line_counts(file, tally.docs),
        "parses": error is None,
        "error": error,
        "functions": len(tally.functions),
        "classes": tally.classes,
        "nesting_max": max(tally.depths.values(), default=0),
        "function_lines_max": sizes[0]["lines"] if sizes else 0,
        "largest": sizes[:LARGEST_FUNCTIONS_MAX],
        "docs": DocCoverage(public=tally.public, documented=tally.documented),
    }


def _line_counts(file: Text, docs: Iterable[tuple[int, int]]) -> LineCounts:
    if is_prose(file.language):
        lines = file.text.removesuffix("\n").split("\n") if file.text else []
        filled = sum(1 for line in lines if line.strip())
        return LineCounts(
            total=len(lines), code=0, doc=filled, comment=0, blank=len(lines) - filled
        )
    masked = masked_lines(file.text, file.language)
    kinds = count_lines(masked)
    doc = sum(_doc_lines(masked, start, end) for start, end in docs)
    total = kinds.code + kinds.comment + kinds.blank
    return LineCounts(
        total=total, code=kinds.code - doc, doc=doc, comment=kinds.comment, blank=kinds.blank
    )


def _doc_lines(masked: list[str], start: int, end: int) -> int:
    """Lines that hold nothing but the docstring: `def f(): "Doc."` is a line of code."""
    lines = (line.strip() for line in masked[start - 1 : end])
    return sum(1 for line in lines if line and not line.strip(STRING + INSIDE + "\\"))


def _tally(file: Text, tree: ast.Module) -> _Tally:
    tally = _Tally()
    stem = file.path.rsplit("/", 1)[-1].rpartition(".")[0]
    if not stem.startswith("_") or stem == "__init__":
        _count_docs(tally, tree)
    _note_doc_lines(tally, tree)
    for node, place in statements(tree):
        if isinstance(node, Definition):
            _note_definition(tally, node, place)
        depth = place.nesting + (1 if _opens_block(node) else 0)
        function = _enclosing_function(place)
        if depth > tally.depths.get(function, 0):
            tally.depths[function] = depth
    return tally


def _note_definition(tally: _Tally, node: Definition, place: Place) -> None:
    if isinstance(node, ast.ClassDef):
        tally.classes += 1
    else:
        tally.functions.append((".".join((*place.names, node.name)), node))
    _note_doc_lines(tally, node)
    names = (*place.names, node.name)
    public = not any(name.startswith("_") for name in names) and not place.in_function
    if public and not _shares_its_docstring(node):
        _count_docs(tally, node)


def _count_docs(tally: _Tally, node: ast.Module | Definition) -> None:
    tally.public += 1
    tally.documented += _docstring(node) is not None


def _note_doc_lines(tally: _Tally, node: ast.Module | Definition) -> None:
    docstring = _docstring(node)
    if docstring is not None:
        tally.docs.append((docstring.lineno, docstring.end_lineno or docstring.lineno))


def _docstring(node: ast.Module | Definition) -> ast.Expr | None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first if isinstance(first.value.value, str) else None
    return None


def _shares_its_docstring(node: Definition) -> bool:
    """Setters and overloads are documented where their property or function is."""
    return any(
        (d.attr if isinstance(d, ast.Attribute) else getattr(d, "id", None)) in _PROPERTY_PARTS
        for d in node.decorator_list
    )


def _opens_block(node: ast.stmt) -> bool:
    return hasattr(node, "body") and not isinstance(node, Definition)


def _enclosing_function(place: Place) -> Function | None:
    inner = place.scope[-1] if place.scope else None
    return inner if isinstance(inner, Function) else None


def _size(name: str, node: Function, nesting: int) -> FunctionSize:
    spec = node.args
    arguments = len(spec.posonlyargs) + len(spec.args) + len(spec.kwonlyargs)
    return {
        "name": name,
        "line": node.lineno,
        "lines": (node.end_lineno or node.lineno) - node.lineno + 1,
        "arguments": arguments + (spec.vararg is not None) + (spec.kwarg is not None),
        "nesting": nesting,
    }
