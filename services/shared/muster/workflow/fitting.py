"""Whether what comes can be what is wanted, both known as shapes only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from muster.workflow.places import inside
from muster.workflow.shapes import OPEN, Shape, describe, required_of

LEVELS_MAX = 32


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that cannot fit, at a place below the whole."""

    path: str
    message: str


def mismatches(comes: Shape, wanted: Shape, path: str = "", level: int = 0) -> Iterator[Mismatch]:
    """Where a value cannot fit. Nothing where it might."""
    want = wanted.resolved
    if wanted.schema is False:
        yield Mismatch(path, "nothing may stand here")
        return
    if not want or level > LEVELS_MAX or not (comes.resolved):
        return
    if (branches := comes.branches) is not None:
        yield from _of_any(comes, branches, wanted, path, level)
        return
    if (values := comes.values) is not None and len(values) == 1:
        yield from _literal(values[0], wanted, path)
        return
    if (branches := wanted.branches) is not None:
        yield from _into_any(comes, branches, wanted, path, level)
        return
    if not _kinds_meet(comes, wanted) or _values_differ(comes, wanted):
        yield Mismatch(path, differs(comes, wanted))
        return
    for part in want.get("allOf", ()):
        yield from mismatches(comes, wanted.within(part), path, level + 1)
    if comes.kinds == {"object"}:
        yield from _objects(comes, wanted, path, level)
    elif comes.kinds == {"array"}:
        yield from _lists(comes, wanted, path, level)


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


def _of_any(
    comes: Shape, branches: list[Shape], wanted: Shape, path: str, level: int
) -> Iterator[Mismatch]:
    """A union fits where one of its alternatives does."""
    found = [list(mismatches(branch, wanted, path, level + 1)) for branch in branches]
    if found and all(found):
        only = [each for each in found if each[0].path != path]
        yield only[0][0] if len(only) == len(found) else Mismatch(path, differs(comes, wanted))


def _into_any(
    comes: Shape, branches: list[Shape], wanted: Shape, path: str, level: int
) -> Iterator[Mismatch]:
    found = [list(mismatches(comes, branch, path, level + 1)) for branch in branches]
    if not found or not all(found):
        return
    # The alternative of the same kind, if there is only one, is what was meant.
    same = [
        each for each, branch in zip(found, branches, strict=True) if _kinds_meet(comes, branch)
    ]
    if len(same) == 1:
        yield from same[0]
    else:
        yield Mismatch(path, differs(comes, wanted))


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


def _objects(comes: Shape, wanted: Shape, path: str, level: int) -> Iterator[Mismatch]:
    have, want = comes.resolved, wanted.resolved
    known, taken = have.get("properties", {}), want.get("properties", {})
    if have.get("additionalProperties") is False and not OPEN & have.keys():
        for key in required_of(wanted):
            if key not in known:
                kind = describe(wanted.within(taken.get(key, True)))
                yield Mismatch(path, f"{key} is missing ({kind})")
    for key in required_of(comes):
        if key in known:
            inner = comes.within(known[key])
            yield from _member(inner, wanted, key, inside(path, key), level)


def _member(comes: Shape, wanted: Shape, key: str, path: str, level: int) -> Iterator[Mismatch]:
    want = wanted.resolved
    taken = want.get("properties", {})
    more = want.get("additionalProperties", True)
    if key in taken:
        yield from mismatches(comes, wanted.within(taken[key]), path, level + 1)
    elif want.get("patternProperties"):
        return
    elif more is False:
        may = f"there may be {', '.join(taken)}" if taken else "there may be no keys"
        yield Mismatch(path, f"{key} is not taken: {may}")
    else:
        yield from mismatches(comes, wanted.within(more), path, level + 1)


def _lists(comes: Shape, wanted: Shape, path: str, level: int) -> Iterator[Mismatch]:
    have, want = comes.resolved, wanted.resolved
    first = have.get("prefixItems")
    if isinstance(first, list) and have.get("items") is False:
        least, most = want.get("minItems", 0), want.get("maxItems", len(first))
        if not least <= len(first) <= most:
            wants = f"at least {least}" if len(first) < least else f"at most {most}"
            yield Mismatch(path, f"{len(first)} elements come, and {wants} are wanted")
        for number, each in enumerate(first):
            inner = wanted.member(number)
            yield from mismatches(comes.within(each), inner, inside(path, number), level + 1)
        return
    for each in mismatches(comes.element, wanted.element, path, level + 1):
        if each.path == path and comes.element.kinds != comes.kinds:
            yield Mismatch(path, differs(comes, wanted))
        else:
            yield Mismatch(path, f"in a list: {each.message}")
        return
