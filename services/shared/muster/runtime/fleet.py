"""Fleet files: which kinds of agents run, how many of each, on how many hosts.

    name: demo                  # hosts are called demo-1, demo-2, …; by default the file's name
    hosts: 4                    # processes
    workers: 1                  # of each host, that compute at a time; 1 by default
    kinds:
      summarizer:
        count: 20
        capabilities: my_agents.py:summarizer      # or package.module:attribute, or agent.yaml (an
                                                   # agent without code), or a list of them
        max_in_flight: 2                           # 1 by default
        version: 1.4.0                             # of the agents; for people
        labels: {tier: gold}

Files and modules are looked for beside the fleet file first. Every mistake is reported, each with
its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from muster.model import limits
from muster.model.fleet import Fleet, Kind

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_SOURCE = re.compile(r"([^:\n]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*|[^:\n]+\.ya?ml")
_LABEL = re.compile(r"[A-Za-z0-9_./-]{1,63}")
_MISTAKES_SHOWN = 8


class FleetError(Exception):
    """A fleet file is wrong; the message has a line for each mistake, with file and line."""


def load_fleet(path: Path) -> Fleet:
    """Reads a fleet file. Raises `FleetError`."""
    try:
        if path.stat().st_size > limits.FLEET_FILE_BYTES_MAX:
            message = f"{path} is too large for a fleet file"
            raise FleetError(message)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"the fleet file {path} cannot be read: {error.strerror}"
        raise FleetError(message) from None
    except UnicodeDecodeError:
        message = f"{path} is not UTF-8 text"
        raise FleetError(message) from None
    return parse_fleet(text, str(path), path.resolve())


def parse_fleet(text: str, shown: str, path: Path) -> Fleet:
    """The fleet that `text` describes; `shown` names it in messages, `path` is where it is."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        message = f"{shown}:{line}: this is not YAML: {error.problem}"
        raise FleetError(message) from None
    except yaml.YAMLError as error:
        message = f"{shown}: this is not YAML: {error}"
        raise FleetError(message) from None
    reader = _Reader(shown, path.parent)
    fleet = _fleet(reader, root, path)
    if reader.mistakes:
        more = len(reader.mistakes) - _MISTAKES_SHOWN
        lines = reader.mistakes[:_MISTAKES_SHOWN]
        raise FleetError("\n".join([*lines, f"… and {more} more"] if more > 0 else lines))
    return fleet


class _Reader:
    """Walks YAML's nodes, which know their lines, and collects mistakes instead of raising."""

    def __init__(self, shown: str, folder: Path) -> None:
        self._shown = shown
        self.folder = folder
        self.mistakes: list[str] = []

    def mistake(self, node: yaml.Node | None, text: str) -> None:
        """Notes a mistake at a node."""
        line = node.start_mark.line + 1 if node is not None else 1
        self.mistakes.append(f"{self._shown}:{line}: {text}")

    def fields(
        self, node: yaml.Node | None, what: str, known: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """The entries of a mapping, as (name, the name's node, the value's node)."""
        if not isinstance(node, yaml.MappingNode):
            self.mistake(node, f"{what} must be a mapping (name: value)")
            return
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            if known and name not in known:
                self.mistake(key, f"{what} has no field {name!r}; it has {', '.join(known)}")
            elif name in seen:
                self.mistake(key, f"{what} has {name!r} twice")
            else:
                seen.add(name)
                yield name, key, value

    def number(self, node: yaml.Node, what: str, most: int) -> int:
        """A whole number from 1 on."""
        value = self._plain(node)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        self.mistake(node, f"{what} must be a whole number from 1 to {most}, not {_shown(node)}")
        return 1

    def text(self, node: yaml.Node, what: str, fits: Callable[[str], object], wanted: str) -> str:
        """A text that fits."""
        if isinstance(node, yaml.ScalarNode) and fits(node.value):
            return str(node.value)
        self.mistake(node, f"{what} must be {wanted}, not {_shown(node)}")
        return ""

    def _plain(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return None
        return yaml.safe_load(node.value) if node.style is None else node.value


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value) if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


_FLEET_FIELDS = ("name", "hosts", "workers", "kinds")
_KIND_FIELDS = ("count", "capabilities", "max_in_flight", "version", "labels")


def _fleet(reader: _Reader, root: yaml.Node | None, path: Path) -> Fleet:
    name = re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-") or "fleet"
    hosts = workers = 1
    kinds: list[Kind] | None = None
    for field, key, value in reader.fields(root, "a fleet", _FLEET_FIELDS):
        if field == "name":
            name = reader.text(value, "name", _NAME.fullmatch, "letters, digits, - and _")
        elif field == "hosts":
            hosts = reader.number(value, "hosts", limits.FLEET_HOSTS_MAX)
        elif field == "workers":
            workers = reader.number(value, "workers", limits.WORKERS_SUSPENDED_MAX)
        else:
            kinds = [
                _kind(reader, kind, at, each) for kind, at, each in reader.fields(value, "kinds")
            ]
            if not kinds and isinstance(value, yaml.MappingNode):
                reader.mistake(key, "kinds must name at least one kind")
    if kinds is None and isinstance(root, yaml.MappingNode):
        reader.mistake(root, "a fleet needs kinds")
    fleet = Fleet(name, hosts, tuple(kinds or ()), workers, (str(path.parent),))
    if fleet.agents > limits.FLEET_AGENTS_MAX:
        reader.mistake(root, f"a fleet has at most {limits.FLEET_AGENTS_MAX:,} agents")
    return fleet


def _kind(reader: _Reader, name: str, at: yaml.Node, node: yaml.Node) -> Kind:
    what = f"kinds.{name}"
    if not _NAME.fullmatch(name):
        reader.mistake(at, f"a kind's name is made of letters, digits, - and _, unlike {name!r}")
    count = window = 1
    version, labels, capabilities = "", {}, None
    for field, _, value in reader.fields(node, what, _KIND_FIELDS):
        inner = f"{what}.{field}"
        if field == "count":
            count = reader.number(value, inner, limits.FLEET_AGENTS_MAX)
        elif field == "capabilities":
            capabilities = _capabilities(reader, value, inner)
        elif field == "max_in_flight":
            window = reader.number(value, inner, 10_000)
        elif field == "version":
            version = reader.text(value, inner, lambda text: len(text) <= 64, "a short text")
        else:
            labels = _labels(reader, value, inner)
    if capabilities is None and isinstance(node, yaml.MappingNode):
        reader.mistake(at, f"{what} needs capabilities: package.module:attribute or file.py:…")
    return Kind(name, count, tuple(capabilities or ()), window, version, labels)


def _capabilities(reader: _Reader, node: yaml.Node, what: str) -> list[str]:
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not nodes:
        reader.mistake(node, f"{what} must name at least one place")
    wanted = "package.module:attribute, file.py:attribute or agent.yaml"
    found = []
    for each in nodes:
        source = reader.text(each, what, _SOURCE.fullmatch, wanted)
        place, _, attribute = source.rpartition(":")
        if not place:  # YAML, or wrong
            place, attribute = source, ""
        if attribute and place.endswith((".yaml", ".yml")):
            reader.mistake(each, f"{what}: a YAML file is one agent: leave out :{attribute}")
        elif place.endswith((".py", ".yaml", ".yml")):
            file = reader.folder / place
            if not file.is_file():
                reader.mistake(each, f"{what}: there is no file {place} beside the fleet file")
            source = f"{file}:{attribute}" if attribute else str(file)
        found.append(source)
    return found


def _labels(reader: _Reader, node: yaml.Node, what: str) -> dict[str, str]:
    labels = {}
    for name, key, value in reader.fields(node, what):
        if not _LABEL.fullmatch(name):
            reader.mistake(key, f"{what}: {name!r} is no label; use letters, digits and _./-")
        inner = f"{what}.{name}"
        labels[name] = reader.text(value, inner, lambda text: len(text) <= 256, "a short text")
    return labels
