"""What failpoints are told, when they act, and that they cost nothing when nobody asks for one."""

from __future__ import annotations

import ast
import asyncio
import importlib
import operator
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.failpoints import FailpointError, FailpointsInvalid, check, failpoint
from muster.failpoints.arming import Action, Armed, Order, parse
from muster.failpoints.points import POINTS
from tests.sources import muster_modules, syntax

# --- what they are told ---------------------------------------------------------------------------


def test_several_are_separated_by_commas_or_semicolons() -> None:
    assert parse("drain=crash, report_unsent=error@10%;ledger_commit=apply_then_error@3") == [
        Order("drain", Action.CRASH),
        Order("report_unsent", Action.ERROR, percent=10.0),
        Order("ledger_commit", Action.APPLY_THEN_ERROR, hit=3),
    ]


def test_nothing_is_asked_for_by_an_empty_text() -> None:
    assert parse("") == parse(" ,; ") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere=crash", "there is no failpoint 'nowhere'; there are submit_uncommitted"),
        ("drain=explode", "there is no action 'explode'; there are crash, hang, error"),
        ("drain", "'drain' is not name=action"),
        ("drain=crash@", "'drain=crash@' is not name=action"),
        ("drain=crash@-1", "'drain=crash@-1' is not name=action"),
        ("drain=crash@0", "ends in neither a count from 1"),
        ("drain=crash@1.5", "ends in neither a count from 1"),
        ("drain=crash@0%", "ends in neither a count from 1"),
        ("drain=crash@101%", "ends in neither a count from 1"),
        ("drain=crash,drain=error", "drain is named twice"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(FailpointsInvalid, match=f"^MUSTER_FAILPOINTS: .*{said}"):
        parse(text)


def test_what_is_armed_can_be_said_back() -> None:
    text = "drain=crash,report_unsent=error@2.5%,ledger_commit=hang@3"
    assert str(Armed(parse(text), seed="s")) == f"{text} seed s"


# --- when they act --------------------------------------------------------------------------------


def acts(order: str, hits: int, *, seed: str = "1", name: str = "drain") -> list[int]:
    """At which of so many hits `name` fails."""
    count = Armed(parse(order), seed).at(name, FailpointError)(operator.index)
    failed = []
    for hit in range(1, hits + 1):
        try:
            count(hit)
        except FailpointError:
            failed.append(hit)
    return failed


def test_one_acts_every_time_or_at_one_hit_only() -> None:
    assert acts("drain=error", 3) == [1, 2, 3]
    assert acts("drain=error@2", 5) == [2]


def test_one_that_is_not_named_is_left_alone() -> None:
    original = operator.index
    assert Armed(parse("drain=error")).at("report_unsent", FailpointError)(original) is original


def test_the_same_seed_fails_at_the_same_hits_and_another_at_others() -> None:
    first = acts("drain=error@10%", 1000, seed="a")
    assert first == acts("drain=error@10%", 1000, seed="a")
    assert first != acts("drain=error@10%", 1000, seed="b")
    assert 60 < len(first) < 140


def test_each_name_draws_for_itself() -> None:
    both = "drain=error@10%,report_unsent=error@10%"
    assert acts(both, 1000) == acts("drain=error@10%", 1000)
    assert acts(both, 1000, name="report_unsent") != acts(both, 1000)


def test_without_a_seed_one_is_drawn() -> None:
    assert Armed([]).seed != Armed([]).seed


# --- what they do ---------------------------------------------------------------------------------


def test_error_does_nothing_and_raises_and_apply_then_error_does_it_first() -> None:
    done: list[str] = []
    for action in ("error", "apply_then_error"):
        armed = Armed(parse(f"drain={action}"))
        with pytest.raises(LookupError, match="failpoint drain"):
            armed.at("drain", LookupError)(done.append)(action)
    assert done == ["apply_then_error"]


async def test_a_coroutine_function_fails_when_it_is_awaited() -> None:
    done: list[str] = []

    async def add(what: str) -> None:
        done.append(what)

    for action in ("error", "apply_then_error"):
        failing = Armed(parse(f"drain={action}")).at("drain", FailpointError)(add)
        call = failing(action)
        with pytest.raises(FailpointError):
            await call
    assert done == ["apply_then_error"]


async def test_a_coroutine_that_hangs_can_only_be_cancelled() -> None:
    async def nothing() -> None:
        pass

    hanging = Armed(parse("drain=hang")).at("drain", FailpointError)(nothing)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await hanging()


def test_one_that_acts_leaves_a_file_of_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "reached"
    armed = Armed(parse("drain=error@2,report_unsent=error"), reached=folder)
    failing = armed.at("drain", FailpointError)(operator.index)
    failing(1)
    assert not folder.exists()
    with pytest.raises(FailpointError):
        failing(2)
    assert [file.name for file in folder.iterdir()] == ["drain"]
    assert (folder / "drain").read_text().endswith(" error\n")


def test_a_generator_is_not_taken_for_a_function() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        Armed(parse("drain=error")).at("drain", FailpointError)(numbers)


# --- what they cost -------------------------------------------------------------------------------


def sites() -> list[tuple[str, str, str]]:
    """Every place of a failpoint: its name, the module and the qualified name of its function."""
    found = []
    for module in muster_modules():
        for owner in ast.walk(syntax(module.path)):
            if isinstance(owner, ast.Module | ast.ClassDef):
                prefix = f"{owner.name}." if isinstance(owner, ast.ClassDef) else ""
                for node in owner.body:
                    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                        names = names_at(node)
                        found += [(name, module.name, prefix + node.name) for name in names]
    return found


def names_at(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The failpoints that decorate a function."""
    return [
        ast.literal_eval(each.args[0])
        for each in function.decorator_list
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "failpoint"
    ]


def test_each_failpoint_that_is_listed_stands_in_one_place_of_each_backend() -> None:
    ledgers = {"ledger_commit", "ledger_full"}
    assert Counter(name for name, _, _ in sites()) == {
        point: 2 if point in ledgers else 1 for point in POINTS
    }


@pytest.mark.parametrize(("name", "module", "function"), sites())
def test_without_the_variable_a_place_holds_the_function_itself(
    name: str, module: str, function: str
) -> None:
    assert check() == ""
    found = operator.attrgetter(function)(importlib.import_module(module))
    assert not hasattr(found, "__wrapped__")
    assert found.__code__.co_name == function.rpartition(".")[2]


def test_without_the_variable_a_decorator_returns_what_it_decorates() -> None:
    assert failpoint("drain")(operator.index) is operator.index
