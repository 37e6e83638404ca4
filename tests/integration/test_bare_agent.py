"""An agent with nothing of ours but the protos: stubs made by plain protoc in an empty folder.

It runs isolated, without the environment's own paths, so that no module of Muster can be imported
but those stubs; the mesh is a process that is killed under it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from muster.agent import Client, connect
from muster.model import limits
from muster.v1.response_pb2 import CONTRACT_STATE_SUCCEEDED
from tests.support.history import History
from tests.support.processes import ROOT, Machine, MeshProcesses, machine, until

AGENT = ROOT / "agents" / "examples" / "bare_stubs.py"
PROTOS = ROOT / "proto"

HEARTBEAT_SECONDS = 0.3
LEASE_SECONDS = HEARTBEAT_SECONDS * limits.LEASE_PERIODS
WORK_SECONDS = 2.0  # more than a lease
WINDOW = 4  # the agent's
DEADLINE_SECONDS = 30.0

# Runs the agent as it stands, and writes down each execution before it begins.
DRIVER = """
import asyncio, importlib.util, json, sys, time
stubs, packages, agent, journal = sys.argv[1:]
sys.path[:0] = [stubs]
sys.path.append(packages)  # gRPC and protobuf; without what installed packages do to the path
try:
    import muster.agent
except ModuleNotFoundError:
    pass
else:
    sys.exit("the SDK can be imported")
spec = importlib.util.spec_from_file_location("bare", agent)
bare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bare)
work, lines = bare.work, open(journal, "a", buffering=1)

async def recorded(assignment):
    key = assignment.key
    stamps = [time.monotonic(), time.time()]
    line = ["Execution", *stamps, key.contract_id, key.epoch, "-", "reverser"]
    lines.write(json.dumps(line) + chr(10))
    await work(assignment)

bare.work = recorded
asyncio.run(bare.main())
"""

# One worker makes the stubs once.
pytestmark = [pytest.mark.xdist_group("bare agent"), pytest.mark.timeout(90)]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was empty before protoc put the stubs into it."""
    folder = tmp_path_factory.mktemp("stubs")
    roots = {PROTOS: PROTOS / "muster", PROTOS / "third_party": PROTOS / "third_party"}
    names = [
        str(path.relative_to(root))
        for root, within in roots.items()
        for path in sorted(within.rglob("*.proto"))
    ]
    outputs = (f"--python_out={folder}", f"--grpc_python_out={folder}")
    command = [*(sys.executable, "-m", "grpc_tools.protoc"), *(f"-I{root}" for root in roots)]
    subprocess.run([*command, *outputs, *names], check=True)
    return folder


@dataclass
class World:
    """A mesh, the agent, and a client."""

    mesh: MeshProcesses
    client: Client
    journal: Path

    def runs(self) -> Counter[str]:
        """How often each contract was executed, as the agent says."""
        history = History()
        history.read_journal("reverser", self.journal)
        return Counter(execution.contract_id for execution in history.executions)

    async def executed(self, count: int) -> None:
        """Returns when so many executions have begun."""
        what = f"{count} executions have begun"
        await until(lambda: self.runs().total() >= count, DEADLINE_SECONDS, what)


@pytest.fixture
async def world(
    stubs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    async with machine(tmp_path) as started:
        timers = {"MUSTER_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS)}
        mesh = MeshProcesses(started, "all-in-one", tmp_path / "data", timers)
        journal = tmp_path / "journal"
        await mesh.start()
        await start_agent(started, mesh.address("mesh"), stubs, journal)
        monkeypatch.setenv("MUSTER_ADDRESS", mesh.address("mesh"))
        async with connect() as client:
            await until(lambda: is_there(client), DEADLINE_SECONDS, "the agent is connected")
            yield World(mesh, client, journal)


async def start_agent(machine: Machine, address: str, stubs: Path, journal: Path) -> None:
    packages = Path(grpc.__file__).parents[1]
    await machine.start(
        "agent",
        *("-I", "-S", "-c", DRIVER, str(stubs), str(packages), str(AGENT), str(journal)),
        environment={"MUSTER_ADDRESS": address, "REVERSER_SECONDS": str(WORK_SECONDS)},
    )


async def is_there(client: Client) -> bool:
    return (await client.statistics()).agents == 1


async def test_it_works_for_longer_than_a_lease(world: World) -> None:
    assert WORK_SECONDS > LEASE_SECONDS
    handle = await world.client.submit("text.reverse", {"text": "stressed"})
    assert await handle.result() == "desserts"
    contract = await world.client.get(await handle.accepted())
    assert len(contract.attempts) == 1
    assert world.runs() == {contract.id: 1}


async def test_it_gets_on_with_its_work_after_the_mesh_was_killed(world: World) -> None:
    client = world.client
    first = await client.submit("text.reverse", {"text": "before"})
    await first.result()
    handles = [await client.submit("text.reverse", {"text": str(n)}) for n in range(10, 18)]
    contract_ids = [await handle.accepted() for handle in handles]
    await world.executed(1 + WINDOW)
    await world.mesh.kill()
    await world.mesh.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        results = [await handle.result() for handle in handles]
    assert results == [str(n)[::-1] for n in range(10, 18)]
    again = await client.get(await first.accepted())
    assert again.response.state == CONTRACT_STATE_SUCCEEDED
    assert world.runs() == Counter([again.id, *contract_ids])
