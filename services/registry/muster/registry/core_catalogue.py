"""The catalogue as the registry has read it: every capability version ever registered, by tenant.

The ledger is the record; entries are never changed or removed, so a copy can only be behind.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from muster.model.errors import NotFound
from muster.model.versions import Selector, Version


class Name(NamedTuple):
    """Names a capability version; ordered by name, then version."""

    capability: str
    version: Version


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry; `body` is whatever the shell wants back."""

    name: Name
    body: object


class Catalogue:
    """Entries by tenant."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[Name, Entry]] = {}
        self._names: dict[str, list[Name]] = {}
        # Whether it has once held everything that there was.
        self.is_complete = False

    def size(self, tenant: str) -> int:
        """How many entries a tenant has."""
        return len(self._entries.get(tenant, ()))

    def add(self, tenant: str, entry: Entry) -> None:
        """Takes an entry; nothing changes when it is there already."""
        entries = self._entries.setdefault(tenant, {})
        if entry.name not in entries:
            entries[entry.name] = entry
            insort(self._names.setdefault(tenant, []), entry.name)

    def find(self, tenant: str, name: Name) -> Entry | None:
        """One version, or None."""
        return self._entries.get(tenant, {}).get(name)

    def newest(self, tenant: str, capability: str, selector: Selector) -> Entry:
        """The newest acceptable version; raises `NotFound` (CAPABILITY_UNKNOWN)."""
        for name in reversed(self._versions(tenant, capability)):
            if selector.accepts(name.version):
                return self._entries[tenant][name]
        raise NotFound(
            "no agent has ever offered this capability in such a version",
            reason="CAPABILITY_UNKNOWN",
        )

    def after(self, tenant: str, prefix: str, last: Name | None) -> Iterator[Entry]:
        """Entries whose names begin with `prefix`, by name and version, after `last`."""
        names = self._names.get(tenant, [])
        first = Name(prefix, Version(0, 0, 0))
        at = bisect_left(names, first)
        if last is not None and last >= first:
            at = bisect_left(names, last)
            at += at < len(names) and names[at] == last
        for name in names[at:]:
            if not name.capability.startswith(prefix):
                return
            yield self._entries[tenant][name]

    def _versions(self, tenant: str, capability: str) -> list[Name]:
        names = self._names.get(tenant, [])
        start = bisect_left(names, Name(capability, Version(0, 0, 0)))
        end = start
        while end < len(names) and names[end].capability == capability:
            end += 1
        return names[start:end]
