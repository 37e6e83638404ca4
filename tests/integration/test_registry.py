"""Presence over real gRPC: reports, registrations, pages, watches."""

import pytest

from muster.model.errors import Code
from muster.runtime.principal import TENANT_KEY
from muster.v1 import agent_pb2, capability_pb2
from muster.v1 import registry_service_pb2 as pb
from muster.wire.times import duration_of_seconds
from tests.support.registry_mesh import (
    GONE,
    PUT,
    SUM,
    make_agent,
    make_spec,
    next_frame,
    running,
    told,
)

# --- presence -------------------------------------------------------------------------------------


async def test_reported_agents_are_listed_and_found():
    async with running() as mesh:
        await mesh.report(make_agent("b", kind="x"), make_agent("a", labels={"zone": "1"}))
        assert await mesh.names() == ["a", "b"]
        assert await mesh.names(filter=pb.AgentFilter(kinds=["x"])) == ["b"]
        assert await mesh.names(filter=pb.AgentFilter(labels={"zone": "1"})) == ["a"]
        selector = capability_pb2.CapabilitySelector(name="text.sum", version="1")
        assert await mesh.names(filter=pb.AgentFilter(capability=selector)) == ["a", "b"]
        assert await mesh.names(tenant="other") == []
        agent = (await mesh.call("GetAgent", name="a")).agent
        assert (agent.host, agent.session_id, agent.executor) == ("h1", "s1", "e1")


async def test_a_single_agent_has_its_schemas_and_a_list_has_none():
    async with running() as mesh:
        await mesh.report(make_agent("a"))
        listed = (await mesh.call("ListAgents")).agents[0]
        assert not listed.spec.capabilities[0].HasField("input")
        agent = (await mesh.call("GetAgent", name="a")).agent
        assert agent.spec.capabilities[0].input.json_schema == SUM


async def test_an_agent_that_is_not_here_is_unknown_to_everybody_alike():
    async with running() as mesh:
        await mesh.report(make_agent("a"))
        missing = await mesh.refusal_of(mesh.call("GetAgent", name="b"))
        foreign = await mesh.refusal_of(mesh.call("GetAgent", name="a", tenant="other"))
        assert (missing.code, missing.reason) == (Code.NOT_FOUND, "AGENT_UNKNOWN")
        assert (foreign.code, foreign.message) == (missing.code, missing.message)


async def test_an_agent_that_left_and_came_back_within_a_frame_is_there():
    async with running() as mesh:
        stream = await mesh.report(make_agent("a"), make_agent("b"))
        gone = [pb.AgentName(tenant="default", name=name, session_id="s1") for name in "ab"]
        await mesh.tell(stream, agents=[make_agent("a")], gone=gone)
        assert await mesh.names() == ["a"]


async def test_a_thousand_agents_come_in_one_frame():
    async with running() as mesh:
        await mesh.report(*(make_agent(f"a{number:04}") for number in range(1000)))
        listed = await mesh.call("ListAgents", page_size=1)
        assert listed.total == 1000


async def test_a_newer_stream_of_an_executor_ends_the_older_one():
    async with running() as mesh:
        old = await mesh.report(make_agent("a"))
        await mesh.report(make_agent("a", session="s2", since=2), incarnation=2)
        error = await mesh.refusal_of(mesh.tell(old, agents=[make_agent("a")]))
        assert (error.code, error.reason) == (Code.ABORTED, "SUPERSEDED")
        assert (await mesh.call("GetAgent", name="a")).agent.session_id == "s2"


async def test_a_report_must_name_its_executor_and_keep_the_rules():
    async with running() as mesh:
        stream = mesh.stub.ReportPresence(timeout=10)
        error = await mesh.refusal_of(mesh.tell(stream, agents=[make_agent("a")]))
        assert error.reason == "SESSION_PROTOCOL"
        stream = await mesh.report()
        error = await mesh.refusal_of(mesh.tell(stream, agents=[make_agent("-")]))
        assert error.violations[0].field == "agents[0].spec.name"
        stream = await mesh.report()
        strange = make_agent("a")
        strange.state = 99  # type: ignore[assignment]
        error = await mesh.refusal_of(mesh.tell(stream, agents=[strange]))
        assert error.violations[0].field == "agents.state"


# --- pages ----------------------------------------------------------------------------------------


async def test_pages_go_through_everything_once():
    async with running() as mesh:
        await mesh.report(*(make_agent(f"a{number}") for number in range(7)))
        seen, token = [], ""
        while True:
            page = await mesh.call("ListAgents", page_size=3, page_token=token)
            seen += [agent.spec.name for agent in page.agents]
            assert page.total == 7
            token = page.next_page_token
            if not token:
                break
        assert seen == [f"a{number}" for number in range(7)]


async def test_a_forged_page_token_is_refused_wherever_there_are_pages():
    async with running("a@1.0.0", "b@1.0.0") as mesh:
        await mesh.report(make_agent("a"), make_agent("b"))
        tokens = {
            method: (await mesh.call(method, page_size=1)).next_page_token
            for method in ("ListAgents", "ListCapabilities")
        }
        assert all(tokens.values())
        forged = {
            "ListAgents": ["x", "*" * 512, tokens["ListCapabilities"], tokens["ListAgents"][:-2]],
            "ListCapabilities": ["x", "ä", tokens["ListAgents"], tokens["ListCapabilities"] + "A"],
        }
        for method, bad in forged.items():
            for token in bad:
                error = await mesh.refusal_of(mesh.call(method, page_token=token))
                assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "PAGE_TOKEN")
        other = {"filter": pb.AgentFilter(kinds=["x"]), "page_token": tokens["ListAgents"]}
        assert (await mesh.refusal_of(mesh.call("ListAgents", **other))).reason == "PAGE_TOKEN"


@pytest.mark.parametrize("size", [-1, 1001, 2**31 - 1])
async def test_page_sizes_out_of_range_are_refused(size: int):
    async with running() as mesh:
        error = await mesh.refusal_of(mesh.call("ListAgents", page_size=size))
        assert error.violations[0].field == "page_size"


# --- registrations --------------------------------------------------------------------------------


async def test_an_agent_registers_beats_drains_and_leaves():
    async with running() as mesh:
        life = duration_of_seconds(30)
        made = await mesh.call(
            "RegisterAgent", spec=make_spec("a"), address="tcp://h:1", time_to_live=life
        )
        assert made.heartbeat_period == duration_of_seconds(10)
        agent = (await mesh.call("GetAgent", name="a")).agent
        assert (agent.state, agent.address, agent.session_id) == (1, "tcp://h:1", "")
        name = made.registration_id
        await mesh.call("HeartbeatAgent", registration_id=name, state=2)
        assert (await mesh.call("GetAgent", name="a")).agent.state == 2
        error = await mesh.refusal_of(mesh.call("HeartbeatAgent", registration_id=name, state=3))
        assert error.violations[0].field == "state"
        for _ in range(2):
            await mesh.call("DeregisterAgent", registration_id=name)
        assert await mesh.names() == []
        error = await mesh.refusal_of(mesh.call("HeartbeatAgent", registration_id=name))
        assert error.reason == "REGISTRATION_UNKNOWN"


async def test_a_registration_belongs_to_its_tenant():
    async with running() as mesh:
        made = await mesh.call("RegisterAgent", spec=make_spec("a"))
        name = made.registration_id
        call = mesh.call("HeartbeatAgent", registration_id=name, tenant="other")
        assert (await mesh.refusal_of(call)).reason == "REGISTRATION_UNKNOWN"
        await mesh.call("DeregisterAgent", registration_id=name, tenant="other")
        assert await mesh.names() == ["a"]


# --- watches --------------------------------------------------------------------------------------


async def test_a_watch_begins_with_the_level_and_goes_on_with_changes():
    async with running() as mesh:
        stream = await mesh.report(make_agent("a"))
        watch = mesh.stub.WatchAgents(pb.WatchAgentsRequest(), timeout=10)
        level = await next_frame(watch)
        assert (level.reset, told(level), level.revision) == (True, [(PUT, "a")], 0)
        end = await next_frame(watch)
        assert (end.reset, told(end)) == (False, [])
        gone = pb.AgentName(tenant="default", name="a", session_id="s1")
        revision = await mesh.tell(stream, agents=[make_agent("b")], gone=[gone])
        frames = [await next_frame(watch)]
        while frames[-1].revision != revision:
            frames.append(await next_frame(watch))
        assert [each for frame in frames for each in told(frame)] == [(PUT, "b"), (GONE, "a")]


async def test_a_watch_goes_on_from_a_revision_and_begins_again_from_one_it_does_not_know():
    async with running() as mesh:
        stream = await mesh.report(make_agent("a"))
        first = await mesh.tell(stream)
        await mesh.tell(stream, agents=[make_agent("b")])
        watch = mesh.stub.WatchAgents(pb.WatchAgentsRequest(revision=first), timeout=10)
        frame = await next_frame(watch)
        assert (frame.reset, told(frame)) == (False, [(PUT, "b")])
        for unknown in (1, first + 10**9):
            watch = mesh.stub.WatchAgents(pb.WatchAgentsRequest(revision=unknown), timeout=10)
            frame = await next_frame(watch)
            assert (frame.reset, told(frame)) == (True, [(PUT, "a"), (PUT, "b")])


async def test_a_watcher_is_told_when_an_agent_no_longer_fits_its_filter():
    async with running() as mesh:
        stream = await mesh.report(make_agent("a", kind="x"), make_agent("b", kind="y"))
        request = pb.WatchAgentsRequest(filter=pb.AgentFilter(kinds=["x"]))
        watch = mesh.stub.WatchAgents(request, timeout=10)
        assert told(await next_frame(watch)) == [(PUT, "a")]
        await next_frame(watch)
        await mesh.tell(stream, agents=[make_agent("a", kind="y"), make_agent("b", kind="x")])
        assert told(await next_frame(watch)) == [(GONE, "a"), (PUT, "b")]


async def test_a_watcher_hears_nothing_of_other_tenants():
    async with running() as mesh:
        metadata = ((TENANT_KEY, "other"),)
        watch = mesh.stub.WatchAgents(pb.WatchAgentsRequest(), timeout=10, metadata=metadata)
        assert (await next_frame(watch)).reset
        await mesh.report(make_agent("a"))
        await mesh.call("RegisterAgent", spec=make_spec("mine"), tenant="other")
        assert told(await next_frame(watch)) == [(PUT, "mine")]


async def test_time_ends_a_registration_and_watchers_are_told():
    async with running() as mesh:
        watch = mesh.stub.WatchAgents(pb.WatchAgentsRequest(), timeout=30)
        await next_frame(watch)
        life = duration_of_seconds(1)
        await mesh.call("RegisterAgent", spec=make_spec("a"), time_to_live=life)
        states = [(await next_frame(watch)).changes[0] for _ in range(3)]
        assert [(int(each.type), int(each.agent.state)) for each in states] == [
            (PUT, agent_pb2.AGENT_STATE_READY),
            (PUT, agent_pb2.AGENT_STATE_LOST),
            (GONE, 0),
        ]
