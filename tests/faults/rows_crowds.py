"""Rows with many agents: a herd that comes back at once, thousands that wait, two of one name."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable

import grpc

from muster.agent import Client, connect
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability
from muster.v1.executor_service_pb2 import (
    ConnectRequest,
    ConnectResponse,
    ListSessionsRequest,
)
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.session_pb2 import Hello
from muster.wire.channel import open_channel
from muster.wire.errors import error_of_rpc
from tests.faults.driving import judge, under_load
from tests.faults.probing import cpu_seconds, memory_bytes, probing
from tests.faults.stage import NOISE, Stage, stage
from tests.faults.table import Row, Trial
from tests.support.history import OWNER
from tests.support.processes import Process, until

HERD = 1_000
HERD_PROCESSES = 4
HERD_SECONDS_MAX = 30.0
BUSIEST_PERCENT_MAX = 25.0  # of a herd's arrivals, within a tenth of a second
IDLE = 10_000
IDLE_SECONDS = 12.0
IDLE_READY_SECONDS = 120.0
PROBE_SECONDS_MAX = 0.1
# Per agent, and of a core: targets.md's figures for agents that share sessions, and that do not.
SHARED_KIB_MAX, SHARED_CORE_PERCENT_MAX = 5.0, 5.0
ALONE_KIB_MAX, ALONE_CORE_PERCENT_MAX = 60.0, 40.0


async def herd(trial: Trial) -> None:
    """1,000 agents with a session each lose the mesh at once, and come back."""
    async with stage(trial.folder) as on, connect(tenant=NOISE) as noise:
        await start_crowd(on, HERD, 1, HERD_PROCESSES)
        await crowd_ready(noise, HERD)
        async with under_load(on, trial) as drive:
            await drive.warm()
            trial.say("kill -9 of the mesh, under 1,000 sessions")
            with on.fault("kill", "mesh", OWNER):
                await on.processes.kill("mesh")
                await on.processes.start("mesh")
                began = time.monotonic()
                await crowd_ready(noise, HERD)
                await on.agents_ready()
                took = time.monotonic() - began
            arrivals = await begun_at(on)
            await drive.warm()
        await judge(on, trial, alone=False)
        trial.most("all 1,000 back after", took, HERD_SECONDS_MAX)
        tenths = Counter(int(10 * at) for at in arrivals)
        busiest = 100 * max(tenths.values()) / len(arrivals)
        trial.figure("between the first and the last", max(arrivals) - min(arrivals), "s")
        trial.most("arrivals in the busiest 0.1 s", busiest, BUSIEST_PERCENT_MAX, "%")


async def begun_at(on: Stage) -> list[float]:
    """When each session of the crowd began, in Unix seconds."""
    found: list[float] = []
    async with open_channel(on.mesh.address("executor")) as channel:
        stub, request = ExecutorServiceStub(channel), ListSessionsRequest(page_size=1000)
        while True:
            page = await stub.ListSessions(request, metadata=(("muster-tenant", NOISE),))
            found += [each.create_time.ToNanoseconds() / 1e9 for each in page.sessions]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found


async def start_crowd(on: Stage, sessions: int, agents: int, processes: int) -> list[Process]:
    """Starts so many sessions with so many agents each, in so many processes."""
    environment = {**on.mesh.environment(), "MUSTER_TENANT": NOISE}
    each = sessions // processes
    return [
        await on.machine.start(
            f"crowd-{number}",
            *("-m", "tests.faults.crowd", f"crowd-{number}", str(each), str(agents)),
            environment=environment,
        )
        for number in range(processes)
    ]


async def crowd_ready(noise: Client, count: int, seconds: float = IDLE_READY_SECONDS) -> None:
    """Returns when the scheduler can place on so many agents of the crowd."""

    async def enough() -> bool:
        return (await noise.statistics()).agents >= count

    await until(enough, seconds, f"{count} agents are connected")


async def idle_shared(trial: Trial) -> None:
    """10,000 agents wait on 20 sessions while others work."""
    await _idle(trial, 20, IDLE // 20, SHARED_KIB_MAX, SHARED_CORE_PERCENT_MAX)


async def idle_alone(trial: Trial) -> None:
    """10,000 agents wait on a session each while others work."""
    await _idle(trial, IDLE, 1, ALONE_KIB_MAX, ALONE_CORE_PERCENT_MAX)


async def _idle(
    trial: Trial, sessions: int, agents: int, kib_max: float, percent_max: float
) -> None:
    async with stage(trial.folder) as on, connect(tenant=NOISE) as noise:
        mesh = on.processes.running["mesh"].pid
        before = memory_bytes(mesh)
        began = time.monotonic()
        await start_crowd(on, sessions, agents, HERD_PROCESSES)
        await crowd_ready(noise, sessions * agents)
        trial.figure("all connected after", time.monotonic() - began, "s")
        each = (memory_bytes(mesh) - before) / (sessions * agents) / 1024
        trial.most("memory of the mesh per agent", each, kib_max, "KiB")
        used, began = cpu_seconds(mesh), time.monotonic()
        await until(lambda: time.monotonic() - began > IDLE_SECONDS, 2 * IDLE_SECONDS, "it idles")
        percent = 100 * (cpu_seconds(mesh) - used) / (time.monotonic() - began)
        trial.most("processor of the mesh while all wait", percent, percent_max, "% of a core")
        async with under_load(on, trial) as drive, probing(echo(noise)) as probe:
            await drive.warm(IDLE_SECONDS)
        await judge(on, trial, faultless=True, alone=False)
        trial.most("probe p99", probe.p99(on.stalls), PROBE_SECONDS_MAX)
        trial.exactly("failed probes", len(probe.failures), 0)


def echo(client: Client) -> Callable[[], Awaitable[object]]:
    """A contract that does nothing, for any of a crowd."""

    async def probe() -> object:
        return await client.call("crowd.echo", {"text": "x"})

    return probe


async def same_name(trial: Trial) -> None:
    """A host of a name that is taken connects: the newest wins; of another identity, it may not."""
    async with stage(trial.folder) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            victim = on.host_names[0]
            older = on.hosts[victim]
            trial.say(f"another {victim} connects")
            with on.fault("same name", victim):
                began = time.monotonic()
                await on.start_hosts(victim)
                code = await older.wait(20.0)
                trial.most("the older one has given way after", time.monotonic() - began, 10.0)
                await on.agents_ready()
            said = [line for line in older.said.splitlines() if "another process runs" in line]
            trial.exactly("it says why", bool(said), 1)
            trial.exactly("its exit code is an error", code != 0, 1)
            refused = await hello_as(on.mesh.address("executor"), victim, "somebody-else")
            trial.say(f"a host of that name and another identity: {refused}")
            trial.exactly("another identity is refused", refused == "PERMISSION_DENIED", 1)
            await drive.warm()
        await judge(on, trial)


async def hello_as(executor: str, host: str, principal: str) -> str:
    """Says hello as somebody; returns the code with which the mesh sends it away."""
    spec = AgentSpec(name="other", max_in_flight=1, capabilities=[Capability(name="crowd.other")])
    async with open_channel(executor) as channel:
        metadata = (("muster-principal", principal),)
        call = ExecutorServiceStub(channel).Connect(metadata=metadata, timeout=5.0)
        await call.write(ConnectRequest(hello=Hello(protocol_version=1, host=host, agents=[spec])))
        try:
            frame = await call.read()
        except grpc.RpcError as error:
            return error_of_rpc(error).code.name
        return "it was welcomed" if isinstance(frame, ConnectResponse) else "it was sent away"


ROWS = (
    Row("herd", "reconnecting herd of 1,000 agents", herd),
    Row("same-name", "same host and agent names connect twice", same_name),
    Row("idle-shared", "10,000 idle agents on 20 sessions", idle_shared, seconds_max=240.0),
    Row("idle-alone", "10,000 idle agents on 10,000 sessions", idle_alone, seconds_max=240.0),
)
