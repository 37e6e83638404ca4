"""Workflows as YAML: reading with every mistake and its line, and writing.

The keys are the messages' fields (`muster.workflow.forms` says how their values are written):

    name: content
    input: {type: object, properties: {topics: {type: array}}, required: [topics]}
    steps:
      - name: plan
        capability: content.plan
        input: {topics: "${input.topics}"}
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs

from muster.v1.workflow_pb2 import Workflow
from muster.workflow import messages
from muster.workflow.places import Problem, inside, nearest
from muster.workflow.published import workflow_schema
from muster.workflow.yaml_text import Document, YamlProblem, read_yaml, write_yaml

MISTAKES_MAX = 20  # that are shown


class BadSource(ValueError):
    """Text is no workflow. The message has a line for each mistake: "file.yaml:12: place: …"."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        more = len(self.mistakes) - MISTAKES_MAX
        lines = self.mistakes[:MISTAKES_MAX]
        super().__init__("\n".join((*lines, f"… and {more} more") if more > 0 else lines))


@dataclass(frozen=True, slots=True)
class Source:
    """A workflow that was read, and where each of its places stands."""

    workflow: Workflow
    lines: Mapping[str, int]
    shown: str  # what the text is called in messages

    def located(self, problems: Iterable[Problem]) -> list[str]:
        """The problems with file and line, in the order of the lines."""
        return _located(problems, self.lines, self.shown)


def read_workflow(text: str, shown: str = "workflow.yaml") -> Source:
    """Reads YAML (or JSON, which is YAML). What it means is not checked: see `check_workflow`.

    Raises `BadSource`.
    """
    try:
        document = read_yaml(text)
    except YamlProblem as error:
        raise BadSource([f"{shown}:{error.line}: {error}"]) from None
    problems = list(_misfits(document))
    workflow = Workflow()
    if not problems:
        messages.fill(workflow, document.value, lambda at, what: problems.append(_at(at, what)))
    if problems:
        raise BadSource(_located(problems, document.lines, shown))
    return Source(workflow, document.lines, shown)


def to_yaml(workflow: Workflow) -> str:
    """The workflow as YAML that reads back as the same. Raises `ValueError` for what has no form:
    protobuf types, and text that should be JSON and is not."""
    return write_yaml(messages.plain(workflow))


def _located(problems: Iterable[Problem], lines: Mapping[str, int], shown: str) -> list[str]:
    found = sorted((nearest(problem.path, lines), str(problem)) for problem in problems)
    return [f"{shown}:{line}: {text}" for line, text in dict.fromkeys(found)]


def _at(parts: Iterable[str | int], what: str) -> Problem:
    path = ""
    for part in parts:
        path = inside(path, part)
    return Problem(path, what)


# --- what does not fit the schema -----------------------------------------------------------------


@cache
def _validator() -> Any:
    return jsonschema_rs.Draft202012Validator(workflow_schema())


def _misfits(document: Document) -> Iterable[Problem]:
    if not isinstance(document.value, dict):
        yield Problem("", "a workflow is a mapping: name: …, steps: …")
        return
    for error in _validator().iter_errors(document.value):
        yield from _misfit(error)


def _misfit(error: Any) -> Iterable[Problem]:
    kind = error.kind.as_dict()
    at: list[str | int] = list(error.instance_path)
    keyword = error.schema_path[-1] if error.schema_path else ""
    match keyword:
        case "additionalProperties":
            for name in kind["unexpected"]:
                yield _at([*at, name], _unknown(name, error.schema_path))
        case "required":
            yield _at(at, f"{kind['property']} is missing")
        case "oneOf":
            if isinstance(error.instance, dict):
                yield _at(at, _one_of(error))
        case "anyOf":
            yield _at(at, f"{_what(error.instance)} does not fit: {_WAIT}")
        case _:
            yield _at(at, _in_words(keyword, error))


_WAIT = "write a duration like 10s, or {signal: NAME}"


def _schema_at(path: Iterable[str | int]) -> Any:
    """The part of the schema that an error's path leads to."""
    schema: Any = workflow_schema()
    for part in path:
        if part == "$ref":
            schema = workflow_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
        else:
            schema = schema[part]
    return schema


def _unknown(name: str, path: list[str | int]) -> str:
    known = list(_schema_at(path[:-1])["properties"])
    close = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    return f"there is no such key; {meant}"


def _one_of(error: Any) -> str:
    names = [part["required"][0] for part in _schema_at(error.schema_path)]
    found = [name for name in names if name in error.instance]
    wanted = f"{', '.join(names[:-1])} and {names[-1]}"
    if not found:
        return f"it needs one of {wanted}"
    return f"it has {' and '.join(found)}; it may have only one of {wanted}"


_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _what(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else _as_json(value)


def _in_words(keyword: Any, error: Any) -> str:
    wanted, found = _schema_at(error.schema_path), _what(error.instance)
    match keyword:
        case "type":
            kinds = wanted if isinstance(wanted, list) else [wanted]
            return f"it must be {' or '.join(_KINDS[kind] for kind in kinds)}, not {found}"
        case "enum":
            return f"it must be one of {', '.join(wanted)}, not {found}"
        case "pattern":
            examples = _schema_at(error.schema_path[:-1]).get("examples")
            return f"{found} is not written like {' or '.join(examples or [wanted])}"
        case "minItems" | "minLength":
            return "it must not be empty"
        case "maxItems" | "maxLength":
            return f"it is too long: {wanted:,} at most"
        case "minimum":
            return f"it must be at least {wanted}, not {found}"
        case "exclusiveMinimum":
            return f"it must be more than {wanted}, not {found}"
        case "maximum":
            return f"it must be at most {wanted:,}, not {found}"
    return str(error.message)[:200]


def _as_json(value: Any) -> str:
    """A value as messages show it, cut off where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"
