"""What agents keep for themselves: through the whole mesh, across restarts, and for nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from muster.agent import Client, connect
from muster.agent.values import Content
from muster.model import limits
from muster.model.errors import Code, InvalidArgument, MusterError, NotFound, ResourceExhausted
from muster.v1 import agent_state_service_pb2 as pb
from muster.v1.agent_state_service_pb2_grpc import AgentStateServiceStub
from muster.v1.payload_pb2 import Payload
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from tests.support.identities import Pki
from tests.support.meshes import Mesh, all_in_one
from tests.support.processes import MeshProcesses, machine, until
from tests.support.remembering_agents import keeper
from tests.support.replicas import replicas


def text(value: object) -> Content:
    return Content("json", json.dumps(value))


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[Client]:
    async with mesh.host(keeper), connect() as client:
        yield client


async def test_a_value_is_written_read_listed_and_deleted(client: Client) -> None:
    states = client.states
    made = await states.put("keeper", "a/b", text({"n": 1}))
    assert (made.agent, made.name, made.principal) == ("keeper", "a/b", "local")
    assert made.size_bytes == len('{"n": 1}')
    found = await states.get("keeper", "a/b")
    assert (found.value.json, found.revision) == ('{"n": 1}', made.revision)
    await states.put("keeper", "b", text(2))
    await states.put("other", "c", text(3))
    assert [each.name async for each in states.list("keeper")] == ["a/b", "b"]
    assert [each.name async for each in states.list("keeper", "b")] == ["b"]
    assert await states.delete("keeper", "b")
    assert not await states.delete("keeper", "b")
    with pytest.raises(NotFound) as caught:
        await states.get("keeper", "b")
    assert caught.value.reason == "STATE_UNKNOWN"


async def test_another_revision_than_the_expected_one_is_refused(client: Client) -> None:
    states = client.states
    first = await states.put("keeper", "n", text(1), expected_revision=0)
    second = await states.put("keeper", "n", text(2), expected_revision=first.revision)
    assert second.revision > first.revision
    for stale in (0, first.revision):
        with pytest.raises(MusterError, match=str(second.revision)) as caught:
            await states.put("keeper", "n", text(3), expected_revision=stale)
        assert (caught.value.reason, caught.value.code) == ("STATE_CHANGED", Code.ABORTED)
    with pytest.raises(MusterError) as caught:
        await states.delete("keeper", "n", expected_revision=first.revision)
    assert caught.value.reason == "STATE_CHANGED"
    assert (await states.get("keeper", "n")).value.json == "2"
    assert await states.delete("keeper", "n", expected_revision=second.revision)
    again = await states.put("keeper", "n", text(4), expected_revision=0)
    assert again.revision > second.revision  # whoever remembers the second one is not deceived


async def test_a_write_whose_answer_was_lost_is_found_not_refused(client: Client) -> None:
    first = await client.states.put("keeper", "n", text(1), expected_revision=0, put_id="one")
    again = await client.states.put("keeper", "n", text(1), expected_revision=0, put_id="one")
    assert again == first
    with pytest.raises(MusterError):
        await client.states.put("keeper", "n", text(1), expected_revision=0, put_id="two")


async def test_of_many_who_expect_the_same_one_writes(client: Client) -> None:
    async def write(number: int) -> bool:
        try:
            await client.states.put("keeper", "n", text(number), expected_revision=0)
        except MusterError as error:
            return error.reason != "STATE_CHANGED"
        return True

    assert sum(await asyncio.gather(*map(write, range(20)))) == 1


async def test_bounds_are_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    most = limits.AGENT_STATE_BYTES_MAX
    await client.states.put("keeper", "large", Content("binary", b"x" * most))
    with pytest.raises(InvalidArgument, match="blob"):
        await client.states.put("keeper", "larger", Content("binary", b"x" * (most + 1)))
    monkeypatch.setattr(limits, "AGENT_STATES_PER_AGENT_MAX", 2)
    await client.states.put("keeper", "second", text(2))
    with pytest.raises(ResourceExhausted, match="keeps 2 values"):
        await client.states.put("keeper", "third", text(3))
    await client.states.put("keeper", "second", text(4))
    for agent, name in (("keeper", ""), ("keeper", "a b"), ("../x", "n"), ("keeper", "n" * 129)):
        with pytest.raises(InvalidArgument):
            await client.states.put(agent, name, text(1))


@pytest.mark.parametrize("where", ["state.count", "state.count_in_worker", "state.count_in_thread"])
async def test_code_counts_in_its_agents_state(client: Client, where: str) -> None:
    assert [await client.call(where) for _ in range(3)] == [1, 2, 3]
    assert (await client.states.get("keeper", "counts")).value.json == '{"seen":3}'


async def test_attempts_of_one_host_take_turns(client: Client) -> None:
    counted = await asyncio.gather(*(client.call("state.count") for _ in range(10)))
    assert sorted(counted) == [*range(1, 11)]


async def test_the_context_knows_all_there_is_to_do(client: Client) -> None:
    expected = ["none", True, True, True, ["walk"], [True, False]]
    assert await client.call("state.walk") == expected


async def test_handlers_of_events_keep_state_too(mesh: Mesh, client: Client) -> None:
    for number in range(3):
        await keeper.publish("counted.one", number)

    async def all_seen() -> bool:
        try:
            found = await client.states.get("keeper", "events")
        except NotFound:
            return False
        return sorted(json.loads(found.value.json)) == [0, 1, 2]

    await until(all_seen, 10, "the handler has kept what it heard")


async def test_other_tenants_see_nothing_of_it(client: Client) -> None:
    await client.states.put("keeper", "n", text(1))
    async with connect(tenant="globex") as other:
        assert [each async for each in other.states.list("keeper")] == []
        assert not await other.states.delete("keeper", "n")
        with pytest.raises(NotFound):
            await other.states.get("keeper", "n")
    assert (await client.states.get("keeper", "n")).value.json == "1"


async def test_it_is_there_after_an_agent_was_killed_and_the_mesh_too(tmp_path: Path) -> None:
    async with machine(tmp_path) as computer:
        mesh = MeshProcesses(computer, "all-in-one", tmp_path / "data")
        await mesh.start()
        environment = mesh.environment()

        async def counts() -> int:
            process = await computer.start(
                "keeper", "-m", "tests.support.remembering_agents", environment=environment
            )
            async with connect(mesh.address("scheduler")) as client:

                async def is_there() -> bool:
                    return bool([each async for each in client.agents(capability="state.count")])

                await until(is_there, 20, "the agent is there")
                seen = await client.call("state.count", timeout=30)
            await process.kill()
            return int(seen)

        assert await counts() == 1
        assert await counts() == 2
        await mesh.kill()
        await mesh.start()
        assert await counts() == 3


async def test_where_identity_is_proven_only_the_agent_and_operators_may(tmp_path: Path) -> None:
    pki = Pki.make(tmp_path / "pki")
    value = Payload(json="1")
    async with all_in_one(tmp_path, pki.tls) as mesh:

        async def put(role: str, name: str, agent: str) -> str:
            async with open_channel(mesh.scheduler, pki.caller(role, name)) as channel:
                request = pb.PutStateRequest(agent=agent, name="n", value=value)
                try:
                    await AgentStateServiceStub(channel).PutState(request)
                except grpc.aio.AioRpcError as error:
                    return error_of_rpc(error).reason
            return "written"

        assert await put("agent", "echo", "echo") == "written"
        assert await put("agent", "echo", "echo.two") == "written"
        assert await put("agent", "echo", "other") == "NOT_ALLOWED"
        assert await put("client", "ann", "echo") == "NOT_ALLOWED"
        assert await put("operator", "olga", "echo") == "written"
        async with open_channel(mesh.scheduler, pki.caller("agent", "other")) as channel:
            stub = AgentStateServiceStub(channel)
            for call in (
                stub.GetState(pb.GetStateRequest(agent="echo", name="n")),
                stub.ListState(pb.ListStateRequest(agent="echo")),
                stub.DeleteState(pb.DeleteStateRequest(agent="echo", name="n")),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert error_of_rpc(caught.value).reason == "NOT_ALLOWED"
        stranger = pki.caller("operator", "eve", tenant="globex")
        async with open_channel(mesh.scheduler, stranger) as channel:
            stub = AgentStateServiceStub(channel)
            for name in ("n", "never.was"):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.GetState(pb.GetStateRequest(agent="echo", name=name))
                assert error_of_rpc(caught.value).reason == "STATE_UNKNOWN"
            assert not (await stub.ListState(pb.ListStateRequest(agent="echo"))).states
            deleted = await stub.DeleteState(pb.DeleteStateRequest(agent="echo", name="n"))
            assert not deleted.deleted


async def test_a_write_that_is_passed_on_is_the_agents_still(
    tmp_path: Path, postgres_url: str
) -> None:
    pki = Pki.make(tmp_path / "pki")
    async with replicas(tmp_path, postgres_url, tls=pki.tls) as both:
        await both.shared_by(2)
        async with open_channel(both.mesh(0).scheduler, pki.caller("agent", "echo")) as channel:
            stub = AgentStateServiceStub(channel)
            # Of eight agents, the other scheduler has some.
            for number in range(8):
                request = pb.PutStateRequest(
                    agent=f"echo.{number}", name="n", value=Payload(json=str(number))
                )
                made = await stub.PutState(request)
                assert made.state.principal == "agent/echo"
