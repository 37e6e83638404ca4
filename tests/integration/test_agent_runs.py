"""Workflows and their runs through the SDK, on a real mesh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from muster import agent
from muster.agent import Client, RunFailed, connect
from muster.model.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from muster.v1.workflow_pb2 import Wait, Workflow
from tests.support.meshes import Mesh, all_in_one
from tests.support.workflows import Workers, step


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with all_in_one(tmp_path) as mesh:
        yield mesh


@pytest.fixture
async def workers(mesh: Mesh) -> AsyncIterator[Workers]:
    workers = Workers()
    async with mesh.host(workers.agent):
        yield workers


@pytest.fixture
async def client(mesh: Mesh, workers: Workers) -> AsyncIterator[Client]:
    async with connect(mesh.scheduler) as client:
        yield client


GREET = Workflow(
    name="greet",
    steps=[
        step("first", "test.say", input={"text": "${input.name}"}),
        step("second", "test.say", "first", input={"text": "hello ${steps.first.output}"}),
    ],
    output='{"said": "${steps.second.output}"}',
)
WAITS = Workflow(
    name="waits",
    steps=[
        step("told", wait=Wait(signal="go")),
        step("then", "test.say", "told", input={"text": "${steps.told.output.word}"}),
    ],
    output='"${steps.then.output}"',
)


@dataclass
class Said:
    said: str


async def test_a_workflow_is_registered_once_run_and_its_output_read(client: Client) -> None:
    flows = client.workflows
    assert (await flows.register(GREET)).version == 1
    assert [each.workflow.name async for each in flows.list()] == ["greet"]
    assert (await flows.get("greet")).workflow == GREET
    assert await flows.run("greet", {"name": "ann"}, timeout=20) == {"said": "HELLO ANN"}
    run = await flows.start("greet", {"name": "bob"}, start_id="bob")
    assert await run.result(Said, timeout=20) == Said("HELLO BOB")
    again = await flows.start("greet", {"name": "bob"}, start_id="bob")
    assert again.id == run.id == (await flows.find("bob")).id
    assert await flows.handle(run.id).result() == {"said": "HELLO BOB"}
    with pytest.raises(AlreadyExists):
        await flows.start("greet", {"name": "eve"}, start_id="bob")
    listed = [each async for each in flows.runs(workflow="greet", states=["succeeded"])]
    assert listed[0].start_id == "bob"
    assert len(listed) == 2
    assert [each.id async for each in flows.runs(most=1)] == [run.id]


async def test_many_are_started_at_once(client: Client, workers: Workers) -> None:
    flows = client.workflows
    await flows.register(GREET)
    names = [f"n{number}" for number in range(300)]  # more than a call takes
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(flows.start("greet", {"name": name})) for name in names]
        with pytest.raises(NotFound):
            await flows.start("nothing")
    runs = [each.result() for each in started]
    said = await asyncio.gather(*(run.result(timeout=30) for run in runs))
    assert said == [{"said": f"HELLO N{number}"} for number in range(300)]
    assert all(workers.ran[name] == 1 for name in names)


async def test_a_run_is_signalled_watched_paused_and_cancelled(client: Client) -> None:
    flows = client.workflows
    await flows.register(WAITS)
    run = await flows.start("waits")
    await run.pause()
    assert (await run.get()).paused
    await run.resume()
    await run.signal("go", {"word": "yes"}, signal_id="once")
    await run.signal("go", {"word": "yes"}, signal_id="once")
    kinds = [event.WhichOneof("kind") async for event in run.watch()]
    assert kinds[0] == "started"
    assert kinds[-1] == "ended"
    assert kinds.count("signalled") == 1
    assert await run.result(timeout=20) == "YES"
    with pytest.raises(FailedPrecondition):
        await run.cancel()

    other = await flows.start("waits")
    with pytest.raises(TimeoutError, match="has not ended"):
        await other.result(timeout=0.05)
    assert await other.cancel("no longer wanted") in ("UNWINDING", "CANCELLED")
    with pytest.raises(RunFailed, match="no longer wanted") as caught:
        await other.result(timeout=20)
    assert (caught.value.code, caught.value.state) == ("CANCELLED", "CANCELLED")
    assert caught.value.run_id == other.id


async def test_a_failed_run_is_retried_and_a_fork_has_what_was_done(
    client: Client, workers: Workers
) -> None:
    flows = client.workflows
    await flows.register(GREET)
    workers.failing.add("hello ANN")
    run = await flows.start("greet", {"name": "ann"})
    with pytest.raises(RunFailed) as caught:
        await run.result(timeout=20)
    assert (caught.value.code, caught.value.state) == ("STEP_FAILED", "FAILED")
    workers.failing.clear()
    assert await run.retry() == 1
    assert await run.result(timeout=20) == {"said": "HELLO ANN"}
    fork = await run.fork("second", start_id="fork")
    assert (await run.fork("second", start_id="fork")).id == fork.id != run.id
    assert await fork.result(timeout=20) == {"said": "HELLO ANN"}
    assert (await fork.get()).forked_from == run.id
    assert workers.ran["ann"] == 1
    other = await run.fork("first", input={"name": "eve"})
    assert await other.result(timeout=20) == {"said": "HELLO EVE"}


async def test_what_was_built_in_python_is_registered_and_run(client: Client) -> None:
    built = agent.Workflow("built")
    first = built.step("first", "test.say", input={"text": built.input.name})
    second = built.step("second", "test.say", input={"text": f"hello {first.output}"})
    built.output = {"said": second.output}
    assert (await client.workflows.register(built)).version == 1
    assert await client.workflows.run("built", {"name": "ann"}, timeout=20) == {"said": "HELLO ANN"}


async def test_a_dry_run_tells_what_would_be_done(client: Client) -> None:
    await client.workflows.register(GREET)
    plan = await client.workflows.plan("greet", {"name": "ann"})
    assert [(each.name, each.stage, each.agents) for each in plan.steps] == [
        ("first", 0, 1),
        ("second", 1, 1),
    ]


async def test_what_is_wrong_is_told_by_its_class(client: Client) -> None:
    flows = client.workflows
    with pytest.raises(NotFound):
        await flows.start("nothing")
    with pytest.raises(NotFound):
        await flows.handle("0" * 16).result(timeout=5)
    with pytest.raises(NotFound):
        await flows.handle("0" * 16).get()
    with pytest.raises(InvalidArgument) as caught:
        await flows.register(Workflow(name="bad", steps=[step("a", "test.say", "b")]))
    assert caught.value.violations[0].field == "steps[0].depends_on[0]"
    checked = await flows.register(GREET, validate_only=True)
    assert checked.version == 1
    with pytest.raises(NotFound):
        await flows.get("greet")


async def test_a_result_is_waited_for_across_a_restart_of_the_mesh(tmp_path: Path) -> None:
    workers = Workers()
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        async with all_in_one(tmp_path) as mesh:
            client = await stack.enter_async_context(connect(mesh.scheduler))
            async with mesh.host(workers.agent):  # the catalogue knows it from then on
                await client.workflows.register(WAITS)
            run = await client.workflows.start("waits")
            entries: list[str] = []
            began = asyncio.Event()

            async def watch() -> None:
                async for event in run.watch():
                    entries.append(event.WhichOneof("kind") or "")
                    began.set()

            watching = tasks.create_task(watch())
            waiting = tasks.create_task(run.result(timeout=30))
            await began.wait()
        port = int(mesh.scheduler.rpartition(":")[2])
        async with all_in_one(tmp_path, port=port) as mesh, mesh.host(workers.agent):
            await run.signal("go", {"word": "on"})
            await asyncio.wait([watching, waiting])
        assert waiting.result() == "ON"
        assert (entries[0], entries[-1]) == ("started", "ended")
        assert (entries.count("started"), entries.count("signalled")) == (1, 1)
