"""What a directory holds, and how somebody keeps there what he wants to be there. Pure.

An owner wants entries; the directory has some. `Upkeep` compares the two, level with level, and
says what to change next: it never trusts that what was registered once is there still. So a
directory that comes back empty, or with an old state, is filled again by the same steps that filled
it first. All `now` are monotonic seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from muster.model import limits


class State(Enum):
    """How an entry is."""

    PASSING = "passing"
    WARNING = "warning"  # it finishes what it has, and takes nothing new
    CRITICAL = "critical"  # it does not answer, or has not been heard of in time


@dataclass(frozen=True, slots=True)
class Probe:
    """The directory itself asks `grpc.health.v1` for this service: at the entry's address, with TLS
    or without, or else in clear at `address`."""

    service: str
    interval_seconds: float = limits.DIRECTORY_PROBE_SECONDS
    tls: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class TimeToLive:
    """The owner renews the entry; it turns CRITICAL where that does not happen for so long."""

    seconds: float = limits.DIRECTORY_TTL_SECONDS


Check: TypeAlias = Probe | TimeToLive


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory tells of an entry.

    `kind` is what it is looked up by: "scheduler", "registry", "executor", "agent", "host".
    `owner` is the process that keeps it there. `address` is its gRPC target as host:port, or empty.
    """

    id: str
    kind: str
    owner: str
    address: str
    meta: Mapping[str, str]
    state: State


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that is to be found; see `Found`."""

    id: str
    kind: str
    owner: str
    check: Check
    address: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    # Keys of letters, digits, "_" and "-"; "owner" and "digest" are the directory's own. Values
    # have at most DIRECTORY_META_BYTES_MAX bytes.

    state: State = State.PASSING
    # What the directory finds out itself, with a `Probe`, counts more.

    @property
    def digest(self) -> str:
        """Of everything but the state: another one means that it has to be registered anew."""
        told = (self.id, self.kind, self.owner, repr(self.check), self.address, dict(self.meta))
        text = json.dumps(told, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Put:
    """Register an entry, in place of what there is of its id."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Renew:
    """Say that an entry is there still, and how it is; for those with a time to live."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Remove:
    """Take an entry out; nothing where it is not there."""

    id: str


Change: TypeAlias = Put | Renew | Remove


@dataclass(slots=True)
class _Kept:
    """What is known of an entry that is there."""

    digest: str
    state: State | None = None  # None: it may be anything
    renew_at: float = 0.0


class Upkeep:
    """One owner's entries: what there should be, what there is, and the steps between."""

    def __init__(self, adopt_until: float = 0.0) -> None:
        """Until `adopt_until`, what an earlier life of the owner has left there is let be: it may
        be wanted again."""
        self._adopt_until = adopt_until
        self._wanted: dict[str, Entry] = {}
        self._digests: dict[str, str] = {}
        self._kept: dict[str, _Kept] = {}
        # Ids that others are to take over, and whether they have had a period for it.
        self._handed_over: dict[str, bool] = {}
        self._dropped: set[str] = set()
        self.has_heirs = False  # others take over entries with a time to live when this owner goes
        # What may have to be done; the rest is as it should be until it is due.
        self._look: dict[str, None] = {}
        self.is_read = False  # whether it is known what there is

    def __len__(self) -> int:
        return len(self._wanted)

    def wanted(self, kind: str) -> list[Entry]:
        """What should be there of a kind."""
        return [each for each in self._wanted.values() if each.kind == kind]

    def shared_ids(self) -> list[str]:
        """Of what is wanted and could be somebody else's: what has a time to live."""
        return [at for at, each in self._wanted.items() if isinstance(each.check, TimeToLive)]

    def want(self, entry: Entry) -> None:
        """It should be there like this."""
        if self._wanted.get(entry.id) != entry:
            self._wanted[entry.id] = entry
            self._digests[entry.id] = entry.digest
            self._look[entry.id] = None
        self._handed_over.pop(entry.id, None)
        self._dropped.discard(entry.id)

    def drop(self, entry_id: str) -> None:
        """It should not be there."""
        if self._wanted.pop(entry_id, None) is not None:
            del self._digests[entry_id]
            self._look[entry_id] = None
            self._dropped.add(entry_id)
        self._handed_over.pop(entry_id, None)

    def hand_over(self, entry_id: str) -> None:
        """Another owner keeps it from now on: it stays until he has had time to take it over."""
        if self._wanted.pop(entry_id, None) is not None:
            del self._digests[entry_id]
            self._handed_over[entry_id] = False

    def leave(self) -> None:
        """The owner goes: nothing is wanted any more, and what has heirs stays for them."""
        for entry_id in self.shared_ids() if self.has_heirs else ():
            self.hand_over(entry_id)
        for entry_id in list(self._wanted):
            self.drop(entry_id)

    def read(self, there: Mapping[str, str]) -> None:
        """What the directory has of this owner: id -> digest."""
        kept = self._kept
        self._kept = {}
        for entry_id, digest in there.items():
            known = kept.get(entry_id)
            same = known is not None and known.digest == digest
            self._kept[entry_id] = known if known and same else _Kept(digest)
        for entry_id, had_time in list(self._handed_over.items()):
            if entry_id not in there or had_time:
                del self._handed_over[entry_id]
            else:
                self._handed_over[entry_id] = True
        self._dropped &= there.keys()
        self._look = dict.fromkeys((*self._wanted, *there))
        self.is_read = True

    @property
    def count(self) -> int:
        """How many entries are wanted."""
        return len(self._wanted)

    def lost(self) -> None:
        """The directory does not answer: nothing is known of it any more."""
        self._kept.clear()
        self.is_read = False

    def due(self, now: float, changes_max: int) -> list[Change]:
        """The next steps, none before the directory has been read."""
        found: list[Change] = []
        if not self.is_read:
            return found
        for entry_id in list(self._look):
            if len(found) == changes_max:
                return found
            change = self._step(entry_id, now)
            if change is not None:
                found.append(change)
            else:
                del self._look[entry_id]
        for entry_id, kept in self._kept.items():
            if len(found) == changes_max:
                break
            entry = self._wanted.get(entry_id)
            if entry and entry_id not in self._look and self._needs_renewal(entry, kept, now):
                found.append(Renew(entry))
        return found

    def done(self, changes: Iterable[Change], now: float) -> None:
        """These steps have been taken."""
        for change in changes:
            if isinstance(change, Remove):
                self._kept.pop(change.id, None)
                self._dropped.discard(change.id)
                continue
            entry = change.entry
            kept = self._kept.setdefault(entry.id, _Kept(""))
            first = isinstance(change, Put)
            # What was registered together is not renewed together.
            wait = _spread(entry.id) if first else 0.9 + 0.1 * _spread(entry.id)
            if isinstance(entry.check, TimeToLive):
                kept.renew_at = now + wait * entry.check.seconds / limits.DIRECTORY_RENEWALS_PER_TTL
            kept.digest, kept.state = entry.digest if first else kept.digest, entry.state

    def _step(self, entry_id: str, now: float) -> Change | None:
        entry, kept = self._wanted.get(entry_id), self._kept.get(entry_id)
        if entry is None:
            left_over = entry_id not in self._dropped and now < self._adopt_until
            keep = kept is None or left_over or entry_id in self._handed_over
            return None if keep else Remove(entry_id)
        if kept is None or kept.digest != self._digests[entry_id]:
            return Put(entry)
        return Renew(entry) if self._needs_renewal(entry, kept, now) else None

    @staticmethod
    def _needs_renewal(entry: Entry, kept: _Kept, now: float) -> bool:
        if not isinstance(entry.check, TimeToLive):
            return False
        return kept.state is not entry.state or kept.renew_at <= now


def _spread(text: str) -> float:
    """From 0 to 1, always the same for the same text."""
    digest = hashlib.blake2b(text.encode(), digest_size=2).digest()
    return int.from_bytes(digest, "big") / 65535


def meta_text(text: str) -> str:
    """As much of a text as one value of `meta` may have."""
    return text.encode()[: limits.DIRECTORY_META_BYTES_MAX].decode(errors="ignore")


def meta_list(names: Iterable[str]) -> str:
    """Names in one value of `meta`, separated by commas; of too many, how many more there are."""
    found = list(names)
    text = ",".join(found)
    kept = len(found)
    while len(text.encode()) > limits.DIRECTORY_META_BYTES_MAX:
        kept -= 1
        text = ",".join((*found[:kept], f"+{len(found) - kept}"))
    return text


def share_of(name: str, members: Collection[str], entry_id: str) -> bool:
    """Whether `name` keeps an entry, of the members that share them all.

    Rendezvous hashing: everybody who sees the same members says the same, and a member that goes
    moves only what it kept.
    """
    if not members:
        return True

    def weight(member: str) -> tuple[bytes, str]:
        text = f"{member}\n{entry_id}"
        return hashlib.blake2b(text.encode(), digest_size=8).digest(), member

    return max(members, key=weight) == name
