import pytest

from muster.cli import text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.00004, "0.0 ms"),
        (0.0004, "0.4 ms"),
        (0.0099, "9.9 ms"),
        (0.012, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (1.239, "1.24 s"),
        (9.999, "10.0 s"),
        (59.9, "59.9 s"),
        (59.96, "1m 00s"),
        (184, "3m 04s"),
        (7500, "2h 05m"),
        (3 * 86400 + 4 * 3600, "3d 04h"),
        (-2, "-2.00 s"),
    ],
)
def test_a_duration_has_as_many_digits_as_people_want(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-3, "now"), (0.9, "now"), (8.9, "8s"), (184, "3m 04s"), (7500, "2h 05m"), (90000, "1d 01h")],
)
def test_an_age_is_short(seconds: float, shown: str) -> None:
    assert text.age(seconds) == shown


def test_an_age_in_a_table_is_shorter() -> None:
    assert [text.short_age(s) for s in (0, 8.9, 184, 7500, 90000)] == [
        "now",
        "8s",
        "3m",
        "2h",
        "1d",
    ]


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("90", 90),
        ("1.5s", 1.5),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("250ms", 0.25),
        ("1m30", 90),
    ],
)
def test_a_duration_can_be_typed(typed: str, seconds: float) -> None:
    assert text.parse_duration(typed) == seconds


@pytest.mark.parametrize("typed", ["", "x", "10x", "-5", "m", "5 apples", "nan", "inf"])
def test_what_is_no_duration_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        text.parse_duration(typed)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (64_000_000, "64 MB"),
        (2_500_000_000, "2.5 GB"),
    ],
)
def test_sizes_are_in_units_of_a_thousand(count: int, shown: str) -> None:
    assert text.size(count) == shown


def test_what_steers_a_terminal_is_not_passed_on() -> None:
    assert text.printable("a\x1b[31mb\x07\x9b") == "a�[31mb��"
    assert text.printable("two\nlines\tand a tab") == "two\nlines\tand a tab"


def test_a_shortened_text_is_one_line_of_a_certain_length() -> None:
    assert text.shortened("one\n two  three", 80) == "one two three"
    assert text.shortened("x" * 100, 10) == "x" * 9 + "…"


def test_counts_have_their_nouns() -> None:
    assert text.counted(1, "host") == "1 host"
    assert text.counted(1204, "agent") == "1,204 agents"
    assert text.counted(2, "retry", "retries") == "2 retries"


def test_a_long_list_says_how_much_is_left_out() -> None:
    assert text.listed(["a", "b"], 2) == "a, b"
    assert text.listed(["a", "b", "c", "d"], 2) == "a, b +2"


def test_anything_has_a_place_on_one_line() -> None:
    assert text.compact_of({"a": [1, "ü"]}) == '{"a": [1, "ü"]}'
    assert text.compact_of(b"12345") == "5 B"
    assert text.compact_of(object) == str(object)
