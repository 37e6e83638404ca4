"""Failpoints for tests: arming them in processes, and failing where one was never reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from muster.failpoints.arming import parse


class Failing:
    """What processes are told to fail at. Use `failing`."""

    def __init__(self, orders: str, reached: Path, seed: str) -> None:
        self._orders = parse(orders)
        self._reached = reached
        self.environment = {
            "MUSTER_FAILPOINTS": orders,
            "MUSTER_FAILPOINTS_SEED": seed,
            "MUSTER_FAILPOINTS_REACHED": str(reached),
        }

    def missed(self) -> list[str]:
        """The failpoints that have not acted yet."""
        return [each.name for each in self._orders if not (self._reached / each.name).exists()]

    def hits(self, name: str) -> int:
        """How often one has acted, in all processes."""
        file = self._reached / name
        return len(file.read_text().splitlines()) if file.exists() else 0


@contextmanager
def failing(orders: str, reached: Path, seed: str = "1") -> Iterator[Failing]:
    """Yields the environment for processes that are to fail; fails itself at the end of the block
    where one of them never did, because then nothing was tested."""
    armed = Failing(orders, reached, seed)
    yield armed
    missed = armed.missed()
    assert not missed, f"never reached: {', '.join(missed)}"
