"""The file of grants: who may ask for and offer which capabilities, and publish to which topics,
beyond what its role says.

    - principals: ["acme/agent/indexer", "acme/agent/crawl-*"]
      offers: ["text.*"]
      submits: ["blob.scan"]
      publishes: ["index.*"]               # topics
    - principals: ["acme/client/*", "acme/ann@example.com"]
      submits: ["*"]
    - principals: ["acme/agent/pool"]      # one certificate for a whole fleet
      offers: ["*"]
      hosts: ["*"]
      agents: ["*"]

The first entry that fits a principal, TENANT/NAME, counts; who has none may neither ask nor offer
nor publish.
In a pattern one `*` stands for any characters. Without `hosts` and `agents`, names are its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from muster.runtime.config import ConfigError
from muster.runtime.principal import (
    NOTHING,
    Grants,
    Patterns,
    Principal,
    allows,
    are_patterns,
)

_LISTS = ("submits", "offers", "hosts", "agents", "publishes")
SETTING = "MUSTER_GRANTS"


@dataclass(frozen=True, slots=True)
class _Entry:
    principals: Patterns
    lists: dict[str, Patterns]


class GrantBook:
    """All entries."""

    def __init__(self, entries: list[_Entry]) -> None:
        self._entries = entries

    def of(self, principal: Principal) -> Principal:
        """The principal with what it is granted."""
        full_name = f"{principal.tenant}/{principal.name}"
        own = principal.grants
        for entry in self._entries:
            if allows(entry.principals, full_name):
                return principal._replace(
                    grants=Grants(
                        entry.lists.get("submits", NOTHING),
                        entry.lists.get("offers", NOTHING),
                        entry.lists.get("hosts", own.hosts),
                        entry.lists.get("agents", own.agents),
                        entry.lists.get("publishes", NOTHING),
                    )
                )
        nothing = own._replace(submits=NOTHING, offers=NOTHING, publishes=NOTHING)
        return principal._replace(grants=nothing)


def parse_grants(content: bytes) -> GrantBook:
    """The file's content; raises `ConfigError` naming the entry that is wrong."""
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise ConfigError(f"{SETTING} names a file that is not YAML") from None
    if not isinstance(found, list):
        raise ConfigError(f"{SETTING} names a file that is not a list of entries")
    return GrantBook([_entry(number, each) for number, each in enumerate(found, 1)])


def _entry(number: int, entry: Any) -> _Entry:
    where = f"entry {number} of the file of {SETTING}"
    if not isinstance(entry, dict) or not set(entry) <= {"principals", *_LISTS}:
        raise ConfigError(f"{where} must have only: principals, {', '.join(_LISTS)}")
    principals = entry.get("principals")
    if not isinstance(principals, list) or not all(_is_full_name(each) for each in principals):
        raise ConfigError(f"{where}: principals must be a list of TENANT/NAME, with one * at most")
    for name in _LISTS:
        if name in entry and not are_patterns(entry[name]):
            raise ConfigError(f"{where}: {name} must be a list of names, with one * in each")
    lists = {name: tuple(entry[name]) for name in _LISTS if name in entry}
    return _Entry(tuple(principals), lists)


def _is_full_name(text: object) -> bool:
    return isinstance(text, str) and "/" in text and text.count("*") <= 1
