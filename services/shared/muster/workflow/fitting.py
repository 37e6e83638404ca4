"""Whether what comes can be what is wanted, both known as shapes only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from muster.workflow.places import inside
from muster.workflow.shapes import OPEN, Shape, describe, required_of

LEVELS_MAX = 32
STEPS_MAX = 2_000  # of one comparison, for types can hold themselves; beyond them nothing is said


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that cannot fit, at a place below the whole."""

    path: str
    message: str


def mismatches(comes: Shape, wanted: Shape) -> Iterator[Mismatch]:
    """Where a value cannot fit. Nothing where it might."""
    return _mismatches(comes, wanted, _At("", 0, [STEPS_MAX]))


@dataclass(frozen=True, slots=True)
class _At:
    """How far a comparison has come. `left` counts its steps down."""

    path: str
    level: int
    left: list[int]

    def deeper(self, path: str | None = None) -> _At:
        return _At(self.path if path is None else path, self.level + 1, self.left)


def _mismatches(comes: Shape, wanted: Shape, at: _At) -> Iterator[Mismatch]:
    want = wanted.resolved
    at.left[0] -= 1
    if wanted.schema is False:
        yield Mismatch(at.path, "nothing may stand here")
        return
    if not want or not comes.resolved or at.level > LEVELS_MAX or at.left[0] < 0:
        return
    if (branches := comes.branches) is not None:
        yield from _of_any(comes, branches, wanted, at)
        return
    if (values := comes.values) is not None and len(values) == 1:
        yield from _literal(values[0], wanted, at.path)
        return
    if (branches := wanted.branches) is not None:
        yield from _into_any(comes, branches, wanted, at)
        return
    if not _kinds_meet(comes, wanted) or _values_differ(comes, wanted):
        yield Mismatch(at.path, differs(comes, wanted))
        return
    for part in want.get("allOf", ()):
        yield from _mismatches(comes, wanted.within(part), at.deeper())
    if comes.kinds == {"object"}:
        yield from _objects(comes, wanted, at)
    elif comes.kinds == {"array"}:
        yield from _lists(comes, wanted, at)


def differs(comes: Shape, wanted: Shape) -> str:
    """Both in words, with what to do where that is known."""
    text = f"{describe(comes)} comes, and {describe(wanted)} is wanted"
    if wanted.kinds == {"integer"} and "number" in comes.kinds:
        return f"{text}: convert it with int(…)"
    if wanted.kinds == {"string"} and comes.kinds <= {"integer", "number"}:
        return f"{text}: convert it with string(…)"
    if wanted.kinds <= {"integer", "number"} and comes.kinds == {"string"}:
        name = "int" if wanted.kinds == {"integer"} else "double"
        return f"{text}: convert it with {name}(…)"
    return text


def _kinds_meet(comes: Shape, wanted: Shape) -> bool:
    want = wanted.kinds
    # A whole number is a number; a number is only now and then a whole one.
    return bool(comes.kinds & (want | {"integer"} if "number" in want else want))


def _values_differ(comes: Shape, wanted: Shape) -> bool:
    have, want = comes.values, wanted.values
    return have is not None and want is not None and not any(value in want for value in have)


def _of_any(comes: Shape, branches: list[Shape], wanted: Shape, at: _At) -> Iterator[Mismatch]:
    """A union fits where one of its alternatives does."""
    found = [list(_mismatches(branch, wanted, at.deeper())) for branch in branches]
    if found and all(found):
        inner = [each for each in found if each[0].path != at.path]
        same = len(inner) == len(found)
        yield inner[0][0] if same else Mismatch(at.path, differs(comes, wanted))


def _into_any(comes: Shape, branches: list[Shape], wanted: Shape, at: _At) -> Iterator[Mismatch]:
    found = [list(_mismatches(comes, branch, at.deeper())) for branch in branches]
    if not found or not all(found):
        return
    # The alternative of the same kind, if there is only one, is what was meant.
    same = [
        each for each, branch in zip(found, branches, strict=True) if _kinds_meet(comes, branch)
    ]
    if len(same) == 1:
        yield from same[0]
    else:
        yield Mismatch(at.path, differs(comes, wanted))


def _literal(value: Any, wanted: Shape, path: str) -> Iterator[Mismatch]:
    """A value against a part of a schema. References elsewhere than to $defs are not followed."""
    schema = dict(wanted.resolved)
    root = wanted.root if isinstance(wanted.root, Mapping) else {}
    for word in ("$defs", "definitions"):
        if word in root:
            schema.setdefault(word, root[word])
    try:
        validator = jsonschema_rs.Draft202012Validator(schema)
        errors = list(validator.iter_errors(value))
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return
    for error in errors:
        yield from _of_literal(error, path)


def _of_literal(error: Any, path: str) -> Iterator[Mismatch]:
    path = _below(path, error.instance_path)
    said = error.kind.as_dict()
    if "unexpected" in said:
        for name in said["unexpected"]:
            yield Mismatch(inside(path, name), f"{name} is not taken: leave it out")
    elif "property" in said:
        yield Mismatch(path, f"{said['property']} is missing")
    else:
        yield Mismatch(path, str(error.message)[:200])


def _below(path: str, parts: list[str | int]) -> str:
    for part in parts:
        path = inside(path, part)
    return path


def _objects(comes: Shape, wanted: Shape, at: _At) -> Iterator[Mismatch]:
    have, want = comes.resolved, wanted.resolved
    known, taken = have.get("properties", {}), want.get("properties", {})
    if have.get("additionalProperties") is False and not OPEN & have.keys():
        for key in required_of(wanted):
            if key not in known:
                kind = describe(wanted.within(taken.get(key, True)))
                yield Mismatch(at.path, f"{key} is missing ({kind})")
    for key in required_of(comes):
        if key in known:
            yield from _member(comes.within(known[key]), wanted, key, at)


def _member(comes: Shape, wanted: Shape, key: str, at: _At) -> Iterator[Mismatch]:
    want, inner = wanted.resolved, at.deeper(inside(at.path, key))
    taken = want.get("properties", {})
    more = want.get("additionalProperties", True)
    if key in taken:
        yield from _mismatches(comes, wanted.within(taken[key]), inner)
    elif want.get("patternProperties"):
        return
    elif more is False:
        may = f"there may be {', '.join(taken)}" if taken else "there may be no keys"
        yield Mismatch(inner.path, f"{key} is not taken: {may}")
    else:
        yield from _mismatches(comes, wanted.within(more), inner)


def _lists(comes: Shape, wanted: Shape, at: _At) -> Iterator[Mismatch]:
    have, want = comes.resolved, wanted.resolved
    first = have.get("prefixItems")
    if isinstance(first, list) and have.get("items") is False:
        least, most = want.get("minItems", 0), want.get("maxItems", len(first))
        if not least <= len(first) <= most:
            wants = f"at least {least}" if len(first) < least else f"at most {most}"
            yield Mismatch(at.path, f"{len(first)} elements come, and {wants} are wanted")
        for number, each in enumerate(first):
            inner = at.deeper(inside(at.path, number))
            yield from _mismatches(comes.within(each), wanted.member(number), inner)
        return
    for found in _mismatches(comes.element, wanted.element, at.deeper()):
        if found.path == at.path and comes.element.kinds != comes.kinds:
            yield Mismatch(at.path, differs(comes, wanted))
        else:
            yield Mismatch(at.path, f"in a list: {found.message}")
        return
