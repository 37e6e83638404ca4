"""A mesh under load whose processes fail at one failpoint after the other, and come back.

Each edge is one failpoint with one action, in the process that it stands in. The process is started
with it, the load goes on until it acts, and what follows depends on the action: the process has
ended, or goes on, or hangs and is killed. Then it is started with the next.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from muster.failpoints import EXIT_CRASHED
from muster.v1.scheduler_service_pb2 import GetStatisticsRequest
from tests.faults.world import HOSTS, World
from tests.support import recording_client
from tests.support.failpoints import failing
from tests.support.history.records import OWNER, Fault
from tests.support.processes import MeshProcesses, Process, machine, until
from tests.support.recording_client import recording

ASKERS = 6  # at a time; each has one contract open
WORK_MS = (5, 60, 150)
ELSEWHERE_SECONDS = 30.0  # until another host has done what a killed one held
REACHED_SECONDS = 60.0  # from the start of a process until its failpoint acts
ENDED_SECONDS = 5.0  # from there to the end of a process that cannot go on
PATIENCE_SECONDS = 150.0  # of who asks: services live for a second between their failures
PROBE_SECONDS = 0.5
PROBE_LATE_SECONDS = 1.0

OWNERS = ("mesh", "scheduler")  # services that own the ledger

# Where an error leaves a process that could only go on from what the record does not say: it ends.
FATAL = frozenset({
    "submit_uncommitted",
    "submit_committed",
    "ledger_commit",
    "lease_unsent",
    "report_unacked",
    "events_unpublished",
    "scheduler_sweep",
    "executor_sweep",
    "run_step_unsubmitted",
    "run_item_unrecorded",
    "run_entry_untold",
    "run_child_untold",
})  # fmt: skip


class Edge(NamedTuple):
    """One failpoint, what it does, and in which service or host."""

    point: str
    action: str
    process: str
    when: str = ""  # as after the @ of MUSTER_FAILPOINTS

    @property
    def order(self) -> str:
        return f"{self.point}={self.action}{self.when and f'@{self.when}'}"

    @property
    def is_survived(self) -> bool:
        """Whether the process goes on, and can come to other edges in the same life."""
        errs = self.action in ("error", "apply_then_error")
        return errs and self.process not in HOSTS and self.point not in FATAL | {"drain"}


def lives(edges: Iterable[Edge]) -> Iterator[list[Edge]]:
    """Edges of one process, by the lives that it takes to cross them."""
    survived: list[Edge] = []
    for edge in edges:
        if edge.is_survived:
            survived.append(edge)
        else:
            yield [edge]
    if survived:
        yield survived


class EdgeWorld(World):
    """A world whose processes can be started with failpoints."""

    def __init__(self, *args: object, told: dict[str, str]) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._told = told  # what services are told, besides where everything is
        self._asked: set[int] = set()  # contracts that have not ended, by their numbers

    def process(self, name: str) -> Process:
        """A host, or a service."""
        return self.hosts[name] if name in HOSTS else self.mesh.running[name]

    async def restart(self, name: str, environment: Mapping[str, str]) -> None:
        """Kills a process unless it is dead already, and starts it with this environment besides;
        does not wait until it serves."""
        if name in HOSTS:
            await self.hosts[name].kill()
            self.hosts[name] = await self.machine.start(
                name,
                *("-m", "tests.support.recording_host", name, str(self.journal(name))),
                environment={**self.mesh.environment(), **environment},
            )
            return
        if name in self.mesh.running:
            await self.mesh.running[name].kill()
        self._told.update(environment)
        port = int(self.mesh.address(name).rpartition(":")[2])
        self.mesh.running[name] = await self.mesh.launch(name, port)
        for key in environment:
            del self._told[key]

    # --- load -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def loaded(self) -> AsyncIterator[None]:
        """Contracts come and go while the block runs; at its end all that were asked for have."""
        numbers, over = itertools.count(), asyncio.Event()

        async def ask_on() -> None:
            while not over.is_set():
                number = next(numbers)
                await self.ask_one(number)

        async with self.recorder.following(), asyncio.TaskGroup() as tasks:
            for _ in range(ASKERS):
                tasks.create_task(ask_on())
            yield
            over.set()

    async def ask_one(self, number: int) -> None:
        """One contract and its response, on a stream or by bare calls; every tenth has children."""
        ask = self._ask_by_calls if number % 2 else self.recorder.on_stream
        ms = WORK_MS[number % len(WORK_MS)]
        self._asked.add(number)
        if number % 10:
            await ask(f"e{number}", "fault.work", text=f"t{number}", ms=ms)
        else:
            await ask(f"e{number}", "fault.tree", text=f"t{number}", children=2, ms=ms)
        self._asked.remove(number)

    async def _ask_by_calls(self, request_id: str, capability: str, **values: object) -> None:
        contract_id = await self.recorder.submit(request_id, capability, **values)
        assert contract_id, f"refused: {self.history.refusals[-1]}"
        await self.recorder.wait(contract_id)

    # --- edges ------------------------------------------------------------------------------------

    async def cross_all(self, edges: Sequence[Edge], reached: Path) -> None:
        """Crosses one edge after the other; at the end every process is as it was."""
        for process, crossed in itertools.groupby(edges, lambda edge: edge.process):
            effects = [OWNER] if process in OWNERS else []
            self.recorder.note(Fault("failpoints", False, process, effects))
            for life in lives(crossed):
                await self._cross(life, reached)
            await self.restart(process, {})
            if process not in HOSTS:
                await self.mesh.serving(process)
            await self.agents_ready()
            self.recorder.note(Fault("failpoints", True, process, effects))

    async def _cross(self, life: Sequence[Edge], reached: Path) -> None:
        """Starts the process of an edge, or of several, with its failpoint, and sees it act."""
        orders, edge = ",".join(each.order for each in life), life[-1]
        with naming(orders, edge.process), failing(orders, reached / orders) as armed:
            await self.restart(edge.process, armed.environment)
            process = self.process(edge.process)
            if edge.point == "drain":
                await process.serving(self.mesh.address(edge.process))
                await process.terminate()
            await until(lambda: not armed.missed(), REACHED_SECONDS, f"{orders} acts")
            if edge.action == "crash":
                assert await process.wait() == EXIT_CRASHED, process.said
            elif edge.action == "hang":
                await self.probe()
            elif edge.point in FATAL:
                assert await process.wait(ENDED_SECONDS) == 1, process.said
            if edge.process in HOSTS:
                await self._done_elsewhere(process)

    async def _done_elsewhere(self, host: Process) -> None:
        """Kills a host, and returns when another has done what it held. Hosts come back so soon
        that one contract could lose an agent at each edge, and with the third it is given up."""
        held = set(self._asked)
        await host.kill()
        await until(lambda: held.isdisjoint(self._asked), ELSEWHERE_SECONDS, "others have done it")

    async def probe(self) -> None:
        """Whatever hangs, a call ends in time."""
        clock = asyncio.get_running_loop().time
        began = clock()
        with suppress(grpc.RpcError):
            await self.recorder.stub.GetStatistics(GetStatisticsRequest(), timeout=PROBE_SECONDS)
        assert clock() - began < PROBE_SECONDS + PROBE_LATE_SECONDS


@contextmanager
def naming(orders: str, process: str) -> Iterator[None]:
    """Says at which edge it was that something failed."""
    try:
        yield
    except Exception as error:
        error.add_note(f"at {orders} in {process}")
        raise


@asynccontextmanager
async def edge_world(
    shape: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[EdgeWorld] = EdgeWorld,
) -> AsyncIterator[EdgeWorld]:
    """A mesh in this shape, which serves, with all hosts connected; its environment is ours."""
    async with machine(folder) as started:
        told = {"MUSTER_LOG_LEVEL": "info"}
        mesh = MeshProcesses(started, shape, folder / "data", told)
        for name, value in mesh.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(recording_client, "ANSWER_SECONDS", PATIENCE_SECONDS)
        async with recording(mesh.address("scheduler")) as recorder:
            made = kind(started, mesh, recorder, told=told)
            await made.start_hosts()
            await mesh.start()
            await made.agents_ready()
            yield made
