"""What waits while everything is dead goes on as if nothing had been: gates, timers, pauses, forks.

Everything is killed with kill -9: services and hosts, in one blow.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from muster.servers.server import ServerProcess
from muster.v1 import inbox_service_pb2 as inbox
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.inbox_service_pb2_grpc import InboxServiceStub
from muster.v1.workflow_pb2 import Gate, Step, Wait
from muster.v1.workflow_run_pb2 import (
    ENGINE_KIND_LOCAL,
    ENGINE_KIND_TEMPORAL,
    RUN_STATE_CANCELLED,
    RUN_STATE_FAILED,
    RUN_STATE_SUCCEEDED,
    WorkflowRun,
)
from muster.wire.channel import open_channel
from muster.wire.times import duration_of_seconds
from tests.faults.conftest import Note
from tests.faults.world import World, world
from tests.support.processes import Process, free_port, until
from tests.support.workflows import Flows, flows, output, payload, states, step

TEMPORAL = pytest.param("temporal", marks=pytest.mark.xdist_group("temporal"))
ENDED_SECONDS = 40.0  # whatever was killed: a lease and a start are in it
STEPS = 5

pytestmark = pytest.mark.timeout(120)


class Engine:
    """A worker of the engine on Temporal, where runs are there; Temporal itself lives on."""

    def __init__(self, world: World, temporal: str) -> None:
        self._world = world
        self._temporal = temporal
        self._port = free_port()
        self._process: Process | None = None

    async def start(self) -> None:
        if not self._temporal:
            return
        told = {
            "MUSTER_GRPC_PORT": str(self._port),
            "MUSTER_HTTP_PORT": "none",
            "MUSTER_NAME": "engine",
            "MUSTER_TEMPORAL": self._temporal,
            "MUSTER_SCHEDULER_TARGETS": self._world.mesh.address("scheduler"),
        }
        machine = self._world.machine
        self._process = await machine.start("engine", "-m", "muster.engine", environment=told)
        await self._process.serving(f"127.0.0.1:{self._port}")

    @property
    def is_used(self) -> bool:
        return bool(self._temporal)

    async def kill(self) -> None:
        if self._process is not None:
            await self._process.kill()


@pytest.fixture(params=["local", TEMPORAL])
def temporal(request: pytest.FixtureRequest) -> str:
    """Where Temporal is; empty where nobody needs it."""
    if request.param == "local":
        return ""
    server: ServerProcess = request.getfixturevalue("temporal_server")
    return server.server.address


@pytest.fixture
async def mesh(
    temporal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    async with world("all-in-one", tmp_path, monkeypatch, MUSTER_TEMPORAL=temporal) as made:
        yield made


@pytest.fixture
async def engine(mesh: World, temporal: str) -> Engine:
    made = Engine(mesh, temporal)
    await made.start()
    return made


@pytest.fixture
async def flow(mesh: World, engine: Engine) -> AsyncIterator[Flows]:
    kind = ENGINE_KIND_TEMPORAL if engine.is_used else ENGINE_KIND_LOCAL
    async with flows(mesh.mesh.address("scheduler"), kind) as made:
        yield made


def work(name: str, *after: str, ms: int = 0, text: str = "") -> Step:
    return step(name, "fault.work", *after, input={"text": text or name, "ms": ms})


async def kill_everything(mesh: World, engine: Engine) -> None:
    await asyncio.gather(mesh.kill_hosts(), mesh.mesh.kill(), engine.kill())


async def bring_back(mesh: World, engine: Engine) -> None:
    await mesh.start_hosts()
    await mesh.mesh.start()
    await engine.start()
    await mesh.agents_ready()


async def dead_until(instant: float) -> None:
    """Waits for an instant of the wall clock, which passes while everything is dead."""
    await asyncio.sleep(max(0.0, instant - time.time()))


async def end(flow: Flows, run_id: str) -> WorkflowRun:
    return await flow.end(run_id, ENDED_SECONDS)


def executed(mesh: World) -> int:
    mesh.read_journals()
    return len(mesh.history.executions)


async def asked(stub: InboxServiceStub) -> inbox.InboxEntry:
    """The only question, once it is in the inbox."""
    found: list[inbox.InboxEntry] = []

    async def is_there() -> bool:
        found[:] = (await stub.ListQuestions(inbox.ListQuestionsRequest())).entries
        return bool(found)

    await until(is_there, ENDED_SECONDS, "it is asked")
    (entry,) = found
    return entry


async def test_a_gate_is_answered_after_a_restart(mesh: World, flow: Flows, engine: Engine) -> None:
    await flow.register(
        "gated",
        work("draft"),
        step("ok", "", "draft", gate=Gate(question="Publish?", choices=['"yes"', '"no"'])),
        step("publish", "fault.work", "ok", input={"text": "${steps.ok.output}"}),
        output="${steps.publish.output.text}",
    )
    run_id = await flow.start("gated")
    async with open_channel(mesh.mesh.address("scheduler")) as channel:
        stub = InboxServiceStub(channel)
        await asked(stub)
        await kill_everything(mesh, engine)
        await bring_back(mesh, engine)
        entry = await asked(stub)
        assert (entry.subject_id, entry.step) == (run_id, "ok")
        answer = inbox.AnswerQuestionRequest(
            subject_id=run_id, question_id=entry.question.id, value=payload("yes")
        )
        await stub.AnswerQuestion(answer)
        await kill_everything(mesh, engine)  # as soon as the answer is acknowledged
        await bring_back(mesh, engine)
        assert not (await stub.ListQuestions(inbox.ListQuestionsRequest())).entries
        again = await stub.AnswerQuestion(answer)
        assert again.answer.principal == "local"
    run = await end(flow, run_id)
    assert output(run) == "yes"
    answers = [e async for e in flow.follow(run_id) if e.item_ended.principal]
    assert [each.item_ended.step for each in answers] == ["ok"]
    # The draft once; what is published may have begun before the second kill.
    assert 2 <= executed(mesh) <= 3


async def test_a_gate_whose_time_passes_while_everything_is_dead_takes_its_default(
    mesh: World, flow: Flows, engine: Engine
) -> None:
    gate = Gate(question="?", default='"maybe"', deadline=duration_of_seconds(2.5))
    await flow.register("gated", step("ok", gate=gate), output="${steps.ok.output}")
    run_id = await flow.start("gated")
    async with open_channel(mesh.mesh.address("scheduler")) as channel:
        entry = await asked(InboxServiceStub(channel))
    await kill_everything(mesh, engine)
    await dead_until(entry.deadline.ToNanoseconds() / 1e9 + 0.1)
    await bring_back(mesh, engine)
    assert output(await end(flow, run_id)) == "maybe"


async def test_a_fork_from_the_third_step_is_made_after_a_restart(
    mesh: World, flow: Flows, engine: Engine
) -> None:
    names = [f"s{number}" for number in range(1, STEPS + 1)]
    steps = [work("s1", text="${input.text}")]
    for before, name in itertools.pairwise(names):
        steps.append(work(name, before, text=f"${{steps.{before}.output.text}} ${{input.text}}"))
    await flow.register("chain", *steps, output="${steps.s5.output.text}")
    first = await end(flow, await flow.start("chain", {"text": "a"}))
    assert output(first) == "a a a a a"
    await kill_everything(mesh, engine)
    await bring_back(mesh, engine)
    request = pb.ForkRunRequest(run_id=first.id, step="s3", start_id="fork")
    request.input.json = '{"text": "b"}'
    forked = (await flow.stub.ForkRun(request)).run_id
    await kill_everything(mesh, engine)
    await bring_back(mesh, engine)
    assert (await flow.stub.ForkRun(request)).duplicate
    run = await end(flow, forked)
    assert (run.forked_from, run.forked_step) == (first.id, "s3")
    assert output(run) == "a a b b b"
    assert contracts(run)[:2] == contracts(first)[:2]
    assert not set(contracts(run)[2:]) & set(contracts(first)[2:])


def contracts(run: WorkflowRun) -> list[str]:
    """The contract of each step's only item."""
    return [step.items[0].contract_id for step in run.steps]


async def test_a_paused_run_stays_paused_over_a_restart(
    mesh: World, flow: Flows, engine: Engine
) -> None:
    await flow.register("paused", work("one", ms=300), work("two", "one"))
    run_id = await flow.start("paused")
    await flow.until(run_id, "one", "RUNNING")
    await flow.stub.PauseRun(pb.PauseRunRequest(run_id=run_id))
    await kill_everything(mesh, engine)
    await bring_back(mesh, engine)
    await flow.until(run_id, "one", "SUCCEEDED", seconds=ENDED_SECONDS)
    # Another run goes all its way after that: this one had the same time.
    await flow.register("other", work("one"), work("two", "one"))
    await end(flow, await flow.start("other"))
    run = await flow.get(run_id)
    assert run.paused
    assert states(run) == {"one": "SUCCEEDED", "two": "PENDING"}
    await flow.stub.ResumeRun(pb.ResumeRunRequest(run_id=run_id))
    assert (await end(flow, run_id)).state == RUN_STATE_SUCCEEDED


async def test_a_timer_that_comes_due_while_everything_is_dead_fires_afterwards(
    mesh: World, flow: Flows, engine: Engine, note: Note
) -> None:
    await flow.register(
        "timed", step("pause", wait=Wait(duration=duration_of_seconds(1.0))), work("after", "pause")
    )
    run_id = await flow.start("timed")
    await flow.until(run_id, "pause", "WAITING")
    begun = time.time()
    await kill_everything(mesh, engine)
    await dead_until(begun + 1.1)
    back = time.monotonic()
    await bring_back(mesh, engine)
    run = await end(flow, run_id)
    assert run.state == RUN_STATE_SUCCEEDED
    note(f"a timer that was due: {time.monotonic() - back:.1f} s from the start of everything")
    woken = [event async for event in flow.follow(run_id) if event.HasField("woken")]
    assert len(woken) == 1


async def test_a_run_whose_time_is_over_while_everything_is_dead_fails_afterwards(
    mesh: World, flow: Flows, engine: Engine
) -> None:
    await flow.register(
        "late",
        step(
            "one",
            "fault.work",
            input={"text": "one"},
            compensate={"capability": {"name": "fault.work"}, "input": '{"text": "undo"}'},
        ),
        step("go", "", "one", wait=Wait(signal="go")),
        timeout=duration_of_seconds(2.0),
    )
    run_id = await flow.start("late")
    started = time.time()
    await flow.until(run_id, "go", "WAITING")
    await kill_everything(mesh, engine)
    await dead_until(started + 2.1)
    await bring_back(mesh, engine)
    run = await end(flow, run_id)
    assert (run.state, run.failure.code) == (RUN_STATE_FAILED, "RUN_TIMEOUT")
    assert run.steps[0].compensated


async def test_a_run_that_is_cancelled_as_everything_dies_is_cancelled(
    mesh: World, flow: Flows, engine: Engine
) -> None:
    await flow.register("held", step("hold", "fault.hold", input={"text": "a", "gate": "first"}))
    run_id = await flow.start("held")
    await flow.until(run_id, "hold", "RUNNING")
    await flow.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
    await kill_everything(mesh, engine)
    await bring_back(mesh, engine)
    run = await end(flow, run_id)
    assert run.state == RUN_STATE_CANCELLED
    assert states(run) == {"hold": "CANCELLED"}


async def test_two_starts_by_one_id_around_a_kill_are_one_run(
    mesh: World, flow: Flows, engine: Engine
) -> None:
    await flow.register("chain", work("one", ms=50), work("two", "one", ms=50))
    found: set[str] = set()

    async def start_until_accepted(start_id: str) -> None:
        async with asyncio.timeout(ENDED_SECONDS):
            while True:
                try:
                    found.add(await flow.start("chain", start_id=start_id))
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.05)
                else:
                    return

    for number in range(3):
        found.clear()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(start_until_accepted(f"same-{number}"))
            await asyncio.sleep(0.002 * number)  # before, while or after it is committed
            await mesh.mesh.kill()
            await mesh.mesh.start()
        await start_until_accepted(f"same-{number}")
        assert len(found) == 1
        run = await end(flow, found.pop())
        assert run.start_id == f"same-{number}"
