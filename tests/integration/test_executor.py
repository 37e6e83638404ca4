"""The executor over real gRPC, between a scripted scheduler and hosts on bare stubs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from muster.executor.core_state import Timers
from muster.executor.link_dial import dial_link
from muster.executor.service import Executor, Settings
from muster.model import limits
from muster.runtime.principal import Principal
from muster.v1.agent_pb2 import AGENT_STATE_DRAINING, AGENT_STATE_READY, AgentSpec
from muster.v1.event_pb2 import LogLine, StreamItem
from muster.v1.executor_service_pb2 import (
    ConnectRequest,
    ConnectResponse,
    DrainAgentRequest,
    DrainHostRequest,
    ListSessionsRequest,
)
from muster.v1.link_pb2 import SessionEnd
from muster.v1.payload_pb2 import Payload
from muster.v1.session_pb2 import (
    LEASE_DECISION_KEEP,
    Assignment,
    AttachAgent,
    AttachResult,
    AttemptKey,
    CancelAttempt,
    Drain,
    HeldLease,
    Hello,
    ItemAck,
    ItemRefusal,
    LeaseVerdict,
    Report,
    ReportAck,
    Stopped,
    Welcome,
)
from muster.wire.errors import error_of_rpc
from tests.support.executor_mesh import (
    QUICK,
    ExecutorMesh,
    ScriptedScheduler,
    executor_mesh,
    key,
)


@pytest.fixture
async def mesh() -> AsyncIterator[ExecutorMesh]:
    async with executor_mesh() as mesh:
        yield mesh


@pytest.fixture
async def quick_mesh() -> AsyncIterator[ExecutorMesh]:
    async with executor_mesh(QUICK) as mesh:
        yield mesh


async def test_a_task_goes_to_its_host_and_its_report_comes_back(mesh):
    async with mesh.greeted() as (host, session_id):
        mesh.scheduler.say(session_id, attach_results=[AttachResult(agent="a")])
        mesh.scheduler.assign(session_id, key(1))
        welcome = await host.heard.of(Welcome)
        assert (welcome.session_id, welcome.executor) == (session_id, "executor-1")
        await host.heard.of(AttachResult, agent="a")
        await host.heard.of(Assignment, key=key(1))
        item = StreamItem(contract_id=key(1).contract_id, epoch=1, index=1, log=LogLine())
        host.send(items=[item], reports=[Report(key=key(1), payload=Payload(json="42"))])
        assert await mesh.scheduler.heard.of(StreamItem) == item
        report = await mesh.scheduler.heard.of(Report)
        assert (report.key, report.payload.json) == (key(1), "42")
        mesh.scheduler.say(session_id, item_acks=[ItemAck(key=key(1), index=1)])
        mesh.scheduler.acknowledge(session_id, key(1))
        await host.heard.of(ItemAck, index=1)
        await host.heard.of(ReportAck, key=key(1))


async def test_the_same_works_in_one_process_without_grpc():
    scheduler = ScriptedScheduler()
    requests: asyncio.Queue[ConnectRequest | None] = asyncio.Queue()

    async def frames() -> AsyncIterator[ConnectRequest]:
        while (request := await requests.get()) is not None:
            yield request

    async def host(executor: Executor) -> list[ConnectResponse]:
        return [frame async for frame in executor.pump.connect(Principal(), frames())]

    async with Executor(Settings("executor-1"), {"s": scheduler.link}) as executor:
        async with asyncio.TaskGroup() as group:
            responses = group.create_task(host(executor))
            agents = [AgentSpec(name="a")]
            hello = Hello(protocol_version=1, host="h", agents=agents)
            requests.put_nowait(ConnectRequest(frame_seq=1, hello=hello))
            session_id = (await scheduler.session()).session_id
            scheduler.assign(session_id, key(1))
            report = Report(key=key(1))
            requests.put_nowait(ConnectRequest(frame_seq=2, reports=[report]))
            assert await scheduler.heard.of(Report) == report
            requests.put_nowait(ConnectRequest(frame_seq=3, leaving=True))
            scheduler.acknowledge(session_id, key(1))
            await scheduler.heard.first(lambda x: x == "a")  # its agent takes nothing new
            requests.put_nowait(None)
        await scheduler.end(session_id)
    assert responses.result()[0].HasField("welcome")


# --- the protocol ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "ending"),
    [
        ({}, ("FAILED_PRECONDITION", "SESSION_PROTOCOL")),
        ({"reports": [Report(key=key(1))]}, ("FAILED_PRECONDITION", "SESSION_PROTOCOL")),
        ({"hello": Hello(protocol_version=1, host="a b")}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
        ({"hello": Hello(protocol_version=9, host="h")}, ("UNIMPLEMENTED", "NOT_SERVED_YET")),
    ],
)
async def test_a_stream_that_does_not_begin_with_a_good_hello_ends(mesh, frame, ending):
    async with mesh.host() as host:
        host.send(**frame)
        assert await host.ended() == ending


async def test_a_stream_that_says_nothing_ends(mesh, monkeypatch):
    monkeypatch.setattr(limits, "HELLO_SECONDS", 0.1)
    async with mesh.host() as host:
        assert await host.ended() == ("FAILED_PRECONDITION", "SESSION_PROTOCOL")


async def test_a_second_hello_ends_the_stream_but_not_the_session(mesh):
    async with mesh.greeted() as (host, session_id):
        host.hello()
        assert await host.ended() == ("FAILED_PRECONDITION", "SESSION_PROTOCOL")
        assert session_id in mesh.executor.core.book.sessions


async def test_bytes_that_are_no_frame_end_the_stream_with_invalid_argument(mesh):
    async with grpc.aio.insecure_channel(mesh.server.address) as channel:
        connect: Any = channel.stream_stream("/muster.v1.ExecutorService/Connect")
        call = connect(iter([b"\xff\xff\xff"]))
        with pytest.raises(grpc.RpcError) as caught:
            async for _ in call:
                pass
    error = error_of_rpc(caught.value)
    assert (error.code.name, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


async def test_one_bad_item_is_refused_by_id_and_the_rest_of_the_frame_counts(mesh):
    async with mesh.greeted() as (host, session_id):
        mesh.scheduler.assign(session_id, key(1))
        await host.heard.of(Assignment)
        host.send(
            accepts=[AttemptKey(contract_id="../x", epoch=1), key(9)],
            attaches=[AttachAgent(spec=AgentSpec(name="bad name"))],
            reports=[Report(), Report(key=key(1))],
        )
        assert (await mesh.scheduler.heard.of(Report)).key == key(1)
        codes = {(await host.heard.of(ItemRefusal, field="accepts")).error.code for _ in range(2)}
        assert codes == {3, 10}
        assert (await host.heard.of(AttachResult, agent="bad name")).error.code == 3
        assert (await host.heard.of(ReportAck, key=AttemptKey())).error.code == 3


# --- sessions -------------------------------------------------------------------------------------


async def test_a_newer_session_of_a_host_takes_over_its_leases(mesh):
    async with mesh.greeted() as (older, older_id):
        mesh.scheduler.assign(older_id, key(1))
        await older.heard.of(Assignment)
        async with mesh.greeted(held=[HeldLease(key=key(1), agent="a")]) as (newer, newer_id):
            assert await older.ended() == ("ABORTED", "SUPERSEDED")
            await mesh.scheduler.end(older_id)
            verdict = LeaseVerdict(key=key(1), decision=LEASE_DECISION_KEEP)
            mesh.scheduler.say(newer_id, verdicts=[verdict])
            await newer.heard.of(LeaseVerdict, key=key(1))
            newer.send(reports=[Report(key=key(1))])
            assert (await mesh.scheduler.heard.of(Report)).key == key(1)


async def test_a_host_of_another_principal_is_turned_away(mesh):
    async with mesh.greeted(), mesh.host(principal="mallory") as other:
        other.hello()
        assert await other.ended() == ("PERMISSION_DENIED", "NOT_ALLOWED")


async def test_a_host_that_breaks_off_is_lost_after_its_grace(quick_mesh):
    async with quick_mesh.greeted() as (host, session_id):
        host.call.cancel()
        assert "stream ended" in (await quick_mesh.scheduler.end(session_id)).reason


async def test_a_silent_host_is_lost_and_its_stream_ends(quick_mesh):
    async with quick_mesh.greeted() as (host, session_id):
        assert "silent" in (await quick_mesh.scheduler.end(session_id)).reason
        assert await host.ended() == ("UNAVAILABLE", "NOT_READY")


async def test_a_host_that_keeps_its_heartbeats_up_is_not_lost(quick_mesh):
    async with quick_mesh.greeted() as (host, session_id):
        quick_mesh.scheduler.assign(session_id, key(1))
        await host.heard.of(Assignment)
        for _ in range(10):
            host.beat(key(1))
            await asyncio.sleep(0.2)
        assert session_id in quick_mesh.executor.core.book.sessions
        host.send(reports=[Report(key=key(1))])
        await quick_mesh.scheduler.heard.of(Report)


async def test_an_assignment_that_nobody_accepts_is_taken_back(quick_mesh):
    async with quick_mesh.greeted() as (host, session_id):
        quick_mesh.scheduler.assign(session_id, key(1))
        cancel = await host.heard.of(CancelAttempt)
        assert (cancel.key, cancel.code) == (key(1), "NOT_ACCEPTED")


async def test_a_cancelled_attempt_is_stopped_by_its_host(mesh):
    async with mesh.greeted() as (host, session_id):
        mesh.scheduler.assign(session_id, key(1))
        await host.heard.of(Assignment)
        mesh.scheduler.say(session_id, cancels=[CancelAttempt(key=key(1), code="CANCELLED")])
        assert (await host.heard.of(CancelAttempt)).code == "CANCELLED"
        host.send(stops=[Stopped(key=key(1))])
        assert (await mesh.scheduler.heard.of(Stopped)).key == key(1)


# --- links ----------------------------------------------------------------------------------------


async def test_a_new_link_gets_the_level_and_unacknowledged_reports_again(mesh):
    async with mesh.greeted() as (host, session_id):
        mesh.scheduler.assign(session_id, key(1), key(2))
        await host.heard.of(Assignment, key=key(2))
        host.send(reports=[Report(key=key(1))])
        await mesh.scheduler.heard.of(Report, key=key(1))
        await mesh.scheduler.hello()
        mesh.scheduler.hang_up()
        await mesh.scheduler.hello()
        level = await mesh.scheduler.session()
        assert level.session_id == session_id
        assert [(lease.key, lease.state) for lease in level.held] == [(key(1), 4), (key(2), 1)]
        await mesh.scheduler.heard.of(Report, key=key(1))
        mesh.scheduler.acknowledge(session_id, key(1))
        await host.heard.of(ReportAck, key=key(1))


async def test_hosts_go_on_while_no_scheduler_is_there():
    executor = Executor(Settings("executor-1"), {"s": dial_link("127.0.0.1:1")})
    requests: asyncio.Queue[ConnectRequest] = asyncio.Queue()

    async def frames() -> AsyncIterator[ConnectRequest]:
        while True:
            yield await requests.get()

    async with executor:
        held = HeldLease(key=key(1), agent="a")
        hello = Hello(protocol_version=1, host="h", held=[held])
        requests.put_nowait(ConnectRequest(hello=hello, reports=[Report(key=key(1))]))
        frame = await anext(executor.pump.connect(Principal(), frames()))
    assert frame.HasField("welcome")
    assert [(verdict.key, verdict.decision) for verdict in frame.verdicts] == [(key(1), 3)]


# --- draining and listing -------------------------------------------------------------------------


async def test_sessions_are_listed_in_pages_and_only_to_their_tenant(mesh):
    async with mesh.greeted("h2"), mesh.greeted("h1"), mesh.greeted("h3"):
        first = await mesh.stub.ListSessions(ListSessionsRequest(page_size=2))
        assert [session.host for session in first.sessions] == ["h1", "h2"]
        assert (first.sessions[0].agents, first.sessions[0].executor) == (1, "executor-1")
        rest = ListSessionsRequest(page_size=2, page_token=first.next_page_token)
        second = await mesh.stub.ListSessions(rest)
        assert [session.host for session in second.sessions] == ["h3"]
        assert not second.next_page_token
        other = (("muster-tenant", "other"),)
        assert not (await mesh.stub.ListSessions(ListSessionsRequest(), metadata=other)).sessions
        with pytest.raises(grpc.RpcError) as caught:
            await mesh.stub.ListSessions(ListSessionsRequest(page_token="forged"))
        assert error_of_rpc(caught.value).reason == "PAGE_TOKEN"


async def test_a_drained_host_is_asked_to_leave_and_its_stream_ends_well(mesh):
    async with mesh.greeted() as (host, session_id):
        mesh.scheduler.assign(session_id, key(1))
        await host.heard.of(Assignment)
        drained = await mesh.stub.DrainHost(DrainHostRequest(host="h"))
        assert (drained.session.id, drained.session.draining) == (session_id, True)
        assert (await host.heard.of(Drain)).grace.seconds == 30
        host.send(reports=[Report(key=key(1))])
        await mesh.scheduler.heard.of(Report)
        mesh.scheduler.acknowledge(session_id, key(1))
        assert await host.ended() == ("OK", "")
        await mesh.scheduler.end(session_id)
        with pytest.raises(grpc.RpcError) as caught:
            await mesh.stub.DrainHost(DrainHostRequest(host="h"))
        assert error_of_rpc(caught.value).reason == "HOST_UNKNOWN"


async def test_a_drained_agent_is_asked_to_finish(mesh):
    async with mesh.greeted() as (host, _):
        drained = await mesh.stub.DrainAgent(DrainAgentRequest(agent="a"))
        assert drained.agent.state == AGENT_STATE_DRAINING
        assert list((await host.heard.of(Drain)).agents) == ["a"]
        await mesh.scheduler.heard.first(lambda x: x == "a")


async def test_a_stop_ends_streams_so_that_hosts_connect_elsewhere():
    async with executor_mesh() as mesh:
        async with mesh.greeted() as (host, session_id):
            async with asyncio.timeout(5):
                await mesh.server.stop()
            assert await host.ended() == ("UNAVAILABLE", "NOT_READY")
        # Whether the host is lost is for the next executor to find out.
        assert mesh.scheduler.heard.count(SessionEnd) == 0
        assert session_id in mesh.executor.core.book.sessions


# --- presence -------------------------------------------------------------------------------------


async def test_a_registry_hears_the_level_first_and_then_changes(mesh):
    first = await mesh.registry.heard.first(lambda frame: True)
    assert (first.executor, len(first.agents)) == ("executor-1", 0)
    async with mesh.greeted() as (host, session_id):
        frame = await mesh.registry.heard.first(lambda frame: frame.agents)
        (agent,) = frame.agents
        assert (agent.spec.name, agent.session_id, agent.host) == ("a", session_id, "h")
        assert (agent.state, agent.executor) == (AGENT_STATE_READY, "executor-1")
        host.send(leaving=True)
        host.close()
        frame = await mesh.registry.heard.first(lambda frame: frame.gone)
        assert [(x.tenant, x.name, x.session_id) for x in frame.gone] == [
            ("default", "a", session_id)
        ]


async def test_a_registry_that_comes_back_hears_the_level_again(mesh):
    await mesh.registry.heard.first(lambda frame: frame.executor)
    async with mesh.greeted("h1"):
        await mesh.registry.heard.first(lambda frame: frame.agents)
        mesh.registry.hang_up()
        async with mesh.greeted("h2", agents=(AgentSpec(name="b"),)):
            await mesh.registry.heard.first(lambda frame: frame.agents)
            level = await mesh.registry.heard.first(lambda frame: frame.executor)
            assert sorted(agent.spec.name for agent in level.agents) == ["a", "b"]


# --- load -----------------------------------------------------------------------------------------


async def test_frames_grow_with_what_waits_and_every_item_arrives_once(mesh):
    many = 5000
    agents = (AgentSpec(name="a", max_in_flight=many),)
    async with mesh.greeted(agents=agents) as (host, session_id):
        attempts = [key(number) for number in range(many)]
        for start in range(0, many, 100):
            mesh.scheduler.assign(session_id, *attempts[start : start + 100])
        got = [(await host.heard.of(Assignment)).key.contract_id for _ in range(many)]
        assert got == [attempt.contract_id for attempt in attempts]
        assert host.seen < many / 10
        for start in range(0, many, 200):
            host.send(reports=[Report(key=x) for x in attempts[start : start + 200]])
        reports = [(await mesh.scheduler.heard.of(Report)).key.contract_id for _ in range(many)]
        assert sorted(reports) == got


@pytest.mark.parametrize(
    ("limit", "most"),
    [("SESSION_OUTBOX_ITEMS_MAX", 200), ("SESSION_OUTBOX_BYTES_MAX", 1_000_000)],
)
async def test_a_host_that_reads_nothing_is_cut_off_and_holds_up_nobody(monkeypatch, limit, most):
    monkeypatch.setattr(limits, limit, most)
    async with executor_mesh(Timers(resume_grace_seconds=0.5)) as mesh:
        host = mesh.stub.Connect()
        agents = [AgentSpec(name="a", max_in_flight=10_000)]
        hello = Hello(protocol_version=1, host="stalled", agents=agents)
        await host.write(ConnectRequest(frame_seq=1, hello=hello))
        session_id = (await mesh.scheduler.session("stalled")).session_id
        payload = Payload(json='"' + "x" * 30_000 + '"')
        for number in range(600):
            assignment = Assignment(key=key(number), agent="a", payload=payload)
            mesh.scheduler.say(session_id, assignments=[assignment])
        async with mesh.greeted("other") as (other, other_id):
            mesh.scheduler.assign(other_id, key(10_000))
            await other.heard.of(Assignment)
            await mesh.scheduler.end(session_id)
            async with asyncio.timeout(5):
                while mesh.executor.pump.streams > 1:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.05)
            # When it reads again it gets what gRPC had taken for it, and then hears of the end.
            with pytest.raises(grpc.RpcError) as caught:
                [frame async for frame in host]
            assert error_of_rpc(caught.value).reason == "QUEUE_FULL"
