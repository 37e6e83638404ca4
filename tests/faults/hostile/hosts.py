"""Hosts and agents that keep nothing of what they are to keep."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc

from muster.model import limits
from muster.v1.event_pb2 import LogLine, StreamItem
from muster.v1.executor_service_pb2 import ConnectResponse
from muster.v1.scheduler_service_pb2 import GetStatisticsRequest, SubmitRequest
from muster.v1.session_pb2 import AttachAgent, AttemptKey, Heartbeat, Report
from tests.faults.hostile.figures import Figure, Size
from tests.faults.hostile.ground import Ground
from tests.faults.hostile.spoken import SpokenHost, living, nothing, request, spec

AGENT_KB = 6.0  # of memory for an idle agent on a shared session: 5 of its own, 1 of noise
SESSION_KB = 70.0  # of memory for an idle agent with a session of its own
HOST_MB = 48.0  # of memory for a host that does everything wrong
THERE_SECONDS = 60.0  # until all agents are there
BEATS_PER_SECOND = 1_000
PROBES = 100
PROBE_SECONDS = 0.1  # the 99th percentile of a probe; where there is other load, the siege's own


async def idle_agents(ground: Ground, size: Size) -> list[Figure]:
    """Many agents on few sessions, which do nothing at all but live."""
    return await _idle(ground, size, "idle agents", min(20, size.sessions), AGENT_KB)


async def idle_sessions(ground: Ground, size: Size) -> list[Figure]:
    """As many sessions, with an agent each."""
    return await _idle(ground, size, "idle sessions", size.sessions, SESSION_KB)


async def _idle(
    ground: Ground, size: Size, name: str, sessions: int, each_kb: float
) -> list[Figure]:
    agents = size.agents if sessions < size.agents else size.sessions
    bound = HOST_MB + agents * each_kb / 1024
    async with AsyncExitStack() as stack, ground.siege(name, size, bound) as siege:
        asking = (await ground.stubs(stack)).scheduler
        before = (await asking.GetStatistics(GetStatisticsRequest())).agents
        per_session = agents // sessions
        stubs = await ground.stubs(stack)
        for session in range(sessions):
            if session % limits.STREAMS_PER_CONNECTION_MAX == limits.STREAMS_PER_CONNECTION_MAX - 1:
                stubs = await ground.stubs(stack)
            names = (f"idle-{session}-{number}" for number in range(per_session))
            specs = [spec(each, "hostile.idle") for each in names]
            idle = living(stubs, f"idle-host-{session}", specs, nothing)
            await stack.enter_async_context(idle)
            siege.look()
        ends = time.monotonic() + THERE_SECONDS
        there = 0
        while there < agents and time.monotonic() < ends:
            there = (await asking.GetStatistics(GetStatisticsRequest())).agents - before
            await asyncio.sleep(0.05)
        await siege.last()
        siege.note("agents that are not there", agents - there, 0)
        siege.note("memory for each agent", siege.more_mb * 1024 / agents, each_kb, "KB")
        probes = []
        for _ in range(PROBES):
            begun = time.monotonic()
            await asking.GetStatistics(GetStatisticsRequest())
            probes.append(time.monotonic() - begun)
        probe = max(PROBE_SECONDS, size.latency_seconds)
        siege.note("a probe's p99", sorted(probes)[-2], probe, "s")
    return siege.figures


async def many_attaches(ground: Ground, size: Size) -> list[Figure]:
    """One session that goes on attaching agents, beyond what a session may have."""
    asked = limits.AGENTS_PER_SESSION_MAX + 2 * limits.FRAME_ITEMS_MAX
    bound = HOST_MB + asked * AGENT_KB / 1024
    refused = 0

    def count(frame: ConnectResponse) -> dict[str, Any]:
        nonlocal refused
        refused += sum(each.HasField("error") for each in frame.attach_results)
        return {}

    async with AsyncExitStack() as stack, ground.siege("many attaches", size, bound) as siege:
        stubs = await ground.stubs(stack)
        host = await stack.enter_async_context(living(stubs, "crowd-host", [], count))
        for start in range(0, asked, limits.FRAME_ITEMS_MAX):
            numbers = range(start, start + limits.FRAME_ITEMS_MAX)
            attaches = [AttachAgent(spec=spec(f"crowd-{n}", "hostile.crowd")) for n in numbers]
            await host.say(attaches=attaches)
            siege.look()
        over = 2 * limits.FRAME_ITEMS_MAX
        await siege.until(lambda: refused >= over, THERE_SECONDS)
        siege.note("agents over the limit", over - refused, 0)
        await siege.last()
    return siege.figures


async def never_accepts(ground: Ground, size: Size) -> list[Figure]:
    """A host that lives, takes what it gets, and never says a word about it."""
    async with AsyncExitStack() as stack, ground.siege("never accepts", size, HOST_MB) as siege:
        stubs = await ground.stubs(stack)
        host = SpokenHost(stubs, "sphinx-host", [spec("sphinx", "hostile.sphinx", window=100)])
        await host.greet()
        for _ in range(100):
            await stubs.scheduler.Submit(SubmitRequest(request=request("hostile.sphinx")))
        ends = time.monotonic() + size.seconds
        while time.monotonic() < ends:
            await host.say(heartbeat=Heartbeat())
            siege.look()
            await asyncio.sleep(0.1)
        host.stream.cancel()
    return siege.figures


async def too_many_beats(ground: Ground, size: Size) -> list[Figure]:
    """A host that says that it lives, a thousand times per second."""
    async with AsyncExitStack() as stack, ground.siege("heartbeats", size, HOST_MB) as siege:
        stubs = await ground.stubs(stack)
        host = await stack.enter_async_context(living(stubs, "heart-host", [], nothing))
        begun = time.monotonic()
        beats = 0
        while (now := time.monotonic()) < begun + size.seconds:
            while beats < (now - begun) * BEATS_PER_SECOND:
                await host.beat()
                beats += 1
            siege.look()
            await asyncio.sleep(0.005)
        siege.note("streams that were cut", host.cuts, 0)
    return siege.figures


async def beyond_the_window(ground: Ground, size: Size) -> list[Figure]:
    """An agent that talks and talks, and waits for no acknowledgement."""
    keys: list[AttemptKey] = []
    refused = 0

    def answer(frame: ConnectResponse) -> dict[str, Any]:
        nonlocal refused
        keys.extend(each.key for each in frame.assignments)
        refused += len(frame.refusals)
        return {}

    async with AsyncExitStack() as stack, ground.siege("overrun", size, HOST_MB) as siege:
        stubs = await ground.stubs(stack)
        agents = [spec("babbler", "hostile.babble")]
        host = await stack.enter_async_context(living(stubs, "babble-host", agents, answer))
        await stubs.scheduler.Submit(SubmitRequest(request=request("hostile.babble")))
        await siege.until(lambda: bool(keys), THERE_SECONDS)
        line = LogLine(message="x" * 8_000)
        at = 0
        ends = time.monotonic() + size.seconds
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            while time.monotonic() < ends:
                items = []
                for _ in range(limits.FRAME_ITEMS_MAX):
                    at += 1
                    (key,) = keys[:1]
                    item = StreamItem(contract_id=key.contract_id, epoch=key.epoch, index=at)
                    item.log.CopyFrom(line)
                    items.append(item)
                await host.say(items=items[:100])
                siege.look()
        siege.note("overruns let through", int(not refused and not host.cuts), 0)
    return siege.figures


async def false_words(ground: Ground, size: Size) -> list[Figure]:
    """Reports, stops, items and leases of contracts that the session does not hold: each is refused
    by its id, and the stream goes on."""
    fenced = 0

    def answer(frame: ConnectResponse) -> dict[str, Any]:
        nonlocal fenced
        fenced += len(frame.report_acks)
        return {}

    async with AsyncExitStack() as stack, ground.siege("false words", size, HOST_MB) as siege:
        stubs = await ground.stubs(stack)
        host = await stack.enter_async_context(living(stubs, "liar-host", [], answer))
        said = 0
        ends = time.monotonic() + size.seconds
        while time.monotonic() < ends and not host.cuts:
            numbers = range(said + 1, said + 101)
            keys = [AttemptKey(contract_id=f"{number:016x}", epoch=1) for number in numbers]
            await host.say(reports=[Report(key=key) for key in keys], accepts=keys, suspends=keys)
            said += 100
            await siege.until(lambda: fenced >= said - 1_000, 5.0)  # noqa: B023 - awaited at once
        await siege.until(lambda: fenced >= said or host.cuts > 0, THERE_SECONDS)
        siege.note("reports without an answer", said - fenced, 0)
        siege.note("streams that were cut", host.cuts, 0)
    return siege.figures
