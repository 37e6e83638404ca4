"""The client against a scripted mesh, over real gRPC."""

from collections.abc import AsyncIterator

import pytest

from muster.agent import Ask, Client, ContractFailed, Host, connect
from tests.support.sample_agents import sample
from tests.support.scripted_mesh import ScriptedMesh, scripted_mesh


@pytest.fixture
async def mesh() -> AsyncIterator[ScriptedMesh]:
    async with scripted_mesh() as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: ScriptedMesh) -> AsyncIterator[Client]:
    host = Host([sample], target=mesh.target, name="host")
    async with host.running(), connect(mesh.target) as client:
        yield client


async def test_gather_gives_outputs_in_the_order_of_the_asks(client: Client) -> None:
    asks = [Ask("demo.echo", {"text": str(number)}) for number in range(10)]
    assert await client.gather(asks) == [str(number) for number in range(10)]
    assert await client.gather([]) == []


async def test_gather_raises_the_first_failure_once_all_have_ended(client: Client) -> None:
    good = await client.submit("demo.echo", {"text": "a"})
    with pytest.raises(ContractFailed, match="FIRST"):
        await client.gather(
            [
                Ask("demo.fail", {"code": "FIRST"}),
                Ask("demo.fail", {"code": "SECOND"}),
                good,
            ]
        )
    assert good.ended


async def test_stream_yields_what_has_ended_with_a_bound_on_what_is_open(
    mesh: ScriptedMesh, client: Client
) -> None:
    most = 0

    def asks() -> AsyncIterator[Ask]:
        async def generate() -> AsyncIterator[Ask]:
            for number in range(50):
                yield Ask("demo.echo", {"text": str(number)})

        return generate()

    seen = set()
    async for handle in client.stream(asks(), in_flight=5):
        open_ = sum(contract.response is None for contract in mesh.contracts.values())
        most = max(most, open_)
        assert handle.ask is not None
        assert await handle.result() == handle.ask.input["text"]
        seen.add(handle.ask.input["text"])
    assert len(seen) == 50
    assert most <= 5


async def test_options_reach_the_request(mesh: ScriptedMesh, client: Client) -> None:
    await client.call(
        "demo.echo",
        {"text": "a"},
        request_id="mine",
        version="1",
        conversation_id="talk/1",
        priority="high",
        fairness_key="customer",
        labels={"team": "blue"},
        schedule_to_start=5,
        start_to_close=6,
        heartbeat=7,
        timeout=60,
    )
    request = mesh.by_request["mine"].request
    assert request.capability.version == "1"
    assert request.conversation_id == "talk/1"
    assert request.priority == 3
    assert request.fairness_key == "customer"
    assert dict(request.labels) == {"team": "blue"}
    assert request.timeouts.schedule_to_start.seconds == 5
    assert request.timeouts.start_to_close.seconds == 6
    assert request.timeouts.heartbeat.seconds == 7
    assert request.HasField("deadline")


async def test_an_exception_in_the_block_is_raised_as_it_is(mesh: ScriptedMesh) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with connect(mesh.target):
            raise LookupError("mine")


async def test_leaving_the_block_ends_who_waits(mesh: ScriptedMesh) -> None:
    async with connect(mesh.target) as client:
        handle = await client.submit("demo.nobody")
        await handle.accepted()
    with pytest.raises(Exception, match="closed"):
        await handle.result()


async def test_what_does_not_fit_into_json_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        await client.call("demo.echo", {"text": float("nan")})
    with pytest.raises(ValueError, match="no place in JSON"):
        await client.call("demo.echo", {"text": object()})


async def test_a_mesh_that_does_not_serve_a_call_says_so(client: Client) -> None:
    with pytest.raises(Exception, match="not implemented"):
        await client.get("0" * 16)
