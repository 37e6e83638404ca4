"""Events are published when something is decided, not when it is committed."""

from __future__ import annotations

from muster.scheduler.applying import Applying
from muster.scheduler.effects import Effect
from muster.scheduler.events import events_of_change
from muster.scheduler.records import Now
from tests.faults.planted import put


def plant() -> None:
    """Publishes first, and again after the commit."""
    apply = Applying.apply

    def and_publish(self: Applying, effects: list[Effect], now: Now) -> None:
        committer = self._committer
        known = len(committer.changes)
        apply(self, effects, now)
        events = [each for made in committer.changes[known:] for each in events_of_change(made)]
        self._hub.publish(committer.position + 1, events)

    put(Applying, "apply", and_publish)
