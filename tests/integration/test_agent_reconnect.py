"""What hosts and clients do when the mesh goes away, comes back, or sends them away."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from muster.agent import Agent, Host, Superseded, connect
from muster.model.errors import AlreadyExists, Fenced, InvalidArgument, MusterError, Unavailable
from muster.v1 import session_pb2
from tests.support.sample_agents import sample
from tests.support.scripted_mesh import ScriptedMesh, scripted_mesh


@pytest.fixture
async def mesh() -> AsyncIterator[ScriptedMesh]:
    async with scripted_mesh() as mesh:
        yield mesh


class Gate:
    """An agent whose one capability waits until the test opens it."""

    def __init__(self) -> None:
        self.agent = Agent("gate", max_in_flight=10)
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled: list[str] = []
        self.runs = 0
        self.agent.capability("demo.gate")(self.wait)

    async def wait(self) -> int:
        self.runs += 1
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError as error:
            self.cancelled.append(str(error.args[0]))
            self.ended.set()
            raise
        return self.runs


async def test_an_attempt_goes_on_while_the_mesh_is_away(mesh: ScriptedMesh) -> None:
    gate = Gate()
    host = Host([gate.agent], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks, connect(mesh.target) as client:
        tasks.create_task(host.run())
        handle = await client.submit("demo.gate")
        await gate.begun.wait()
        await mesh.stop()
        await mesh.start()
        await mesh.until(lambda: len(mesh.sessions) == 2)
        hello = mesh.sessions[1].hello
        assert [held.state for held in hello.held] == [session_pb2.HELD_STATE_STARTED]
        assert hello.last_session_epoch == 1
        gate.open.set()
        assert await handle.result() == 1
        host.leave()
    assert gate.runs == 1


async def test_a_report_is_sent_again_until_it_is_acknowledged(mesh: ScriptedMesh) -> None:
    mesh.acknowledges = False
    host = Host([sample], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks, connect(mesh.target) as client:
        tasks.create_task(host.run())
        handle = await client.submit("demo.echo", {"text": "once"})
        await mesh.until(lambda: len(mesh.reports) == 1)
        await mesh.stop()
        mesh.acknowledges = True
        await mesh.start()
        assert await handle.result() == "once"
        host.leave()
    assert len(mesh.reports) == 2
    assert mesh.reports[0] == mesh.reports[1]
    assert mesh.sessions[1].hello.held[0].state == session_pb2.HELD_STATE_REPORTED


async def test_a_pending_lease_holds_its_report_until_the_verdict(mesh: ScriptedMesh) -> None:
    gate = Gate()
    mesh.verdict = lambda held: session_pb2.LEASE_DECISION_PENDING
    host = Host([gate.agent], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks, connect(mesh.target) as client:
        tasks.create_task(host.run())
        handle = await client.submit("demo.gate")
        await gate.begun.wait()
        await mesh.stop()
        await mesh.start()
        await mesh.until(lambda: len(mesh.sessions) == 2)
        gate.open.set()
        session = mesh.sessions[1]
        reported = session_pb2.HELD_STATE_REPORTED
        await mesh.until(
            lambda: any(
                held.state == reported for frame in session.frames for held in frame.heartbeat.held
            )
        )
        assert not mesh.reports
        verdict = session.outlet.frame.verdicts.add(key=session.hello.held[0].key)
        verdict.decision = session_pb2.LEASE_DECISION_KEEP
        assert await handle.result() == 1
        host.leave()


async def test_a_dropped_lease_ends_its_code(mesh: ScriptedMesh) -> None:
    gate = Gate()
    mesh.verdict = lambda held: session_pb2.LEASE_DECISION_DROP
    host = Host([gate.agent], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks, connect(mesh.target) as client:
        tasks.create_task(host.run())
        await client.submit("demo.gate")
        await gate.begun.wait()
        await mesh.stop()
        await mesh.start()
        await mesh.until(lambda: gate.cancelled)
        await mesh.until(
            lambda: any(
                frame.HasField("heartbeat") and not frame.heartbeat.held
                for frame in mesh.sessions[1].frames
            )
        )
        assert gate.cancelled == ["LEASE_LOST"]
        assert not mesh.sessions[1].stops
        host.leave()


async def test_a_superseded_host_stops_and_does_not_come_back(mesh: ScriptedMesh) -> None:
    host = Host([sample], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(expect(host, Superseded))
        await host.connected()
        mesh.sessions[0].outlet.end(Fenced("a newer session took over", reason="SUPERSEDED"))
        await running
    assert len(mesh.sessions) == 1


async def test_a_host_that_is_refused_from_the_start_says_why(mesh: ScriptedMesh) -> None:
    mesh.refuse_connect = InvalidArgument("the host's name is odd")
    await expect(Host([sample], target=mesh.target, name="host"), InvalidArgument)


async def test_a_host_waits_for_a_mesh_that_is_not_there_yet(mesh: ScriptedMesh) -> None:
    await mesh.stop()
    host = Host([sample], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.run())
        await asyncio.sleep(0)
        await mesh.start()
        await host.connected()
        host.leave()


async def test_a_host_is_connected_when_what_it_offers_can_be_called(mesh: ScriptedMesh) -> None:
    mesh.answers_attaches = False
    host = Host([sample], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.run())
        connected = tasks.create_task(host.connected())
        await mesh.until(lambda: mesh.sessions and len(mesh.sessions[0].frames) > 1)  # heartbeats
        assert not connected.done()
        mesh.sessions[0].outlet.frame.attach_results.add(agent=sample.name)
        await connected
        host.leave()


async def test_nobody_waits_for_an_agent_that_was_taken_off(mesh: ScriptedMesh) -> None:
    mesh.answers_attaches = False
    host = Host([sample], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.run())
        connected = tasks.create_task(host.connected())
        await mesh.until(lambda: mesh.sessions and len(mesh.sessions[0].frames) > 1)  # heartbeats
        assert not connected.done()
        host.detach(sample.name)
        await connected
        host.leave()


async def test_a_host_that_runs_beside_a_block_raises_what_ends_it(mesh: ScriptedMesh) -> None:
    mesh.refuse_connect = InvalidArgument("the host's name is odd")
    with pytest.raises(InvalidArgument, match="odd"):
        async with Host([sample], target=mesh.target, name="host").running():
            pass
    mesh.refuse_connect = None
    with pytest.raises(LookupError, match="mine"):
        async with Host([sample], target=mesh.target, name="host").running():
            raise LookupError("mine")


async def expect(host: Host, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await host.run()


async def test_a_host_that_leaves_finishes_what_it_holds(mesh: ScriptedMesh) -> None:
    gate = Gate()
    host = Host([gate.agent], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks, connect(mesh.target) as client:
        running = tasks.create_task(host.run())
        handle = await client.submit("demo.gate")
        await gate.begun.wait()
        host.leave()
        await mesh.until(lambda: any(frame.leaving for frame in mesh.sessions[0].frames))
        assert not running.done()
        gate.open.set()
        assert await handle.result() == 1
        await running


async def test_a_drained_host_leaves(mesh: ScriptedMesh) -> None:
    host = Host([sample], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(host.run())
        await host.connected()
        mesh.sessions[0].outlet.frame.drain.grace.seconds = 5
        await running


async def test_a_host_that_cannot_finish_in_time_goes_anyway(mesh: ScriptedMesh) -> None:
    gate = Gate()
    host = Host([gate.agent], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks, connect(mesh.target) as client:
        running = tasks.create_task(host.run())
        await client.submit("demo.gate")
        await gate.begun.wait()
        host.leave(0.05)
        await running
    assert gate.cancelled == ["HOST_LEAVING"]


async def test_a_request_that_was_unanswered_is_submitted_again(mesh: ScriptedMesh) -> None:
    async with connect(mesh.target) as client:
        handle = await client.submit("demo.echo", {"text": "a"})
        contract_id = await handle.accepted()
        await mesh.stop()
        await mesh.start()
        host = Host([sample], target=mesh.target, name="host")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(host.run())
            assert await handle.result() == "a"
            host.leave()
        assert list(mesh.contracts) == [contract_id]


async def test_a_request_that_is_refused_for_now_is_submitted_again(mesh: ScriptedMesh) -> None:
    refusals: list[MusterError] = [Unavailable("not yet", retry_after_seconds=0.01)]
    mesh.refuse_submit = lambda request: refusals.pop() if refusals else None
    async with connect(mesh.target) as client:
        handle = await client.submit("demo.echo", {"text": "a"})
        assert await handle.accepted() == "0" * 15 + "1"
        assert not refusals


async def test_a_request_that_is_refused_for_good_says_why(mesh: ScriptedMesh) -> None:
    mesh.refuse_submit = lambda request: AlreadyExists("another body had this id")
    async with connect(mesh.target) as client:
        with pytest.raises(AlreadyExists, match="another body"):
            await client.call("demo.echo", {"text": "a"})


async def test_a_call_ends_by_its_deadline_though_nobody_answers(mesh: ScriptedMesh) -> None:
    await mesh.stop()
    async with connect(mesh.target) as client:
        with pytest.raises(MusterError) as caught:
            await client.call("demo.echo", {"text": "a"}, timeout=0.1)
        assert caught.value.reason == "DEADLINE_PASSED"


async def test_code_that_no_mesh_can_cancel_ends_at_its_deadline(mesh: ScriptedMesh) -> None:
    gate = Gate()
    host = Host([gate.agent], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.run())
        await host.connected()
        assignment = mesh.sessions[0].outlet.frame.assignments.add(
            agent="gate", capability="demo.gate", capability_version="1.0.0"
        )
        assignment.key.contract_id, assignment.key.epoch = "0" * 16, 1
        assignment.time_left.nanos = 50_000_000
        await gate.begun.wait()
        await mesh.stop()
        async with asyncio.timeout(20):
            await gate.ended.wait()
        host.leave()
    assert gate.cancelled == ["DEADLINE_EXCEEDED"]


async def test_agents_can_be_added_and_taken_off_while_the_host_runs(mesh: ScriptedMesh) -> None:
    gate = Gate()
    host = Host([gate.agent], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks, connect(mesh.target) as client:
        tasks.create_task(host.run())
        await host.connected()
        host.attach(sample)
        assert await client.call("demo.echo", {"text": "a"}) == "a"
        host.detach("gate")
        frames = mesh.sessions[0].frames
        await mesh.until(lambda: any(frame.detaches for frame in frames))
        host.leave()


async def test_a_host_none_of_whose_agents_is_wanted_says_why(mesh: ScriptedMesh) -> None:
    mesh.refuse_attach = AlreadyExists("other schemas", reason="CAPABILITY_CONFLICT")
    await expect(Host([sample], target=mesh.target, name="host"), AlreadyExists)


async def test_an_attach_that_fails_for_now_is_tried_again(mesh: ScriptedMesh) -> None:
    mesh.refuse_attach = Unavailable("not yet")
    host = Host([sample], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.run())
        connected = tasks.create_task(host.connected())
        await mesh.until(lambda: mesh.sessions)
        frames = mesh.sessions[0].frames
        await mesh.until(lambda: any(frame.attaches for frame in frames))
        assert not connected.done()
        mesh.sessions[0].outlet.frame.attach_results.add(agent=sample.name)
        await connected
        host.leave()
