"""Which links an executor keeps: to the schedulers it was told of, to those that they know of, and
to those that the directory names.

A link is named by its target, and a scheduler may be known by several targets ("localhost" and an
address, say). So what counts is the name that the scheduler itself gives: a link that was found out
about gives way to one that was configured for the same scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Known:
    """What a link's scheduler has said."""

    scheduler: str = ""  # its name; empty before it has said so
    peers: Mapping[str, str] = field(default_factory=dict)  # name -> target
    answered: bool = False


class LinkSet:
    """Pure: what is heard goes in, and `wanted` is what should be there."""

    def __init__(self, configured: Iterable[str]) -> None:
        self._known = {target: _Known() for target in configured}
        self._configured = frozenset(self._known)
        self._found: Mapping[str, str] = {}

    def found(self, schedulers: Mapping[str, str]) -> None:
        """The directory's word, name -> target: a hint that adds links, and never ends one that
        stands."""
        self._found = dict(schedulers)

    def welcomed(self, target: str, scheduler: str, peers: Mapping[str, str]) -> None:
        """The scheduler behind a link says who it is, and who shares the ledger with it."""
        known = self._known.get(target)
        if known is not None:
            known.scheduler, known.peers, known.answered = scheduler, dict(peers), True

    def lost(self, target: str) -> None:
        """The link is down. What its scheduler said last holds until somebody knows better."""
        known = self._known.get(target)
        if known is not None:
            known.answered = False

    def wanted(self) -> set[str]:
        """The targets that should have a link."""
        answered = [known for known in self._known.values() if known.answered]
        if answered or self._found:
            peers = dict(self._found)
            # Who shares the ledger knows better.
            peers |= {name: target for known in answered for name, target in known.peers.items()}
            for target in set(self._known) - self._configured:
                known = self._known[target]
                # That one is not there any more is believed of a scheduler only.
                unheard = None if answered else target
                moved = not known.answered and peers.get(known.scheduler, unheard) != target
                if moved or self._is_configured(known.scheduler):
                    del self._known[target]
            linked = {known.scheduler for known in self._known.values()}
            for name, target in peers.items():
                if name not in linked and target not in self._known:
                    self._known[target] = _Known(name)
        return set(self._known)

    def _is_configured(self, scheduler: str) -> bool:
        return any(
            known.answered and known.scheduler == scheduler
            for target, known in self._known.items()
            if target in self._configured
        )
