import random
from itertools import pairwise
from textwrap import indent

from hypothesis import given, settings
from hypothesis import strategies as st

from muster.audit.clones import fingerprint, match
from muster.audit.limits import CLONE_GRAM_LINES, CLONE_WINDOW_GRAMS
from muster.audit.repeats import Repeat, maximal_repeats, suffix_array
from muster.audit.shapes import Clones, PrintsResult, Source
from tests.unit.audit.samples import COPIED, batch, source

FOUND_ALWAYS = CLONE_GRAM_LINES + CLONE_WINDOW_GRAMS - 1

symbols = st.lists(st.integers(0, 3), max_size=24)


def lines_of(name: str, count: int) -> str:
    return "".join(f"{name}_{n} = {name}(previous_{n})\n" for n in range(count))


def clones_of(*sources: Source) -> Clones:
    return match(fingerprint({"sources": list(sources)}))


def places(found: Clones) -> list[list[tuple[str, int, int]]]:
    return [[(p["path"], p["start"], p["end"]) for p in g["locations"]] for g in found["groups"]]


@given(symbols)
def test_the_suffix_array_sorts_the_suffixes(values: list[int]):
    assert suffix_array(values) == sorted(range(len(values)), key=lambda start: values[start:])


@given(symbols)
def test_the_repeats_are_those_that_a_plain_search_finds(values: list[int]):
    expected = set()
    for length in range(1, len(values)):
        by_text: dict[tuple[int, ...], list[int]] = {}
        for start in range(len(values) - length + 1):
            by_text.setdefault(tuple(values[start : start + length]), []).append(start)
        for starts in by_text.values():
            before = {values[start - 1] if start else None for start in starts}
            after = {
                values[start + length] if start + length < len(values) else None for start in starts
            }
            if len(starts) > 1 and len(before) > 1 and len(after) > 1:
                expected.add(Repeat(length, tuple(starts)))
    assert set(maximal_repeats(values)) == expected


def test_a_copy_is_found_whatever_its_layout_comments_and_literals():
    changed = COPIED.replace('"debit"', "'other'").replace("= 0", "= 17  # start")
    changed = indent(changed.replace("\n", "\n\n"), "  ")
    found = clones_of(
        source("a.py", lines_of("one", 20) + COPIED + lines_of("two", 20)),
        source("b.py", lines_of("three", 5) + changed + lines_of("four", 30)),
    )
    assert found["group_count"] == 1
    group = found["groups"][0]
    assert [place["path"] for place in group["locations"]] == ["a.py", "b.py"]
    assert group["lines"] >= CLONE_GRAM_LINES
    assert group["saved"] == group["lines"]


@given(st.integers(FOUND_ALWAYS, 40), st.integers(0, 25), st.integers(0, 25))
@settings(max_examples=25)
def test_a_copy_of_eleven_lines_is_always_found(count: int, before: int, after: int):
    found = clones_of(
        source("a.py", lines_of("one", before) + lines_of("same", count) + lines_of("two", 9)),
        source("b.py", lines_of("three", 9) + lines_of("same", count) + lines_of("four", after)),
    )
    assert found["group_count"] == 1
    for place, offset in zip(found["groups"][0]["locations"], (before, 9), strict=True):
        assert offset + 1 <= place["start"] <= offset + CLONE_WINDOW_GRAMS
        assert offset + count - CLONE_WINDOW_GRAMS < place["end"] <= offset + count


def test_many_copies_are_one_group_and_not_many_pairs():
    sources = [source(f"f{n}.py", lines_of(f"own{n}", 15) + COPIED) for n in range(12)]
    found = clones_of(*sources)
    assert [(g["copies"], g["saved"]) for g in found["groups"]] == [
        (12, 11 * found["groups"][0]["lines"])
    ]


def test_equal_files_are_one_group():
    found = clones_of(*(source(f"{n}.py", lines_of("same", 40)) for n in range(3)))
    assert len(found["groups"]) == 1
    assert found["groups"][0]["copies"] == 3
    assert 40 - 2 * CLONE_WINDOW_GRAMS < found["groups"][0]["lines"] <= 40


def test_a_copy_within_one_file_is_found():
    found = clones_of(source("a.py", COPIED + lines_of("between", 20) + COPIED))
    assert [len(group["locations"]) for group in found["groups"]] == [2]
    assert set(found["by_file"]) == {"a.py"}


@given(st.integers(5, 9), st.integers(2, 9))
@settings(max_examples=25)
def test_places_of_one_group_share_no_line(period: int, times: int):
    found = clones_of(source("a.py", lines_of("same", period) * times))
    for group in places(found):
        for (_, _, end), (_, start, _) in pairwise(group):
            assert start > end


def test_tables_imports_and_prose_are_not_copies():
    table = "x = {\n" + "".join(f"    'k{n}': {n},\n" for n in range(50)) + "}\n"
    monotonous = "value = 1\n" * 50
    imports = "".join(f"import module_{n}\n" for n in range(50))
    for text in (table, monotonous, imports):
        assert clones_of(source("a.py", text), source("b.py", "y = 2\n" + text))["groups"] == []
    prose = "".join(f"Line {n} of prose.\n" for n in range(50))
    assert clones_of(source("a.md", prose), source("b.md", prose))["groups"] == []


def test_duplicated_lines_count_once_however_many_groups_hold_them():
    found = clones_of(
        source("a.py", lines_of("same", 40)),
        source("b.py", lines_of("same", 40) + lines_of("more", 5)),
        source("c.py", lines_of("x", 5) + lines_of("same", 20) + lines_of("y", 5)),
    )
    assert found["by_file"]["a.py"] <= 40


def test_the_order_of_files_and_repeated_answers_leave_no_trace():
    sources = [source(f"f{n}.py", lines_of(f"own{n % 3}", 15) + COPIED) for n in range(9)]
    prints = [fingerprint({"sources": [s]})["files"][0] for s in sources]
    expected = match({"files": prints})
    shuffled = random.Random(7)
    for _ in range(5):
        again = [*prints, *prints[:3]]
        shuffled.shuffle(again)
        assert match({"files": again}) == expected


@given(st.lists(st.text(st.sampled_from("ab(\n'#=")), max_size=6))
def test_any_texts_can_be_compared(texts: list[str]):
    sources = [source(f"{n}.py", text * 5) for n, text in enumerate(texts)]
    prints: PrintsResult = fingerprint({"sources": sources})
    found = match(prints)
    assert found["files"] == len(texts)


def test_nothing_matches_nothing():
    assert match({"files": []}) == {"files": 0, "group_count": 0, "groups": [], "by_file": {}}
    assert fingerprint(batch(a=""))["files"][0]["prints"] == []
