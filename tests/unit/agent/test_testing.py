"""Capabilities on the bench."""

import asyncio
from typing import Any

import pytest

from muster.agent import Agent, AttemptCancelled, Blob, ChildFailed, Context, Failed, SyncContext
from muster.agent.inquiry import AskOptions
from muster.agent.remembering import MemoryBlock, PastContract
from muster.agent.testing import Bench
from muster.model.errors import MusterError
from tests.support.asking_agents import asker
from tests.support.sample_agents import Point, sample


@pytest.fixture
def bench() -> Bench:
    return Bench(sample)


async def test_a_run_has_an_output(bench: Bench) -> None:
    run = await bench.run("demo.echo", {"text": "ab", "times": 2})
    assert run.output == "abab"
    assert run.failure is None
    assert (await bench.run("demo.mirror", Point(1, 2))).output == {"x": 2, "y": 1}


async def test_a_run_that_fails_raises_when_its_output_is_asked_for(bench: Bench) -> None:
    run = await bench.run("demo.fail", {"code": "ODD"})
    assert run.failure is not None
    assert (run.failure.code, run.failure.retry_after) == ("ODD", 1.5)
    with pytest.raises(Failed, match="ODD"):
        _ = run.output


async def test_input_and_output_are_checked_as_at_a_host(bench: Bench) -> None:
    for capability, given, code in (
        ("demo.echo", {"text": 1}, "INVALID_INPUT"),
        ("demo.wrong", None, "INVALID_OUTPUT"),
    ):
        run = await bench.run(capability, given)
        assert run.failure is not None
        assert run.failure.code == code


@pytest.mark.parametrize("capability", ["demo.talk", "demo.talk_in_worker"])
async def test_what_is_said_is_recorded(bench: Bench, capability: str) -> None:
    run = await bench.run(capability, {"words": ["a", "b"]})
    assert run.output == 2
    assert run.chunks == ["a", "b"]
    assert [progress.message for progress in run.progress] == ["a", "b"]
    assert [line.message for line in run.logs] == ["begins"]
    assert run.usage.output_tokens + run.usage.cost_micros > 0


async def test_children_are_scripted(bench: Bench) -> None:
    async def shout(given: dict[str, str]) -> str:
        return given["text"].upper()

    bench.child("demo.echo", does=shout)
    for capability in ("demo.fan_out", "demo.fan_out_in_worker"):
        run = await bench.run(capability, {"texts": ["a", "b"]})
        assert run.output == ["A", "B"]
        assert [call.input for call in run.children] == [{"text": "a"}, {"text": "b"}]
        assert run.suspensions == 2


async def test_children_that_nobody_scripted_run_on_the_bench_too(bench: Bench) -> None:
    for capability in ("demo.descend", "demo.descend_in_worker"):
        assert (await bench.run(capability, {"levels": 3})).output == 3


async def test_a_scripted_failure_reaches_the_parent(bench: Bench) -> None:
    bench.child("demo.fail", fails=Failed("BROKEN", details=[1]))
    assert (await bench.run("demo.rescue")).output == "BROKEN it [1]"
    run = await bench.run("demo.pass_on")
    assert run.failure is not None
    assert (run.failure.code, run.failure.permanent) == ("CHILD_FAILED", True)


async def test_an_attempt_can_be_cancelled_while_it_runs() -> None:
    agent = Agent("a")
    codes: list[str | None] = []

    @agent.capability("demo.wait")
    async def wait(ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            codes.append(ctx.cancel_code)

    async with Bench(agent).start("demo.wait") as running:
        await running.begun()
        running.cancel("ATTEMPT_TIMEOUT")
        run = await running.end()
    assert codes == ["ATTEMPT_TIMEOUT"]
    assert run.failure is not None
    assert run.failure.code == "ATTEMPT_TIMEOUT"


async def test_sync_code_that_waits_for_a_child_is_interrupted() -> None:
    agent = Agent("a")
    noticed: list[str] = []

    @agent.capability("demo.wait", threads=True)
    def wait(ctx: SyncContext) -> None:
        try:
            ctx.call("demo.never")
        except AttemptCancelled as cancelled:
            noticed.append(cancelled.code)
            raise

    async def never(_given: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    asked = asyncio.Event()
    bench = Bench(agent)
    bench.child("demo.never", does=never)
    async with bench.start("demo.wait") as running:
        await asked.wait()
        running.cancel("PARENT_ENDED")
        await running.end()
    assert noticed == ["PARENT_ENDED"]


async def test_a_deadline_cancels() -> None:
    agent = Agent("a")
    left: list[float | None] = []

    @agent.capability("demo.wait")
    async def wait(ctx: Context) -> None:
        left.append(ctx.time_left())
        await asyncio.Event().wait()

    run = await Bench(agent).run("demo.wait", timeout=0.01)
    assert run.failure is not None
    assert run.failure.code == "DEADLINE_EXCEEDED"
    assert left[0] is not None
    assert 0 <= left[0] <= 0.01


async def test_facts_reach_the_context() -> None:
    agent = Agent("a")

    @agent.capability("demo.who")
    async def who(ctx: Context) -> list[object]:
        return [ctx.attempt, ctx.facts.labels, ctx.facts.last_failure, ctx.cancelled]

    run = await Bench(agent).run("demo.who", attempt=2, labels={"a": "b"}, last_failure="ODD")
    assert run.output == [2, {"a": "b"}, "ODD", False]


async def test_blobs_are_kept_in_memory(bench: Bench) -> None:
    run = await bench.run("demo.keep", {"text": "hello"})
    assert await bench.blobs.get(Blob(**run.output)) == b"hello"


async def test_the_same_key_is_the_same_child() -> None:
    agent = Agent("a")

    @agent.capability("demo.twice")
    async def twice(ctx: Context) -> bool:
        first = await ctx.submit("demo.child", key="one")
        second = await ctx.submit("demo.child", key="one")
        other = await ctx.submit("demo.child")
        await ctx.gather([first, second, other])
        return first is second

    bench = Bench(agent)
    bench.child("demo.child", returns=1)
    run = await bench.run("demo.twice")
    assert run.output is True
    assert len(run.children) == 2


async def test_what_no_agent_offers_cannot_be_run(bench: Bench) -> None:
    with pytest.raises(LookupError, match=r"demo\.nothing"):
        await bench.run("demo.nothing")
    assert issubclass(ChildFailed, Exception)


@pytest.mark.parametrize("capability", ["ask.in_worker", "ask.in_thread"])
async def test_a_person_on_the_bench_answers_sync_code(capability: str) -> None:
    bench = Bench(asker)
    bench.person("How much more?", answers=2)
    run = await bench.run(capability, {"number": 40})
    assert run.output == 42
    assert [each.text for each in run.asked] == ["How much more?"]


async def test_code_that_asks_several_things_runs_once_for_each() -> None:
    bench = Bench(asker)
    bench.person("name", answers="Ann")
    bench.person("How many?", does=lambda asked: len(asked.text))
    bench.person("Which size?", answers="large")
    bench.person("Whose?", answers="Bob")
    run = await bench.run("ask.several")
    assert run.output == ["Ann", "10", "LARGE", "Bob"]
    assert [each.text for each in run.asked] == ["Whose?", "How many?", "Which size?", "Whose?"]
    assert len({each.id for each in run.asked}) == 4
    assert run.asked[2].schema == '{"enum":["small","large"]}'


async def test_a_question_that_nobody_answers_parks_the_run() -> None:
    run = await Bench(asker).run("ask.colour", {"default": "red", "deadline": 5.0})
    assert run.parked is not None
    assert (run.parked.text, run.parked.choices) == ("Which colour?", ('"red"', '"blue"'))
    assert (run.parked.default, run.parked.deadline) == ('"red"', 5.0)
    with pytest.raises(Failed, match="PARKED"):
        _ = run.output


async def test_the_same_question_has_the_same_id_in_every_attempt() -> None:
    runs = [await Bench(asker).run("ask.colour") for _ in range(2)]
    assert runs[0].parked == runs[1].parked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": "a b"}, "no question's id"),
        ({"id": "x" * 65}, "no question's id"),
        ({"choices": [object()]}, "has no place in JSON"),
        ({"choices": [b"bytes"]}, "an answer is a value of JSON"),
        ({"type": int, "default": "many"}, "integer"),
        ({"type": int, "choices": [1, "2"]}, "integer"),
    ],
)
async def test_a_question_that_nobody_could_answer_is_refused_where_it_is_asked(
    options: AskOptions, message: str
) -> None:
    agent = Agent("bad")

    @agent.capability("bad.ask")
    async def ask(ctx: Context) -> str:
        with pytest.raises(ValueError, match=message):
            await ctx.ask("What?", **options)
        return "refused"

    assert (await Bench(agent).run("bad.ask")).output == "refused"


async def test_code_that_will_not_end_is_over_all_the_same_once_it_has_asked() -> None:
    agent = Agent("stubborn")

    @agent.capability("stubborn.ask")
    async def ask(ctx: Context) -> str:
        try:
            return str(await ctx.ask("What?"))
        finally:
            assert ctx.cancel_code == "PARKED"

    assert (await Bench(agent).run("stubborn.ask")).parked is not None


async def test_code_on_the_bench_has_a_past() -> None:
    agent = Agent("keeper")

    @agent.capability("past.look")
    async def look(ctx: Context) -> list[Any]:
        async with ctx.state.update("counts", {"seen": 0}) as counts:
            counts["seen"] += 1
        blocks = await ctx.memory()
        found = [*await ctx.memory.search("wind"), *await ctx.memory.search("snow")]
        names = [each.capability for each in await ctx.conversation()]
        return [[each.number for each in blocks], [each.number for each in found], names]

    @agent.capability("past.blocks", threads=True)
    def look_and_wait(ctx: SyncContext) -> Any:
        with pytest.raises(MusterError) as caught:
            ctx.state.put("counts", 1, expected_revision=0)
        return [ctx.state.get("counts"), ctx.state.names(), caught.value.reason]

    bench = Bench(agent)
    bench.past.keep("counts", {"seen": 2})
    bench.past.memory = [
        MemoryBlock("talk", number, text, 1, 0.0, 1.0)
        for number, text in ((1, "about wind"), (2, "about rain"))
    ]
    bench.past.contracts = [
        PastContract("01", "text.write", "SUCCEEDED", "ann", "w", "wind", "", "", 0.0, 1.0)
    ]
    run = await bench.run("past.look", conversation_id="talk")
    assert run.output == [[1, 2], [1], ["text.write"]]
    assert bench.past.state("counts") == {"seen": 3}
    run = await bench.run("past.blocks")
    assert run.output == [{"seen": 3}, ["counts"], "STATE_CHANGED"]
    assert (await bench.run("past.look")).output == [[], [1], []]  # it is in no conversation


async def test_only_what_can_change_in_place_is_updated() -> None:
    agent = Agent("keeper")

    @agent.capability("state.wrong")
    async def wrong(ctx: Context) -> None:
        async with ctx.state.update("n"):
            pass

    bench = Bench(agent)
    bench.past.keep("n", 5)
    run = await bench.run("state.wrong")
    with pytest.raises(Failed, match="a dict or a list"):
        assert run.output
