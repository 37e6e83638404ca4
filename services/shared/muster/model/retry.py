"""How long to wait before a failed attempt is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from muster.model import limits


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """See `muster.v1.RetryPolicy`; times in seconds, defaults filled in."""

    maximum_attempts: int = limits.FAILED_ATTEMPTS_DEFAULT
    initial_seconds: float = limits.RETRY_INITIAL_SECONDS
    coefficient: float = limits.RETRY_COEFFICIENT
    maximum_seconds: float = limits.RETRY_MAX_SECONDS
    non_retryable_codes: frozenset[str] = frozenset()

    def allows(self, failures: int, code: str, *, permanent: bool) -> bool:
        """Whether another attempt may follow after `failures` failed ones, the last with `code`."""
        if permanent or code in self.non_retryable_codes:
            return False
        return failures < self.maximum_attempts

    def pause_seconds(self, failures: int, asked_seconds: float = 0.0) -> float:
        """Pause after the `failures`-th failure; never less than what the agent asked for."""
        try:
            pause = self.initial_seconds * self.coefficient ** (failures - 1)
        except OverflowError:
            pause = self.maximum_seconds
        return max(min(pause, self.maximum_seconds), asked_seconds)


DEFAULT_RETRY = RetryPolicy()
