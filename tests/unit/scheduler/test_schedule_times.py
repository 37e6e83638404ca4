"""Instants of schedules: none is left out or comes twice, wherever one begins to ask."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.scheduler.core_schedule_times import Bounded, Every, Once
from muster.scheduler.schedules.cron import cron_of

DAY_MS = 86_400_000
BERLIN = "Europe/Berlin"
# Both nights of 2026 in which clocks there are moved: 2:00 → 3:00, and 3:00 → 2:00.
SPRING, AUTUMN = "2026-03-29", "2026-10-25"


def ms(text: str, zone: str = BERLIN) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def on(day: str, expression: str, zone: str = BERLIN) -> list[str]:
    """The instants of a day, as that place's clocks show them."""
    begin = ms(f"{day}T00:00", zone)
    end = begin + 27 * 3_600_000
    shown = (
        datetime.fromtimestamp(each / 1000, ZoneInfo(zone))
        for each in takewhile(lambda at: at < end, cron_of(expression, zone).after(begin - 1))
    )
    return [f"{at:%H:%M:%S%z}" for at in shown if f"{at:%Y-%m-%d}" == day]


@pytest.mark.parametrize(
    ("day", "expression", "expected"),
    [
        # An hour that is not there that day is the instant after the gap.
        (SPRING, "30 2 * * *", ["03:00:00+0200"]),
        (SPRING, "0,30 2 * * *", ["03:00:00+0200"]),
        (SPRING, "0 2,3 * * *", ["03:00:00+0200"]),
        (SPRING, "15 30 2 * * *", ["03:00:15+0200"]),
        # One that comes twice counts once.
        (AUTUMN, "30 2 * * *", ["02:30:00+0200"]),
        (AUTUMN, "0,30 2 * * *", ["02:00:00+0200", "02:30:00+0200"]),
        (AUTUMN, "15 30 2 * * *", ["02:30:15+0200"]),
        (AUTUMN, "0 2,3 * * *", ["02:00:00+0200", "03:00:00+0100"]),
        # A range names its hours, too.
        (
            SPRING,
            "30 0-4/1 * * *",
            ["00:30:00+0100", "01:30:00+0100", "03:00:00+0200", "03:30:00+0200", "04:30:00+0200"],
        ),
    ],
)
def test_named_hours_are_neither_left_out_nor_repeated(
    day: str, expression: str, expected: list[str]
) -> None:
    assert on(day, expression) == expected


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_stars_follow_real_time_through_moved_clocks(day: str, hours: int) -> None:
    assert len(on(day, "30 * * * *")) == hours
    assert len(on(day, "*/15 * * * *")) == 4 * hours
    begin = ms(f"{day}T00:00")
    quarters = list(islice(cron_of("*/15 * * * *", BERLIN).after(begin - 1), 4 * hours))
    assert {later - earlier for earlier, later in pairwise(quarters)} == {900_000}


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/20 * * * * *", "2026-01-01T00:00:07.5", ["00:00:20", "00:00:40", "00:01:00"]),
        ("* * * * *", "2026-01-01T00:00:00", ["00:01:00", "00:02:00", "00:03:00"]),
        ("* * * * *", "2025-12-31T23:59:59.999", ["00:00:00", "00:01:00", "00:02:00"]),
        ("5,10 0 12 1 1 *", "2026-01-01T11:00", ["12:00:05", "12:00:10", "12:00:05"]),
    ],
)
def test_instants_are_those_after_the_one_that_is_asked_for(
    expression: str, after: str, expected: list[str]
) -> None:
    found = islice(cron_of(expression, "").after(ms(after, "UTC")), 3)
    assert [f"{datetime.fromtimestamp(at / 1000, UTC):%H:%M:%S}" for at in found] == expected


def test_months_end_and_weeks_are_counted_as_cron_does() -> None:
    begin = ms("2026-01-15T00:00", "UTC")

    def first(expression: str) -> str:
        at = next(cron_of(expression, "UTC").after(begin))
        return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}"

    assert first("0 0 L * *") == "2026-01-31"
    assert first("0 0 LW * *") == "2026-01-30"
    assert first("0 0 * * 5L") == "2026-01-30"
    assert first("0 0 * * 1#2") == "2026-02-09"
    assert first("0 0 29 2 *") == "2028-02-29"
    assert first("0 0 20 * MON") == "2026-01-19"  # either day is enough


def test_an_expression_without_an_instant_ends() -> None:
    assert list(cron_of("0 0 */30 2 MON#5", "UTC").after(ms("2026-01-01T00:00", "UTC"))) == []
    late = int(datetime(9999, 12, 31, 23, 59, tzinfo=UTC).timestamp() * 1000)
    assert list(cron_of("* * * * *", "UTC").after(late)) == []


@pytest.mark.parametrize(
    ("expression", "zone", "said"),
    [
        ("* * * *", "", "5 fields"),
        ("* * * * * * *", "", "this has 7"),
        ("61 * * * *", "", "minute"),
        ("61 * * * * *", "", "second"),
        ("x * * * * *", "", "second"),
        ("0 0 30 2 *", "", "or never comes"),
        ("0 0 * * 8", "", "day-of-week"),
        ("* * * * *", "Europe/Atlantis", "is no time zone"),
        ("* * * * *", "../../etc/passwd", "is no time zone"),
        ("* * * * *", "Europe", "is no time zone"),
    ],
)
def test_what_is_no_expression_or_zone_is_named(expression: str, zone: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cron_of(expression, zone)


ZONES = ("UTC", BERLIN, "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns")
EXPRESSIONS = (
    "30 2 * * *",
    "0,30 1,2,3 * * *",
    "*/7 * * * *",
    "30 * * * *",
    "0 */2 * * *",
    "10 30 2 * * *",
    "*/20 15 1-3 * * *",
    "0 0 * * 0",
    "59 23 L * *",
)


@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(ZONES),
    st.integers(0, 366 * 24 * 3600),
    st.integers(0, 999),
)
def test_where_one_begins_to_ask_makes_no_difference(
    expression: str, zone: str, second: int, rest_ms: int
) -> None:
    after = ms("2026-01-01T00:00", "UTC") + second * 1000 + rest_ms
    cron = cron_of(expression, zone)
    found = list(islice(cron.after(after), 12))
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    for at, each in enumerate(found[:-1]):
        assert next(cron.after(each)) == found[at + 1]
        assert next(cron.after(found[at + 1] - 1)) == found[at + 1]


def test_an_interval_does_not_drift() -> None:
    every = Every(anchor_ms=1_000, every_ms=300)
    assert list(islice(every.after(999), 3)) == [1_000, 1_300, 1_600]
    assert list(islice(every.after(1_000), 2)) == [1_300, 1_600]
    assert list(islice(every.after(1_450), 2)) == [1_600, 1_900]
    assert list(islice(every.after(-5_000), 1)) == [1_000]
    assert list(Once(7).after(6)) == [7]
    assert list(Once(7).after(7)) == []


def test_bounds_hold_instants_and_not_their_jitter() -> None:
    bounded = Bounded(Every(0, 100), "seed", 0, start_ms=250, end_ms=500)
    assert [due.tick_ms for due in bounded.after(0)] == [300, 400, 500]
    assert [due.tick_ms for due in bounded.after(400)] == [500]


@given(st.text(max_size=8), st.integers(0, 5_000), st.integers(100, 1_000), st.integers(0, 10**9))
def test_jitter_is_the_same_each_time_and_keeps_order(
    seed: str, jitter_ms: int, every_ms: int, after: int
) -> None:
    bounded = Bounded(Every(0, every_ms), seed, jitter_ms)
    dues = list(islice(bounded.after(after), 20))
    for due, following in pairwise(dues):
        assert due.tick_ms <= due.fire_ms < following.tick_ms
        assert due.fire_ms - due.tick_ms <= jitter_ms
    for due in dues:
        assert next(bounded.after(due.tick_ms - 1)) == due


def test_jitter_spreads_schedules_and_ticks() -> None:
    def late(seed: str) -> list[int]:
        dues = islice(Bounded(Every(0, 60_000), seed, 30_000).after(0), 200)
        return [due.fire_ms - due.tick_ms for due in dues]

    mine, yours = late("a\0mine"), late("a\0yours")
    assert mine != yours
    assert min(mine) < 3_000 < 27_000 < max(mine)
