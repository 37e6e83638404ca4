"""Decides of new traces before anything is made for them.

Of a client's thousands of requests a second, few are sampled; OpenTelemetry makes a span of each to
find that out. Here only its trace id is drawn, and the sampler finds it so.
"""

from __future__ import annotations

from random import getrandbits

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler, TraceIdRatioBased


class Roots(RandomIdGenerator):
    """Makes ids, the next trace's as it was drawn."""

    def __init__(self) -> None:
        self._bound: int | None = None
        self._drawn = 0

    def follow(self, sampler: Sampler) -> None:
        """Know what a sampler will say, if it goes by the ids of traces."""
        by_id = getattr(sampler, "_root", sampler)  # of a ParentBased: who decides of new traces
        self._bound = by_id.bound if isinstance(by_id, TraceIdRatioBased) else None

    def skips(self) -> bool:
        """Whether the trace that is about to begin is not sampled."""
        if self._bound is None:
            return False  # ask the sampler
        drawn = getrandbits(128)
        if drawn & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound:
            return True
        self._drawn = drawn
        return False

    def generate_trace_id(self) -> int:
        """See `IdGenerator`."""
        drawn, self._drawn = self._drawn, 0
        return drawn or super().generate_trace_id()
