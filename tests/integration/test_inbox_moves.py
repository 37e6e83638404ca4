"""Parked contracts outlive what they were parked in: restarts, and schedulers that go."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from muster.agent import Client, connect
from muster.model.ids import parse_id, shard_of_id
from muster.v1.response_pb2 import CONTRACT_STATE_PARKED
from tests.support.asking_agents import asker
from tests.support.meshes import Mesh, Start
from tests.support.processes import until
from tests.support.replicas import replicas


def point_to(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in mesh.environment().items():
        monkeypatch.setenv(name, value)


async def test_a_parked_contract_is_answered_after_a_restart(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(tmp_path) as mesh:
        point_to(mesh, monkeypatch)
        async with mesh.host(asker), connect() as client:
            handles = [await client.submit("ask.several", {}) for _ in range(2)]
            first, second = [await handle.accepted() for handle in handles]
            await waits(client, first, "Whose?")
            await client.inbox.answer(first, "name", "Ann")
            await waits(client, first, "How many?")
            await waits(client, second, "Whose?")
    async with start(tmp_path) as mesh:
        point_to(mesh, monkeypatch)
        async with connect() as client:
            entries = {each.subject_id: each async for each in client.inbox.list()}
            assert entries.keys() == {first, second}
            assert entries[first].agent == "asker"
            contract = await client.get(first)
            assert contract.state == CONTRACT_STATE_PARKED
            assert [each.answer.value.json for each in contract.questions] == ['"Ann"', ""]
            # Nobody is there who could go on; the answer is kept all the same.
            await client.inbox.answer(first, entries[first].question.id, 3)
            async with mesh.host(asker):
                await waits(client, first, "Which size?")
                name = (await client.inbox.get(first)).question.id
                await client.inbox.answer(first, name, "small")
                await waits(client, first, "Whose?")
                name = (await client.inbox.get(first)).question.id
                await client.inbox.answer(first, name, "Bob")
                response = await client.wait(first)
                assert response is not None
                assert response.payload.json == '["Ann","4","SMALL","Bob"]'
            await client.cancel(second)


async def waits(client: Client, number: str, text: str) -> None:
    async def asked() -> bool:
        return text in [each.question.text async for each in client.inbox.list(number)]

    await until(asked, 10, f"{number} asks {text}")


@pytest.mark.timeout(120)
async def test_a_parked_contract_moves_with_its_shard(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(replicas(tmp_path, postgres_url))
        point_to(made.mesh(0), monkeypatch)
        async with made.mesh(0).host(asker), connect() as client:
            handles = [await client.submit("ask.colour", {}) for _ in range(8)]
            numbers = [await handle.accepted() for handle in handles]
            for number in numbers:
                await waits(client, number, "Which colour?")
            third = await made.add_scheduler(stack, tmp_path)
            await made.shared_by(3)
            found = [each async for each in client.inbox.list()]
            assert sorted(each.subject_id for each in found) == sorted(numbers)
            assert len({shard_of_id(parse_id(number)) for number in numbers}) > 3
            for each in found:
                await client.inbox.answer(each.subject_id, each.question.id, "red")
            # Executors here know only two schedulers: what the third one owns waits for an agent.
            await third.stop()
            await made.shared_by(2)
            assert await client.gather(handles) == ["painted red"] * 8
