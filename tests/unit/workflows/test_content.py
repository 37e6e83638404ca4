"""Articles from source texts: what the reviewer measures, and how the writer answers."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.agent import Failed
from muster.agent.testing import Bench
from muster.workflows.content import agents as content
from muster.workflows.content import drafting, language, planning, reviewing, sources
from muster.workflows.content.shapes import Cited, Draft, Remark, Source
from muster.workflows.content.sources import Text
from tests.unit.workflows.running import Page, broken_links, files_in, item, text_of

HEAPS = """
A heap is a tree in which every parent is smaller than its children, so the smallest is on top.

   >>> heap = []

The queue keeps the order of its items while new items are pushed onto the heap at any time.
This makes the next step of the whole program very easy to write for a beginner in an hour.
Pushing an item onto the heap takes a time that grows with the logarithm of how many there are.
Pushing an item onto the heap takes a time that grows with the logarithm of how many there were.
Popping takes the smallest item off the queue and moves the last leaf to the top of the tree.
A queue of tasks with priorities is a common reason to keep a heap of them in a program.
The leaf sinks down until no child is smaller, and the tree is in order again after that.
Merging sorted files on a disk needs only one item of each file in the memory at a time.
Timers of a server wait in a heap, so the next timer to fire is always at hand on top.
A heap in a list needs no pointers, for the children of an item are found by its index.
Sorting by a heap is slower than a quick sort, but it needs no more memory for the worst case.
"""


@pytest.fixture(scope="module")
def source() -> Source:
    return planning.cut([Text("Heaps", "a test", HEAPS)])[0]


SHORT = "table chair lamp clock piano mirror"
TERMS = ["heap", "queue", "tree", "item", "timers", "disk", "pointers", "quick"]


def draft_of(source: Source, *numbers: int) -> Draft:
    cited = [Cited(source.sentences[number - 1].text, number) for number in numbers]
    return Draft(source.slug, 1, cited)


def criteria(source: Source, draft: Draft) -> set[str]:
    return {remark.criterion for remark in reviewing.review(source, TERMS, draft).remarks}


def test_code_tables_and_headings_are_no_prose():
    text = "Heading\n*******\n\nwith_stmt ::= a\n\n| a | b |\n\n   foo(bar)\n\nA sentence of prose."
    assert list(language.paragraphs(text))[-1] == "A sentence of prose."
    assert not language.is_prose("x = foo(1, 2)[3] + {4: 5}.get(6) - 7 ** 8 a b c.")
    assert language.is_prose("A sentence of prose has a beginning, an end and some words.")


def test_sentences_are_numbered_and_each_stands_once(source: Source):
    assert [sentence.number for sentence in source.sentences] == list(range(1, 13))
    twice = planning.cut([Text("T", "o", HEAPS + "\n" + HEAPS)])[0]
    assert len(twice.sentences) == len(source.sentences)


def test_texts_of_the_same_title_get_slugs_of_their_own():
    slugs = [
        source.slug for source in planning.cut([Text("A b", "o", "x"), Text("a B!", "o", "y")])
    ]
    assert slugs == ["a-b", "a-b-2"]


def test_key_terms_are_what_is_special_about_a_text():
    bees = "Bees fly far from the hive. Then bees return to the hive."
    ants = "Ants walk far from the nest. Then ants return to the nest."
    terms = planning.key_terms(planning.cut([Text("b", "", bees), Text("a", "", ants)]), 2)
    assert [set(found) for found in terms] == [{"bees", "hive"}, {"ants", "nest"}]


def test_reading_ease_is_flesch_s():
    assert language.reading_ease(["The cat sat on the mat."]) == pytest.approx(116.145, abs=0.01)
    hard = "Organizational responsibility necessitates interdepartmental communication."
    assert language.reading_ease([hard]) < 0
    assert language.reading_ease([]) == 0.0


# --- the review -----------------------------------------------------------------------------------


def test_a_draft_that_meets_every_criterion_is_accepted(source: Source):
    verdict = reviewing.review(source, TERMS, draft_of(source, 1, 2, 4, 8, 9, 10, 11, 12))
    assert verdict.accepted
    assert verdict.remarks == []
    assert verdict.figures.words >= reviewing.WORDS_MIN
    assert verdict.figures.cited == 1.0


@pytest.mark.parametrize(
    ("criterion", "numbers"),
    [
        (reviewing.LENGTH, (1, 2)),
        (reviewing.LENGTH, tuple(range(1, 13)) * 2),
        (reviewing.COVERAGE, (6, 7)),
        (reviewing.REPETITION, (4, 5)),
        (reviewing.OPENING, (3, 1)),
    ],
)
def test_each_criterion_is_measured(source: Source, criterion: str, numbers: tuple[int, ...]):
    assert criterion in criteria(source, draft_of(source, *numbers))


def test_hard_sentences_are_named():
    hard = "Organizational responsibility necessitates interdepartmental communication procedures."
    source = planning.cut([Text("Hard", "", f"{hard} The cat sat on the old mat.")])[0]
    verdict = reviewing.review(source, [], draft_of(source, 1, 2))
    (remark,) = [each for each in verdict.remarks if each.criterion == reviewing.READABILITY]
    assert remark.measured < reviewing.READING_EASE_MIN
    assert remark.sentences[0] == 1


def test_a_sentence_that_is_not_word_for_word_in_its_source_is_found(source: Source):
    good = draft_of(source, 1, 2, 4, 8, 9, 10, 11, 12)
    for wrong in (Cited("A heap is a tree.", 1), Cited(good.sentences[0].text, 99)):
        verdict = reviewing.review(source, TERMS, replace(good, sentences=[wrong]))
        (remark,) = [each for each in verdict.remarks if each.criterion == reviewing.CITATION]
        assert remark.sentences == [wrong.number]
        assert verdict.figures.cited == 0.0


def test_an_empty_draft_is_rejected_and_not_an_error(source: Source):
    verdict = reviewing.review(source, TERMS, Draft(source.slug, 1, []))
    found = {remark.criterion for remark in verdict.remarks}
    assert {reviewing.LENGTH, reviewing.COVERAGE, reviewing.CITATION} <= found


# --- drafts ---------------------------------------------------------------------------------------


def test_sentences_that_speak_for_the_others_rank_higher(source: Source):
    ranks = drafting.textrank(source.sentences)
    assert sum(ranks.values()) == pytest.approx(1)
    assert ranks[4] > ranks[3]  # about heaps and items, the other about beginners and hours


def test_a_rejected_draft_passes_once_its_remarks_are_answered(source: Source):
    draft = draft_of(source, 3, 4, 5)
    verdict = reviewing.review(source, TERMS, draft)
    assert not verdict.accepted
    assert criteria(source, draft) >= {reviewing.LENGTH, reviewing.OPENING, reviewing.REPETITION}
    again = drafting.redraft(source, TERMS, draft, verdict.remarks)
    assert again.round == 2
    assert {cited.number for cited in again.sentences}.isdisjoint({3, 5})
    assert reviewing.review(source, TERMS, again).accepted


def test_missing_terms_are_brought_in(source: Source):
    remark = Remark(reviewing.COVERAGE, 0.2, "", "", terms=["timers", "pointers"])
    again = drafting.redraft(source, TERMS, draft_of(source, 6, 7), [remark])
    assert {10, 11} <= {cited.number for cited in again.sentences}


@given(st.sets(st.integers(1, 12), min_size=1), st.integers(0, 3))
def test_whatever_is_drafted_stands_in_the_source_and_in_its_order(numbers: set[int], rounds: int):
    source = planning.cut([Text("Heaps", "a test", HEAPS)])[0]
    draft = draft_of(source, *sorted(numbers))
    for _ in range(rounds):
        verdict = reviewing.review(source, TERMS, draft)
        draft = drafting.redraft(source, TERMS, draft, verdict.remarks)
    order = [cited.number for cited in draft.sentences]
    assert order == sorted(set(order))
    assert reviewing.review(source, TERMS, draft).figures.cited in (0.0, 1.0)
    assert all(source.sentences[c.number - 1].text == c.text for c in draft.sentences)


# --- the agents -----------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    kinds = (content.planner, content.writer, content.reviewer, content.editor, content.publisher)
    return Bench(*kinds)


async def test_real_texts_become_articles_whose_every_sentence_leads_to_its_source(
    bench: Bench, tmp_path: Path
):
    out = str(tmp_path)
    plan = (await bench.run("content.plan", {"count": 12})).output
    rounds: Counter[int] = Counter()
    published, rejected = [], []
    for each in plan["items"]:
        try:
            published.append(await item(bench, each, out))
            rounds[published[-1]["rounds"]] += 1
        except Failed as failed:
            rejected.append((failed.code, bool(failed.details)))
    assert set(rejected) <= {("REJECTED", True)}
    assert rounds[2] + rounds[3] > 0, "the reviewer has accepted every first draft"
    wanted = {"items": plan["items"], "published": published, "out_dir": out}
    index = (await bench.run("content.index", wanted)).output
    assert index["published"] == len(published) >= 6
    assert index["rejected"] == len(plan["items"]) - len(published)
    page = Page(text_of(index["index"]))
    assert page.loads == []
    assert len([link for link in page.links if "#s" in link]) > 30
    assert broken_links(tmp_path) == []
    article = (tmp_path / published[0]["markdown"]).read_text()
    assert f"](../sources/{published[0]['slug']}.html#s" in article


async def test_a_text_without_enough_to_say_is_rejected_three_times(bench: Bench, tmp_path: Path):
    said = " ".join(f"The {name} stands in the corner of the room." for name in SHORT.split())
    text = {"title": "Short", "origin": "a test", "text": said}
    (short,) = (await bench.run("content.plan", {"texts": [text]})).output["items"]
    with pytest.raises(Failed, match=r"rejected in round 3: It has [0-9]+ words") as failed:
        await item(bench, short, str(tmp_path))
    assert failed.value.permanent
    assert "length" in [remark["criterion"] for remark in failed.value.details]
    assert files_in(tmp_path) == {}


async def test_publishing_twice_changes_nothing_and_can_be_undone(bench: Bench, tmp_path: Path):
    text = {"title": "Heaps <b>", "origin": "a & b", "text": HEAPS}
    (heaps,) = (await bench.run("content.plan", {"texts": [text]})).output["items"]
    published = await item(bench, heaps, str(tmp_path))
    before = files_in(tmp_path)
    assert len(before) == 2
    assert await item(bench, heaps, str(tmp_path)) == published
    assert files_in(tmp_path) == before
    undo = {"item": heaps, "out_dir": str(tmp_path)}
    assert (await bench.run("content.unpublish", undo)).output is True
    assert (await bench.run("content.unpublish", undo)).output is False
    assert files_in(tmp_path) == {}


async def test_what_cannot_be_planned_is_refused_with_what_to_do(bench: Bench):
    for plan, code, says in (
        ({"count": 0}, "COUNT", "1 to 1000"),
        ({"count": 5, "topics": ["Nothing like it"]}, "UNKNOWN_TOPIC", "Nothing like it"),
        ({"texts": [{"title": "t", "origin": "", "text": "Too short."}]}, "NO_TOPICS", "prose"),
    ):
        failure = (await bench.run("content.plan", plan)).failure
        assert failure is not None
        assert (failure.code, failure.permanent) == (code, True)
        assert says in failure.message
    index = {"items": [], "published": [], "out_dir": "relative/folder"}
    failure = (await bench.run("content.index", index)).failure
    assert failure is not None
    assert "relative" in failure.message


def test_python_brings_a_hundred_texts_and_always_the_same():
    texts = sources.python_texts(100, planning.is_enough)
    assert len(texts) == len({text.title for text in texts}) == 100
    assert texts == sources.python_texts(100, planning.is_enough)
    cut = planning.cut(texts)
    assert min(len(each.sentences) for each in cut) >= planning.SOURCE_SENTENCES_MIN
    assert all(len(text.text.split()) > 50 for text in texts)
