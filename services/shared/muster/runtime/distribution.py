"""Histograms that cost the hot path an append: values are counted by powers of two, later.

Whoever observes puts whole numbers into `fresh`, and calls `fold` now and then, so that there are
never too many of them. The bounds of the buckets follow from the numbers' length in bits.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from prometheus_client.core import HistogramMetricFamily


class Scale(NamedTuple):
    """What a whole number means, and which powers of two are bounds."""

    unit: float
    first: int
    last: int


# From 1 ms to 70 minutes; from 64 µs to 17 s; from 1 to 65,535.
MILLISECONDS = Scale(1e-3, 0, 22)
MICROSECONDS = Scale(1e-6, 6, 24)
COUNT = Scale(1, 1, 16)


class Distribution:
    """How often which values came."""

    __slots__ = ("_bits", "_scale", "_sum", "fresh")

    def __init__(self, scale: Scale) -> None:
        self.fresh: list[int] = []  # seen, and not counted yet
        self._scale = scale
        self._bits: Counter[int] = Counter()  # length in bits -> how many
        self._sum = 0

    def add(self, value: int) -> None:
        """Count one value; for what is not on the hot path."""
        value = max(0, value)
        self._bits[value.bit_length()] += 1
        self._sum += value

    def fold(self) -> None:
        """Count what is in `fresh`. What a clock that was set back made negative counts as 0."""
        fresh = self.fresh
        if fresh:
            values = fresh if min(fresh) >= 0 else [max(0, value) for value in fresh]
            self._bits.update(map(int.bit_length, values))
            self._sum += sum(values)
            fresh.clear()

    @property
    def count(self) -> int:
        """How many values there were."""
        self.fold()
        return self._bits.total()

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """The histogram, for a scrape."""
        self.fold()
        scale = self._scale
        buckets: list[tuple[str, float]] = []
        seen = sum(count for bits, count in self._bits.items() if bits < scale.first)
        for bits in range(scale.first, scale.last + 1):
            seen += self._bits[bits]
            # A duration was cut off at its unit, so it may have been almost one more.
            bound = 2**bits - (1 if scale.unit == 1 else 0)
            buckets.append((f"{bound * scale.unit:.10g}", seen))
        buckets.append(("+Inf", self._bits.total()))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum * scale.unit)
