"""Hosts and clients against a scripted mesh, over real gRPC."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muster.agent import Agent, Client, Context, ContractFailed, Failed, Host, connect
from muster.v1 import session_pb2
from tests.support.sample_agents import Point, sample
from tests.support.scripted_mesh import ScriptedMesh, scripted_mesh


def host_of(mesh: ScriptedMesh, *agents: Agent) -> Host:
    return Host(agents, target=mesh.target, name="host", leave_seconds=5, workers=1)


@pytest.fixture
async def mesh() -> AsyncIterator[ScriptedMesh]:
    async with scripted_mesh() as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: ScriptedMesh) -> AsyncIterator[Client]:
    async with host_of(mesh, sample).running(), connect(mesh.target) as client:
        yield client


async def test_a_request_comes_back_as_a_response(client: Client) -> None:
    assert await client.call("demo.echo", {"text": "ab", "times": 2}) == "abab"
    assert await client.call("demo.mirror", Point(1, 2), returns=Point) == Point(2, 1)


async def test_many_requests_share_few_frames(mesh: ScriptedMesh, client: Client) -> None:
    results = await asyncio.gather(
        *(client.call("demo.echo", {"text": str(number)}) for number in range(500))
    )
    assert results == [str(number) for number in range(500)]
    assert len(mesh.sessions[0].frames) < 200


async def test_a_sync_function_runs_in_another_process(client: Client) -> None:
    first = await client.call("demo.process")
    assert first != os.getpid()
    assert await client.call("demo.process") == first


async def test_a_sync_function_with_threads_runs_in_a_thread_of_the_host(client: Client) -> None:
    assert (await client.call("demo.thread")).startswith("capability")


async def test_a_worker_that_dies_fails_its_attempt_and_is_replaced(client: Client) -> None:
    with pytest.raises(ContractFailed) as caught:
        await client.call("demo.die")
    assert (caught.value.code, caught.value.permanent) == ("WORKER_DIED", False)
    assert "code 7" in caught.value.message
    assert await client.call("demo.process") != os.getpid()


@pytest.mark.parametrize(
    ("capability", "given", "code", "permanent", "says"),
    [
        ("demo.fail", {"code": "ODD"}, "ODD", False, "as asked"),
        ("demo.fail", {"code": "ODD", "permanent": True}, "ODD", True, "as asked"),
        ("demo.raise", {}, "AGENT_ERROR", False, "LookupError: no such thing"),
        ("demo.exit", {}, "AGENT_ERROR", False, "exit(3)"),
        ("demo.wrong", {}, "INVALID_OUTPUT", True, "expected an integer, got a string"),
        ("demo.echo", {"text": 5}, "INVALID_INPUT", True, "text: expected a string"),
        ("demo.echo", {}, "INVALID_INPUT", True, "text: it is required"),
        ("demo.echo", {"text": "", "more": 1}, "INVALID_INPUT", True, "more: there is no"),
        ("demo.process", {"more": 1}, "INVALID_INPUT", True, "more: there is no"),
    ],
)
async def test_what_goes_wrong_is_reported_as_a_failure(
    client: Client, capability: str, given: object, code: str, permanent: bool, says: str
) -> None:
    with pytest.raises(ContractFailed, match=code) as caught:
        await client.call(capability, given)
    assert (caught.value.code, caught.value.permanent) == (code, permanent)
    assert says in caught.value.message


async def test_stream_items_come_in_order_and_before_the_report(
    mesh: ScriptedMesh, client: Client
) -> None:
    for capability in ("demo.talk", "demo.talk_in_worker"):
        mesh.sessions[0].items.clear()
        words = [f"word {number}" for number in range(100)]
        assert await client.call(capability, {"words": words}) == 100
        items = mesh.sessions[0].items
        assert [item.index for item in items] == list(range(1, len(items) + 1))
        outputs = [item.output for item in items if item.HasField("output")]
        assert [json.loads(output.payload.json) for output in outputs] == words
        assert [output.chunk for output in outputs] == list(range(100))
        assert mesh.reports[-1].output_chunks == 100
    assert mesh.reports[0].usage.input_tokens == 3
    assert mesh.reports[0].usage.output_tokens == 4
    assert mesh.reports[0].usage.model == "small"
    assert mesh.reports[1].usage.cost_micros == 5


async def test_output_waits_while_the_window_is_full_and_progress_is_dropped(
    mesh: ScriptedMesh, client: Client
) -> None:
    mesh.acknowledges_items = False
    words = [f"word {number}" for number in range(100)]
    handle = await client.submit("demo.talk", {"words": words})
    session = mesh.sessions[0]
    await mesh.until(lambda: len(session.items) >= 64)
    await mesh.until(lambda: session.frames[-1].HasField("heartbeat"))
    assert len(session.items) == 64
    assert not handle.ended
    mesh.acknowledges_items = True
    last = session.items[-1]
    ack = session.outlet.frame.item_acks.add(index=last.index)
    ack.key.contract_id, ack.key.epoch = last.contract_id, last.epoch
    assert await handle.result() == 100
    outputs = [item.output for item in session.items if item.HasField("output")]
    assert [output.chunk for output in outputs] == list(range(100))


async def test_outputs_that_wait_together_all_go_out(mesh: ScriptedMesh) -> None:
    choir = Agent("choir")

    @choir.capability("demo.sing")
    async def sing(voices: int, ctx: Context) -> None:
        await asyncio.gather(*(ctx.output("x" * 20_000) for _ in range(voices)))

    async with host_of(mesh, choir).running(), connect(mesh.target) as client:
        await client.call("demo.sing", {"voices": 50})
        outputs = [item.output.chunk for item in mesh.sessions[0].items]
        assert outputs == list(range(50))


async def test_a_generator_yields_parts_of_the_output_and_the_response_is_all_of_them(
    mesh: ScriptedMesh, client: Client
) -> None:
    for capability in ("demo.count", "demo.count_in_worker"):
        assert await client.call(capability, {"upto": 3}) == [0, 1, 2]
        assert mesh.reports[-1].output_chunks == 3


async def test_an_attempt_that_waits_for_a_child_is_suspended_meanwhile(
    mesh: ScriptedMesh, client: Client
) -> None:
    assert await client.call("demo.descend", {"levels": 3}) == 3
    frames = mesh.sessions[0].frames
    assert sum(len(frame.suspends) for frame in frames) == 3
    root = next(contract for contract in mesh.contracts.values() if "/" not in contract.request_id)
    assert f"{root.id}/below" in mesh.by_request


async def test_one_worker_is_enough_for_a_capability_that_delegates_to_itself(
    client: Client,
) -> None:
    assert await client.call("demo.descend_in_worker", {"levels": 4}) == 4
    assert await client.call("demo.descend_in_thread", {"levels": 4}) == 4


async def test_children_run_beside_each_other_and_come_back_in_order(client: Client) -> None:
    texts = [str(number) for number in range(20)]
    assert await client.call("demo.fan_out", {"texts": texts}) == texts
    assert await client.call("demo.fan_out_in_worker", {"texts": texts}) == texts


async def test_a_child_that_fails_raises_at_its_parent(client: Client) -> None:
    assert await client.call("demo.rescue") == "BROKEN it {'n': 1}"
    with pytest.raises(ContractFailed) as caught:
        await client.call("demo.pass_on")
    assert (caught.value.code, caught.value.permanent) == ("CHILD_FAILED", True)
    assert "BROKEN: as asked" in caught.value.message


async def test_a_cancelled_attempt_stops_and_says_so(mesh: ScriptedMesh) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    sleeper = Agent("sleeper")

    @sleeper.capability("demo.sleep")
    async def sleep() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with host_of(mesh, sleeper).running(), connect(mesh.target) as client:
        await client.submit("demo.sleep")
        await begun.wait()
        (contract,) = mesh.contracts.values()
        mesh.cancel(contract)
        await ended.wait()
        await mesh.until(lambda: mesh.sessions[0].stops)
        assert mesh.sessions[0].stops == [(contract.id, contract.epoch)]
        assert not mesh.reports


@pytest.mark.parametrize("capability", ["demo.spin", "demo.stubborn"])
async def test_a_cancelled_worker_is_told_and_then_killed(
    mesh: ScriptedMesh, client: Client, tmp_path: Path, capability: str
) -> None:
    path = tmp_path / "pid"
    await client.submit(capability, {"path": str(path)})
    await mesh.until(path.exists)
    (contract,) = mesh.contracts.values()
    mesh.cancel(contract)
    await mesh.until(lambda: mesh.sessions[0].stops)
    pid = int(path.read_text())
    again = await client.call("demo.process")
    assert (again == pid) == (capability == "demo.spin")


async def test_a_duplicate_assignment_runs_once(mesh: ScriptedMesh) -> None:
    runs = 0
    go = asyncio.Event()
    counter = Agent("counter")

    @counter.capability("demo.wait")
    async def wait() -> None:
        nonlocal runs
        runs += 1
        await go.wait()

    async with host_of(mesh, counter).running(), connect(mesh.target) as client:
        handle = await client.submit("demo.wait")
        await mesh.until(lambda: any(frame.starts for frame in mesh.sessions[0].frames))
        (contract,) = mesh.contracts.values()
        again = mesh.sessions[0].outlet.frame.assignments.add(
            agent="counter", capability="demo.wait", capability_version="1.0.0"
        )
        again.key.contract_id, again.key.epoch = contract.id, contract.epoch
        go.set()
        assert await handle.result() is None
        assert runs == 1


async def test_an_assignment_that_nobody_here_can_serve_is_answered(mesh: ScriptedMesh) -> None:
    async with host_of(mesh, sample).running():
        frame = mesh.sessions[0].outlet.frame
        stranger = frame.assignments.add(agent="stranger", capability="demo.echo")
        stranger.key.contract_id, stranger.key.epoch = "0" * 16, 1
        unknown = frame.assignments.add(agent="sample", capability="demo.nothing")
        unknown.key.contract_id, unknown.key.epoch = "0" * 16, 2
        frames = mesh.sessions[0].frames
        await mesh.until(lambda: any(frame.returns for frame in frames) and mesh.reports)
        assert mesh.reports[0].failure.code == "CAPABILITY_UNKNOWN"


async def test_the_schemas_and_the_description_go_out_with_the_hello(mesh: ScriptedMesh) -> None:
    async with host_of(mesh, sample).running():
        (spec,) = mesh.sessions[0].hello.agents
    offered = {capability.name: capability for capability in spec.capabilities}
    assert offered["demo.echo"].description == "Says it again."
    assert json.loads(offered["demo.echo"].input.json_schema) == {
        "type": "object",
        "properties": {"text": {"type": "string"}, "times": {"type": "integer", "default": 1}},
        "required": ["text"],
        "additionalProperties": False,
    }
    assert mesh.sessions[0].hello.reports_start
    assert mesh.sessions[0].hello.protocol_version == 1


async def test_a_refused_report_becomes_a_permanent_failure(mesh: ScriptedMesh) -> None:
    mesh.acknowledges = False
    async with host_of(mesh, sample).running(), connect(mesh.target) as client:
        handle = await client.submit("demo.echo", {"text": "a"})
        await mesh.until(lambda: mesh.reports)
        ack = mesh.sessions[0].outlet.frame.report_acks.add(key=mesh.reports[0].key)
        ack.verdict = session_pb2.REPORT_VERDICT_REFUSED
        ack.error.message = "too odd"
        mesh.acknowledges = True
        with pytest.raises(ContractFailed, match="REPORT_REFUSED: too odd"):
            await handle.result()


async def test_what_the_wire_would_refuse_is_mended_or_raised_where_it_is_said(
    mesh: ScriptedMesh,
) -> None:
    careless = Agent("careless")

    @careless.capability("demo.odd")
    async def odd(what: str, ctx: Context) -> None:
        if what == "code":
            raise Failed("not upper snake", "so it is", retry_after=1e9, details=object())
        ctx.progress(float("nan"), "x" * 5_000)
        ctx.log("\ud800" + "é" * 10_000)
        ctx.use(input_tokens=-1)

    async with host_of(mesh, careless).running(), connect(mesh.target) as client:
        with pytest.raises(ContractFailed) as caught:
            await client.call("demo.odd", {"what": "code"})
        assert caught.value.code == "AGENT_ERROR"
        assert caught.value.message == "not upper snake: so it is"
        assert "no place in JSON" in caught.value.details
        assert mesh.reports[0].failure.retry_after.seconds == 86_400
        with pytest.raises(ContractFailed, match="less than nothing"):
            await client.call("demo.odd", {"what": "else"})
        progress, log = mesh.sessions[0].items
        assert progress.progress.fraction == -1
        assert len(progress.progress.message) == 1_022
        assert len(log.log.message.encode()) <= 8_192


async def test_code_that_cancels_itself_fails_and_the_host_goes_on(mesh: ScriptedMesh) -> None:
    odd = Agent("odd")

    @odd.capability("demo.cancel_myself")
    async def cancel_myself() -> None:
        raise asyncio.CancelledError

    async with host_of(mesh, odd, sample).running(), connect(mesh.target) as client:
        with pytest.raises(ContractFailed, match="it cancelled itself"):
            await client.call("demo.cancel_myself")
        assert await client.call("demo.echo", {"text": "a"}) == "a"
