"""The SDK on the real mesh, in both shapes."""

import asyncio
import os
from pathlib import Path

import pytest

from muster.agent import Agent, Ask, Blob, Context, ContractFailed, Failed, connect
from muster.agent.watching import Ended, Log, Output, Progress
from muster.model.errors import FailedPrecondition, InvalidArgument, NotFound
from tests.support.meshes import Mesh
from tests.support.sample_agents import Point, sample


async def test_functions_answer_wherever_they_run(mesh: Mesh) -> None:
    async with mesh.host(sample), connect() as client:
        assert await client.call("demo.echo", {"text": "ab", "times": 2}) == "abab"
        assert await client.call("demo.mirror", Point(1, 2), returns=Point) == Point(2, 1)
        assert await client.call("demo.process") != os.getpid()
        assert (await client.call("demo.thread")).startswith("capability")
        asks = [Ask("demo.echo", {"text": str(number)}) for number in range(300)]
        assert await client.gather(asks) == [str(number) for number in range(300)]


async def test_what_goes_wrong_reaches_the_client(mesh: Mesh) -> None:
    async with mesh.host(sample), connect() as client:
        with pytest.raises(ContractFailed, match="ODD: as asked") as caught:
            await client.call("demo.fail", {"code": "ODD", "permanent": True})
        assert caught.value.details == {"n": 1}
        with pytest.raises(ContractFailed, match="INVALID_OUTPUT"):
            await client.call("demo.wrong")
        with pytest.raises(InvalidArgument):
            await client.call("demo.echo", {"text": 5})
        with pytest.raises(NotFound):
            await client.call("demo.no_such_thing")


async def test_delegation_suspends_and_trees_finish_on_one_worker(mesh: Mesh) -> None:
    async with mesh.host(sample), connect() as client:
        for capability in ("demo.descend", "demo.descend_in_worker", "demo.descend_in_thread"):
            assert await client.call(capability, {"levels": 4}) == 4
        texts = [str(number) for number in range(20)]
        assert await client.call("demo.fan_out_in_worker", {"texts": texts}) == texts


async def test_a_watch_sees_what_an_attempt_says(mesh: Mesh) -> None:
    async with mesh.host(sample), connect() as client:
        for capability in ("demo.talk", "demo.talk_in_worker"):
            handle = await client.submit(capability, {"words": ["a", "b"]})
            updates = [update async for update in handle.watch()]
            outputs = [update.value for update in updates if isinstance(update, Output)]
            assert outputs == ["a", "b"]
            assert any(isinstance(update, Log) for update in updates)
            assert any(isinstance(update, Progress) for update in updates)
            assert isinstance(updates[-1], Ended)
            assert updates[-1].response.output_chunks == 2


async def test_large_payloads_go_both_ways(mesh: Mesh) -> None:
    text = "é" * 200_000
    async with mesh.host(sample), connect() as client:
        assert await client.call("demo.echo", {"text": text, "times": 2}) == text * 2
        blob = await client.call("demo.keep", {"text": text}, returns=Blob)
        assert await client.blobs.get(blob) == text.encode()


async def test_a_cancelled_worker_stops_and_its_slot_is_free_again(
    mesh: Mesh, tmp_path: Path
) -> None:
    async with mesh.host(sample), connect() as client:
        handle = await client.submit("demo.spin", {"path": str(tmp_path / "pid")})
        async for change in client.follow(await handle.accepted()):
            if getattr(change, "type", "") == "STARTED":
                break
        await handle.cancel("enough")
        with pytest.raises(ContractFailed, match="CANCELLED: enough"):
            await handle.result()
        assert await client.call("demo.process") > 0
        ended = await client.submit("demo.process")
        await ended.result()
        with pytest.raises(FailedPrecondition):
            await ended.cancel()


async def test_what_is_known_can_be_asked(mesh: Mesh) -> None:
    async with mesh.host(sample), connect() as client:
        handle = await client.submit("demo.echo", {"text": "a"}, labels={"team": "blue"})
        contract_id = await handle.accepted()
        assert await client.result(contract_id) == "a"
        contract = await client.get(request_id=handle.request_id)
        assert (contract.id, len(contract.attempts)) == (contract_id, 1)
        listed = [found.id async for found in client.list(labels={"team": "blue"}, most=10)]
        assert listed == [contract_id]
        assert (await client.statistics()).ended == 1
        async with asyncio.timeout(10):
            # Presence follows in its own time.
            while [agent.spec.name async for agent in client.agents()] != ["sample"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        entries = [entry async for entry in client.capabilities("demo.ec")]
        assert [entry.capability.name for entry in entries] == ["demo.echo"]


@pytest.mark.parametrize("timeout", [None, 60.0])
async def test_a_later_attempt_finds_the_child_that_an_earlier_one_named(
    mesh: Mesh, timeout: float | None
) -> None:
    parent = Agent("parent")

    @parent.capability("demo.retry")
    async def retry(ctx: Context) -> list[object]:
        child = await ctx.call("demo.process", key="one", timeout=timeout)
        if ctx.attempt < 3:
            raise Failed("AGAIN")
        return [ctx.attempt, child]

    async with mesh.host(sample, parent), connect() as client:
        handle = await client.submit("demo.retry")
        attempt, _ = await handle.result()
        assert attempt == 3
        root = await handle.accepted()
        children = [child async for child in client.list(parent_id=root)]
        assert len(children) == 1
