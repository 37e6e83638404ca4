"""YAML with the line of every value, and text of values.

Read are mappings, lists and scalars as YAML 1.2 has them: `yes` and `2024-01-01` are text. What can
make a small file large or hides what a line says is refused: aliases, tags, keys that stand there
twice, several documents.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from muster.model import limits
from muster.workflow.places import inside

LEVELS_MAX = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2's core schema.
_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda _: math.nan),
)
_TEXT_TAG = "tag:yaml.org,2002:str"


class YamlProblem(ValueError):
    """Text is not the YAML that is read here. `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says, and on which line each place begins. The place of the whole is ""."""

    value: Any
    lines: dict[str, int]


def read_yaml(text: str) -> Document:
    """Reads one document. Raises `YamlProblem`."""
    if len(text) > limits.WORKFLOW_FILE_BYTES_MAX:
        message = f"this is too large: {limits.WORKFLOW_FILE_BYTES_MAX:,} characters at most"
        raise YamlProblem(message, 1)
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"this is not YAML: {error.problem or error.context}"
        raise YamlProblem(message, mark.line + 1 if mark else 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"this is not YAML: {error.reason}"
        raise YamlProblem(message, line) from None
    return Document(reader.value, reader.lines)


@dataclass(slots=True)
class _Open:
    """A list or mapping that has not ended; `key` is a mapping's, between it and its value."""

    held: list[Any] | dict[str, Any]
    path: str
    key: str | None = None


class _Reader:
    """Events in, a value out. Without recursion, so that no text is too deep for it."""

    def __init__(self) -> None:
        self.value: Any = None
        self.lines: dict[str, int] = {}
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise YamlProblem("a second document begins here: one is read", line)
            case yaml.AliasEvent():
                message = f"*{event.anchor}: aliases are not read, write it out"
                raise YamlProblem(message, line)
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.SequenceStartEvent():
                self._start([], event, line)
            case yaml.MappingStartEvent():
                self._start({}, event, line)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._open.pop()

    def _start(self, held: Any, event: Any, line: int) -> None:
        if event.tag is not None:
            raise YamlProblem(f"{event.tag}: tags are not read, leave it out", line)
        if len(self._open) >= LEVELS_MAX:
            raise YamlProblem(f"this has more than {LEVELS_MAX} levels", line)
        if self._wants_key:
            raise YamlProblem("a key must be text", line)
        path = self._put(held, line)
        self._open.append(_Open(held, path))

    @property
    def _wants_key(self) -> bool:
        if not self._open:
            return False
        last = self._open[-1]
        return isinstance(last.held, dict) and last.key is None

    def _scalar(self, event: Any, line: int) -> None:
        if self._wants_key:
            self._key(event.value, line)
        else:
            self._put(_scalar(event, line), line)

    def _key(self, key: str, line: int) -> None:
        last = self._open[-1]
        if key in last.held:
            message = f"the key {key[:64]!r} stands here twice (first on line "
            raise YamlProblem(f"{message}{self.lines[inside(last.path, key)]})", line)
        last.key = key
        self.lines[inside(last.path, key)] = line

    def _put(self, value: Any, line: int) -> str:
        """Places a value where the next one belongs, and says where that is."""
        if not self._open:
            self.value = value
            self.lines[""] = line
            return ""
        last = self._open[-1]
        if isinstance(last.held, list):
            path = inside(last.path, len(last.held))
            last.held.append(value)
            self.lines[path] = line
            return path
        assert last.key is not None
        path = inside(last.path, last.key)
        last.held[last.key], last.key = value, None
        return path


def _scalar(event: Any, line: int) -> Any:
    text = str(event.value)
    if event.tag not in (None, "!", _TEXT_TAG):
        raise YamlProblem(f"{event.tag}: tags are not read, leave it out", line)
    if not event.implicit[0] or event.tag is not None:
        return text
    make = next((make for pattern, make in _SCALARS if pattern.fullmatch(text)), str)
    try:
        value = make(text)
    except ValueError:  # more digits than Python turns into a number
        raise YamlProblem(f"{text[:24]}… has too many digits: quote it", line) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise YamlProblem(f"{text} has no place in JSON: quote it if it is text", line)
    return value


# --- writing --------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would take for something else than text, and names nothing."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.yaml_implicit_resolvers = {
    key: list(resolvers) for key, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
}
for _pattern, _ in _SCALARS[1:]:
    _Dumper.add_implicit_resolver(
        "tag:yaml.org,2002:core", re.compile(f"^(?:{_pattern.pattern})$"), list("-+.0123456789tfTF")
    )


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    block = len(lines) > 1 and all(line == line.strip() for line in lines)
    style = "|" if block else None
    if not all(map(str.isprintable, lines)):
        style = '"'  # the only one that escapes
    return dumper.represent_scalar(_TEXT_TAG, text, style=style)


_Dumper.add_representer(str, _represent_text)


def write_yaml(value: Any) -> str:
    """Text that `read_yaml` reads back as the same value, keys in their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
