"""Events are published when something is decided, not when it is committed."""

from __future__ import annotations

from muster.scheduler.applying import Applying
from muster.scheduler.effects import Effect, Publish
from tests.faults.planted import put


def plant() -> None:
    """Publishes first, and again after the commit."""
    apply = Applying.apply

    def and_publish(self: Applying, effect: Effect) -> None:
        if isinstance(effect, Publish):
            self._hub.publish(self._committer.position + 1, [effect.event])
        apply(self, effect)

    put(Applying, "apply", and_publish)
