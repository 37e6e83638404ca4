"""Timestamps and durations: protobuf's on the wire, float seconds or whole milliseconds inside.

Instants are Unix time. Milliseconds are what the ledger keeps; seconds are what clocks give.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOS_PER_SECOND = 1_000_000_000
_NANOS_PER_MS = 1_000_000
# 0001-01-01 and 9999-12-31T23:59:59: what a Timestamp may hold.
_SECONDS_MIN = -62_135_596_800
_SECONDS_MAX = 253_402_300_799
# Ten thousand years: what a Duration may hold, and all that is ever meant by "for ever".
_DURATION_SECONDS_MAX = 315_576_000_000


def duration_of_seconds(seconds: float) -> Duration:
    """The duration, to the nanosecond; what a Duration cannot hold becomes the longest it can."""
    bounded = max(-_DURATION_SECONDS_MAX, min(seconds, _DURATION_SECONDS_MAX))
    return _duration_of_nanos(round(bounded * _NANOS_PER_SECOND))


def duration_of_ms(ms: int) -> Duration:
    """The duration of so many milliseconds."""
    return _duration_of_nanos(ms * _NANOS_PER_MS)


def seconds_of_duration(duration: Duration) -> float:
    """The duration in seconds."""
    return duration.seconds + duration.nanos / _NANOS_PER_SECOND


def ms_of_duration(duration: Duration) -> int:
    """The duration in milliseconds, rounded down."""
    return duration.seconds * 1000 + duration.nanos // _NANOS_PER_MS


def timestamp_of_seconds(seconds: float) -> Timestamp:
    """The instant `seconds` after 1970, to the microsecond (a double holds no more)."""
    return timestamp_of_us(round(seconds * 1_000_000))


def timestamp_of_ms(ms: int) -> Timestamp:
    """The instant `ms` milliseconds after 1970."""
    seconds, rest = divmod(ms, 1000)
    return _timestamp(seconds, rest * _NANOS_PER_MS)


def timestamp_of_us(us: int) -> Timestamp:
    """The instant `us` microseconds after 1970."""
    seconds, rest = divmod(us, 1_000_000)
    return _timestamp(seconds, rest * 1000)


def seconds_of_timestamp(timestamp: Timestamp) -> float:
    """The instant in seconds since 1970."""
    return timestamp.seconds + timestamp.nanos / _NANOS_PER_SECOND


def ms_of_timestamp(timestamp: Timestamp) -> int:
    """The instant in milliseconds since 1970, rounded down."""
    return timestamp.seconds * 1000 + timestamp.nanos // _NANOS_PER_MS


def is_timestamp(timestamp: Timestamp) -> bool:
    """Whether it is an instant in the years 1 to 9999, as its documentation demands."""
    return _SECONDS_MIN <= timestamp.seconds <= _SECONDS_MAX and (
        0 <= timestamp.nanos < _NANOS_PER_SECOND
    )


def is_duration(duration: Duration) -> bool:
    """Whether it has at most ten thousand years, and both of its parts the same sign."""
    seconds, nanos = duration.seconds, duration.nanos
    return (
        abs(seconds) <= _DURATION_SECONDS_MAX
        and abs(nanos) < _NANOS_PER_SECOND
        and seconds * nanos >= 0
    )


def _duration_of_nanos(nanos: int) -> Duration:
    # Both parts of a negative duration are negative, so the magnitude is what is split.
    seconds, rest = divmod(abs(nanos), _NANOS_PER_SECOND)
    return (
        Duration(seconds=-seconds, nanos=-rest)
        if nanos < 0
        else Duration(seconds=seconds, nanos=rest)
    )


def _timestamp(seconds: int, nanos: int) -> Timestamp:
    return Timestamp(seconds=max(_SECONDS_MIN, min(seconds, _SECONDS_MAX)), nanos=nanos)
