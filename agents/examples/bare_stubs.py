"""An agent on nothing but gRPC and generated stubs, as any language could write it.

One stream carries everything: a hello, in every period a heartbeat that names each lease held, and
for each assignment a report, sent again until it is acknowledged. When the stream ends the agent
connects again, names what it still holds, and does what the verdicts say.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator

import grpc

from muster.v1 import session_pb2 as session
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub

REVERSE = Capability(name="text.reverse", version="1.0.0")
SPEC = AgentSpec(name="reverser", max_in_flight=4, capabilities=[REVERSE])
SECONDS = float(os.environ.get("REVERSER_SECONDS", "0"))  # how long it thinks

Key = tuple[str, int]
held: dict[Key, session.Report] = {}  # of each lease; without payload while it is worked on
bound: set[Key] = set()  # the leases that belong to the current session
stopped: list[session.Stopped] = []
welcome = session.Welcome()
wake = asyncio.Event()


def name(key: session.AttemptKey) -> Key:
    return key.contract_id, key.epoch


async def frames() -> AsyncIterator[ConnectRequest]:
    hello = session.Hello(protocol_version=1, host="reverser", agents=[SPEC])
    hello.held.extend(session.HeldLease(key=report.key) for report in held.values())
    hello.last_session_epoch = welcome.session_epoch
    bound.clear()
    yield ConnectRequest(hello=hello)
    while True:
        wake.clear()
        leases = [session.HeldLease(key=report.key) for report in held.values()]
        frame = ConnectRequest(heartbeat=session.Heartbeat(held=leases), stops=stopped)
        done = (key for key in held if key in bound and held[key].HasField("payload"))
        frame.reports.extend(held[key] for key in done)
        stopped.clear()
        yield frame
        try:
            await asyncio.wait_for(wake.wait(), welcome.heartbeat_period.ToSeconds() or 1)
        except TimeoutError:
            continue


async def work(assignment: session.Assignment) -> None:
    await asyncio.sleep(SECONDS)
    report = held.get(name(assignment.key))
    if report is not None:
        report.payload.json = json.dumps(json.loads(assignment.payload.json)["text"][::-1])
        wake.set()


def apply(frame: ConnectResponse, tasks: asyncio.TaskGroup) -> None:
    if frame.HasField("welcome"):
        welcome.CopyFrom(frame.welcome)
    for verdict in frame.verdicts:
        if verdict.decision == session.LEASE_DECISION_KEEP:
            bound.add(name(verdict.key))
        elif verdict.decision == session.LEASE_DECISION_DROP:
            held.pop(name(verdict.key), None)
    for ack in frame.report_acks:
        held.pop(name(ack.key), None)
    for cancel in frame.cancels:
        held.pop(name(cancel.key), None)
        stopped.append(session.Stopped(key=cancel.key))
    for assignment in frame.assignments:
        held[name(assignment.key)] = session.Report(key=assignment.key)
        bound.add(name(assignment.key))
        tasks.create_task(work(assignment))


async def main() -> None:
    address = os.environ.get("MUSTER_ADDRESS", "127.0.0.1:7171")
    async with asyncio.TaskGroup() as tasks, grpc.aio.insecure_channel(address) as channel:
        while True:
            try:
                async for frame in ExecutorServiceStub(channel).Connect(frames()):
                    apply(frame, tasks)
                    wake.set()
            except grpc.RpcError:
                await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main())
