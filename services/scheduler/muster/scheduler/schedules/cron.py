"""Cron expressions in a time zone, as instants.

`cronsim` evaluates five fields, as Debian's cron does where clocks are moved for summer time: an
hour that is named and left out that day counts as the instant after the gap, and one that comes
twice counts once; with "*" in the hour or minute, real time counts. It does neither with six
fields, so the seconds are put to its minutes here, and both kinds of expression behave the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from cronsim.cronsim import Field

_MINUTE_MS = 60_000
_FIELDS = 5
_YEAR_MAX = 9000  # of a datetime; 50 years of it must be left to look ahead


@dataclass(frozen=True, slots=True)
class Cron:
    """The instants of an expression. Make it with `cron_of`."""

    minutes: str  # five fields
    seconds: tuple[int, ...]  # of each such minute, rising
    zone: tzinfo

    def after(self, ms: int) -> Iterator[int]:
        """See `Times.after`. Ends where there is nothing for 50 years."""
        begin = datetime.fromtimestamp((ms // _MINUTE_MS - 1) * 60, UTC)
        if begin.year > _YEAR_MAX:
            return
        try:
            yield from self._after(begin, ms)
        except OverflowError:
            return  # the end of the calendar

    def _after(self, begin: datetime, last: int) -> Iterator[int]:
        # Around a change of the clocks cronsim may name an instant again that has been: each counts
        # once, and in order.
        for minute in CronSim(self.minutes, begin.astimezone(self.zone)):
            minute_ms = round(minute.timestamp()) * 1000
            for second in self.seconds:
                instant = minute_ms + second * 1000
                if instant > last:
                    last = instant
                    yield instant


@lru_cache(maxsize=1024)
def cron_of(expression: str, time_zone: str) -> Cron:
    """Raises `ValueError`, with what is wrong, for people."""
    fields = expression.split()
    if len(fields) not in (_FIELDS, _FIELDS + 1):
        message = (
            "must have 5 fields (minute, hour, day of month, month, day of week), or 6 with the "
            f"second first; this has {len(fields)}"
        )
        raise ValueError(message)
    zone = zone_of(time_zone)
    try:
        seconds = Field.SECOND.parse(fields[0].upper()) if len(fields) > _FIELDS else {0}
        made = Cron(" ".join(fields[-_FIELDS:]), tuple(sorted(map(_plain, seconds))), zone)
        CronSim(made.minutes, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(_what_is_wrong(str(error).removeprefix("Bad "))) from None
    return made


def zone_of(name: str) -> tzinfo:
    """A time zone; raises `ValueError`. Empty is UTC."""
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{name!r} is no time zone; write one such as Europe/Berlin, or UTC"
        raise ValueError(message) from None


def _what_is_wrong(field: str) -> str:
    never = ", or never comes" if field == "day-of-month" else ""
    return f"has a {field} that is not as cron has them{never}; write for instance 0 9 * * MON-FRI"


def _plain(second: int | tuple[int, int]) -> int:
    assert isinstance(second, int)
    return second
