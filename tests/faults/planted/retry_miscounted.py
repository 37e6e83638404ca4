"""A contract gets one attempt more than its retry policy allows."""

from __future__ import annotations

from muster.model.retry import RetryPolicy
from tests.faults.planted import put


def plant() -> None:
    """Counts from 0 what counts from 1."""
    allows = RetryPolicy.allows

    def one_more(self: RetryPolicy, failures: int, code: str, *, permanent: bool) -> bool:
        return allows(self, failures - 1, code, permanent=permanent)

    put(RetryPolicy, "allows", one_more)
