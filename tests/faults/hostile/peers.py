"""Services of the mesh itself that have gone mad: executors' links and presence reports."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc

from muster.model import limits
from muster.v1.agent_pb2 import Agent, AgentSpec
from muster.v1.link_pb2 import LinkHello, LinkSession, SessionEnd, SessionItems, SlotLoan
from muster.v1.link_service_pb2 import LinkRequest
from muster.v1.link_service_pb2_grpc import LinkServiceStub
from muster.v1.registry_service_pb2 import ReportPresenceRequest
from muster.v1.scheduler_service_pb2 import SubmitStreamRequest
from muster.v1.session_pb2 import AttemptKey, HeldLease, Report
from tests.faults.hostile.figures import Figure, Size
from tests.faults.hostile.ground import Ground
from tests.faults.hostile.spoken import request, spec

PEER_MB = 64.0  # of memory for a peer that has gone mad
CONTRACT_KB = 8.0  # of memory for a contract that it was given
PRESENT_KB = 4.0  # of memory for an agent that it makes up
ENDED_SECONDS = 10.0


def _hello(name: str) -> LinkHello:
    return LinkHello(protocol_version=1, executor=name, incarnation=1)


async def unread_links(ground: Ground, size: Size) -> list[Figure]:
    """A link that takes on much work with a large window, and never reads what it is given."""
    bound = PEER_MB + size.flood * CONTRACT_KB / 1024
    async with AsyncExitStack() as stack, ground.siege("unread link", size, bound) as siege:
        stubs = await ground.stubs(stack)
        link: Any = LinkServiceStub(stubs.channel).Link()
        session = LinkSession(session_id="mad-1", host="mad", tenant="default", principal="mad")
        session.agents.append(spec("mad", "hostile.mad", window=10_000))
        await link.write(LinkRequest(frame_seq=1, hello=_hello("mad"), sessions=[session]))
        await link.read()
        asking: Any = (await ground.stubs(stack)).scheduler.SubmitStream()
        accepted = refused = 0
        while accepted + refused < size.flood:
            asked = [request("hostile.mad") for _ in range(100)]
            await asking.write(SubmitStreamRequest(requests=asked))
            frame = await asking.read()
            accepted += len(frame.accepted)
            refused += len(frame.refused)
            siege.look()
        await siege.last()
        siege.note("submits refused", refused, 0)
        link.cancel()
    return siege.figures


async def false_links(ground: Ground, size: Size) -> list[Figure]:
    """Links that speak of sessions, contracts and agents that there are not, or not theirs."""
    frames = _false_frames()
    async with AsyncExitStack() as stack, ground.siege("false links", size, PEER_MB) as siege:
        stubs = await ground.stubs(stack)
        loop = asyncio.get_running_loop()
        ends = loop.time() + size.seconds
        turn = 0
        while loop.time() < ends:
            turn += 1
            link: Any = LinkServiceStub(stubs.channel).Link()
            session = LinkSession(session_id=f"false-{turn}", host="false", tenant="default")
            held = HeldLease(key=AttemptKey(contract_id="0" * 16, epoch=1))
            session.held.extend([held] * 100)
            opening = LinkRequest(hello=_hello(f"false-{turn % 3}"), sessions=[session])
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await link.write(opening)
                for frame in frames:
                    for items in frame.items:
                        items.session_id = f"false-{turn}"
                    await link.write(frame)
                await link.done_writing()
                async with asyncio.timeout(ENDED_SECONDS):
                    while await link.read() is not grpc.aio.EOF:
                        pass
            siege.look()
    return siege.figures


def _false_frames() -> list[LinkRequest]:
    key, odd = AttemptKey(contract_id="f" * 16, epoch=2**64 - 1), AttemptKey(contract_id="../..")
    wrong = AgentSpec(name="* > .", max_in_flight=2**32 - 1)
    wrong.capabilities.add(name="A B", version="1")
    keys: list[AttemptKey] = [key, odd] * 50
    said = SessionItems(attaches=[wrong], detaches=["nobody"], drains=["nobody"], losses=keys)
    told = SessionItems(accepts=keys, starts=keys, suspends=keys, resumes=keys)
    told.reports.extend(Report(key=each) for each in keys)
    for each in keys:
        told.stops.add(key=each)
        told.returns.add(key=each)
        told.items.add(contract_id=each.contract_id, epoch=each.epoch, index=1)
    loans = [SlotLoan(session_id="nobody", agent="nobody", slots=2**32 - 1)]
    ends = [SessionEnd(session_id=secrets.token_hex(4)) for _ in range(100)]
    return [
        LinkRequest(items=[said]),
        LinkRequest(items=[told]),
        LinkRequest(loans=loans, ends=ends),
    ]


async def false_presence(ground: Ground, size: Size) -> list[Figure]:
    """Reports of agents that there are not, two thousand at a time; the answers are never read."""
    per_frame = 2_000
    bound = PEER_MB + 4 * per_frame * PRESENT_KB / 1024
    async with AsyncExitStack() as stack, ground.siege("false presence", size, bound) as siege:
        stubs = await ground.stubs(stack)
        streams: list[Any] = []
        for number in range(4):
            stream = stubs.registry.ReportPresence()
            agents = [_made_up(number, at) for at in range(per_frame)]
            name = f"false-{number}"
            await stream.write(ReportPresenceRequest(executor=name, incarnation=1, agents=agents))
            streams.append(stream)
        wrong = Agent(tenant="../..", spec=AgentSpec(name="-"))
        await streams[0].write(ReportPresenceRequest(agents=[wrong] * limits.FRAME_ITEMS_MAX))
        await siege.last()
        for stream in streams:
            stream.cancel()
    return siege.figures


def _made_up(executor: int, at: int) -> Agent:
    return Agent(
        tenant="default",
        spec=spec(f"ghost-{executor}-{at}", "hostile.ghost"),
        session_id=f"ghost-{executor}",
        host="ghost",
    )
