"""What happens to a run's steps while its owner comes back, before the run itself has."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from muster.agent import Agent
from muster.model.errors import Unavailable
from muster.scheduler.workflows.reading import Reading
from muster.scheduler.workflows.restoring import Restoring
from muster.scheduler.workflows.run import Run
from muster.scheduler.workflows.runs import Runs
from muster.v1.response_pb2 import CONTRACT_STATE_CANCELLED, CONTRACT_STATE_SUCCEEDED
from muster.v1.scheduler_service_pb2 import GetContractRequest, ListContractsRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.v1.workflow_pb2 import FanIn, Gate, Wait
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, RUN_STATE_SUCCEEDED
from muster.wire.channel import open_channel
from muster.wire.times import duration_of_seconds
from tests.support.meshes import all_in_one
from tests.support.workflows import flows, output, step

LOCAL = ENGINE_KIND_LOCAL


@pytest.mark.parametrize(("default", "said"), [('"maybe"', "maybe"), ("", "INPUT_TIMEOUT")])
async def test_a_gate_that_is_closed_before_its_run_is_back_is_heard_of(
    default: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(question="?", default=default, deadline=duration_of_seconds(0.5))
    async with all_in_one(tmp_path) as mesh, flows(mesh.scheduler, LOCAL) as flow:
        await flow.register("gated", step("ok", gate=gate), output="${steps.ok.output}")
        run_id = await flow.start("gated")
        await flow.until(run_id, "ok", "WAITING")
    open_runs = Reading.open_runs

    async def later(self: Any, shards: Collection[int]) -> list[int]:
        async with asyncio.timeout(10):
            while True:
                (asked,) = await self._ledger.questions([int(run_id, 16)])
                if asked.closing is not None:
                    return await open_runs(self, shards)
                await asyncio.sleep(0.05)

    monkeypatch.setattr(Reading, "open_runs", later)
    async with all_in_one(tmp_path) as mesh, flows(mesh.scheduler, LOCAL) as flow:
        run = await flow.end(run_id)
        assert (output(run) if run.output.json else run.steps[0].failure.code) == said


async def test_items_that_nobody_has_looked_for_yet_are_stopped_as_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two responses are recorded and in no journal; the first of them is enough for the step."""
    agent, gate = Agent("picker", kind="test", max_in_flight=10), asyncio.Event()

    @agent.capability("test.pick")
    async def pick(text: str) -> str:
        if text == "held":
            await gate.wait()
        return text

    async with all_in_one(tmp_path) as mesh, flows(mesh.scheduler, LOCAL) as flow:
        with monkeypatch.context() as dying:
            dying.setattr(Runs, "item_ended", lambda *_: None)
            async with mesh.host(agent):
                await flow.register(
                    "race",
                    step(
                        "race",
                        "test.pick",
                        for_each="['a', 'b', 'held', 'c']",
                        fan_in=FanIn(first=1),
                        input={"text": "${item}"},
                    ),
                )
                run_id = await flow.start("race")
                await _succeeded(mesh.scheduler, 3)
    async with all_in_one(tmp_path) as mesh, flows(mesh.scheduler, LOCAL) as flow:
        run = await flow.end(run_id)
        assert run.state == RUN_STATE_SUCCEEDED
        async with open_channel(mesh.scheduler) as channel:
            stub = SchedulerServiceStub(channel)
            held = run.steps[0].items[2].contract_id
            contract = (await stub.GetContract(GetContractRequest(contract_id=held))).contract
            assert contract.state == CONTRACT_STATE_CANCELLED
            assert all(item.contract_id for item in run.steps[0].items)


async def _succeeded(scheduler: str, count: int) -> None:
    """Returns when so many contracts have."""
    async with open_channel(scheduler) as channel, asyncio.timeout(10):
        stub = SchedulerServiceStub(channel)
        while True:
            reply = await stub.ListContracts(ListContractsRequest())
            states = Counter(each.state for each in reply.contracts)
            if states[CONTRACT_STATE_SUCCEEDED] == count:
                return
            await asyncio.sleep(0.02)


async def test_runs_go_on_whose_ledger_went_away_while_their_items_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with all_in_one(tmp_path) as mesh, flows(mesh.scheduler, LOCAL) as flow:
        await flow.register("slow", step("one", wait=Wait(duration=duration_of_seconds(0.2))))
        run_id = await flow.start("slow")
        await flow.until(run_id, "one", "WAITING")
    follow, find, away = Restoring.follow, Restoring._find_items, [True]

    async def fails_once(self: Any, run: Run) -> None:
        if away.pop():
            away.append(False)
            raise Unavailable("the ledger is away", reason="LEDGER_UNAVAILABLE")
        await find(self, run)

    async def again(self: Any) -> None:
        """As `Restoring.run` does."""
        with pytest.raises(Unavailable):
            await follow(self)
        monkeypatch.setattr(Restoring, "follow", follow)
        await follow(self)

    monkeypatch.setattr(Restoring, "_find_items", fails_once)
    monkeypatch.setattr(Restoring, "follow", again)
    async with all_in_one(tmp_path) as mesh, flows(mesh.scheduler, LOCAL) as flow:
        run = await flow.end(run_id)
        assert run.state == RUN_STATE_SUCCEEDED
