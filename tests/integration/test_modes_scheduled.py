"""Agents that the mesh calls when it is time, on several hosts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from muster.agent import Agent, Context, Host, connect
from muster.agent.modes.scheduled import schedule, scheduled
from muster.model.errors import InvalidArgument
from muster.v1.schedule_pb2 import SCHEDULE_PHASE_ACTIVE, Tick
from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from muster.wire.errors import error_of_rpc
from muster.wire.times import ms_of_timestamp
from tests.support.meshes import Mesh, all_in_one, running
from tests.support.mode_hosts import EXAMPLES, hosts, offered
from tests.support.processes import until
from tests.support.scheduled import STARTED, gaps, get, history, scheduling


@pytest.fixture
async def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    async with all_in_one(tmp_path / "mesh") as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


def reporter(executed: Counter[str], by: Counter[str], every: float = 0.3) -> Agent:
    agent = Agent("reporter", kind="reporting")

    @scheduled(agent, "report.write", {"days": 2}, every=every, overlap="allow")
    async def write(ctx: Context, days: int) -> int:
        executed[ctx.contract_id] += 1
        by[ctx.facts.agent] += 1
        return days

    return agent


async def test_each_tick_is_one_contract_whichever_host_lives(mesh: Mesh) -> None:
    executed, by = Counter[str](), Counter[str]()
    agent = reporter(executed, by)
    pair = {
        name: Host([agent.renamed(name)], target=mesh.executor, name=name, leave_seconds=1)
        for name in ("reporter-1", "reporter-2")
    }
    async with (
        scheduling(mesh.scheduler) as stub,
        connect() as client,
        running(pair["reporter-1"]),
        running(pair["reporter-2"]),
    ):
        await until(lambda: by.total() >= 3, 20, "one of them is called")
        ((busy, _),) = by.most_common(1)
        (other,) = pair.keys() - {busy}
        pair[busy].leave()
        before = by[other]
        await until(lambda: by[other] >= before + 3, 20, "the other one goes on")
        ticks = await started(stub, "report.write")
        found = await get(stub, "report.write")
        assert not gaps(found, await history(stub, "report.write")), "no tick lost, none twice"
        assert len({tick.target_id for tick in ticks}) == len(ticks)
        await until(
            lambda: {tick.target_id for tick in ticks} <= executed.keys(), 20, "all are done"
        )
        assert set(executed.values()) == {1}
        output = await client.result(ticks[-1].target_id)
        assert output == 2, "it gets its input"


async def test_a_changed_agent_changes_its_schedule_and_the_same_leaves_it(mesh: Mesh) -> None:
    async with scheduling(mesh.scheduler) as stub:

        async def kept(every: float) -> tuple[int, int]:
            async with mesh.host(reporter(Counter(), Counter(), every)):

                async def is_made() -> bool:
                    try:
                        found = await get(stub, "report.write")
                    except grpc.RpcError:
                        return False
                    return bool(found.spec.interval.every.seconds == every)

                await until(is_made, 10, "the schedule is made")
            found = await get(stub, "report.write")
            assert found.phase == SCHEDULE_PHASE_ACTIVE
            created, updated = found.create_time, found.update_time
            return ms_of_timestamp(created), ms_of_timestamp(updated)

        first = await kept(3600)
        assert await kept(3600) == first
        created, updated = await kept(7200)
        assert created == first[0]
        assert updated > first[1]


async def started(stub: ScheduleServiceStub, name: str) -> list[Tick]:
    """The ticks that have started something, newest first; none before there is a schedule."""
    try:
        return [tick for tick in await history(stub, name) if tick.outcome == STARTED]
    except grpc.RpcError as error:
        if error_of_rpc(error).reason != "SCHEDULE_UNKNOWN":
            raise
        return []


async def test_a_schedule_that_is_refused_ends_the_host_with_the_reason(mesh: Mesh) -> None:
    agent = Agent("reporter")

    @agent.capability("report.write")
    async def write() -> None: ...

    schedule(agent, "report.write", cron="61 * * * *")
    host = Host([agent], target=mesh.executor, name="one")
    with pytest.raises(InvalidArgument, match=r"the schedule report\.write was refused: .*cron"):
        await asyncio.wait_for(host.run(), 20)


async def test_the_scheduled_example_has_the_till_report(mesh: Mesh, tmp_path: Path) -> None:
    text = (EXAMPLES / "scheduled.yaml").read_text()
    file = tmp_path / "bookkeeper.yaml"
    file.write_text(text.replace("every: 10s", "every: 500ms"))
    async with (
        hosts(tmp_path, mesh) as machine,
        connect() as client,
        scheduling(mesh.scheduler) as stub,
    ):
        await machine.run("continuous.yaml")
        await offered(client, "till.report")
        one = await machine.run(file, options=("--name", "bookkeeper-1"))
        await machine.run(file, options=("--name", "bookkeeper-2"))
        await offered(client, "till.summary")

        async def some_have_started(most: int = 3) -> bool:
            return len(await started(stub, "till.summary")) >= most

        await until(some_have_started, 30, "it is called")
        await one.kill()
        before = len(await started(stub, "till.summary"))
        await until(lambda: some_have_started(before + 3), 30, "the other one goes on")
        for tick in (await started(stub, "till.summary"))[1:3]:
            said = await client.result(tick.target_id, timeout=20)
            assert said == {"text": "The shop around the corner so far: 0 orders, 0 of them drinks"}
