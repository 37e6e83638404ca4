"""Where scenarios play: a real mesh with a bug or without, clients, and hosts on bare stubs.

Everything that they do and see goes into one history.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from muster.v1.scheduler_service_pb2 import GetContractRequest, GetStatisticsRequest
from tests.faults.planted.bare_host import BareHost
from tests.faults.stalls import stalls_noted
from tests.support.history import History
from tests.support.history.journal import SUFFIX
from tests.support.history.messages import state_name
from tests.support.history.records import OWNER, Fault, Record
from tests.support.processes import GONE_SECONDS, Machine, MeshProcesses, Process, until
from tests.support.recording_client import Recorder, recording

HEARTBEAT_SECONDS = 0.2
LEASE_PERIODS = 5


class PlantedMachine(Machine):
    """Starts every service of the mesh with a bug in it."""

    def __init__(self, folder: Path, bug: str) -> None:
        super().__init__(folder)
        self._bug = bug

    async def start(self, name: str, *command: str, **options: Any) -> Process:
        """See `Machine.start`."""
        if command[0] == "-m":
            command = ("-m", "tests.faults.planted", self._bug, *command[1:])
        return await super().start(name, *command, **options)


class Notes:
    """A journal of one process, kept in the common history."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder = recorder
        self._name = name

    def write(self, record: Record) -> None:
        """Stamps it, and keeps it."""
        record.by = self._name
        self._recorder.note(record)


class Stage:
    """What a scenario works with. Use `staged`."""

    def __init__(
        self, folder: Path, mesh: MeshProcesses, recorder: Recorder, tasks: asyncio.TaskGroup
    ) -> None:
        self.data_dir = folder / "data"
        self.mesh = mesh
        self.recorder = recorder
        self._stalling = folder / "stalled"
        self._tasks = tasks
        self._hosts: list[BareHost] = []

    @property
    def history(self) -> History:
        """Everything so far."""
        return self.recorder.history

    async def host(self, name: str, capability: str, window: int = 1, tenant: str = "") -> BareHost:
        """A host with one agent, of the same name, which is attached when this returns."""
        notes = Notes(self.recorder, name)
        host = BareHost(name, capability, window, tenant, notes)
        self._hosts.append(host)
        await host.connect(self.mesh.address("mesh"), self._tasks)
        return host

    async def dismiss(self, host: BareHost) -> None:
        """Sends a host away; returns when nothing is placed on its agent any more."""
        before = await self._agents(host)
        await host.detach()
        await until(lambda: self._fewer(host, before), GONE_SECONDS, f"{host.name} is gone")
        await host.leave()

    async def _fewer(self, host: BareHost, before: int) -> bool:
        return await self._agents(host) < before

    async def _agents(self, host: BareHost) -> int:
        call = self.recorder.stub.GetStatistics
        reply = await call(GetStatisticsRequest(), metadata=host.metadata, timeout=GONE_SECONDS)
        return reply.agents

    async def state_of(self, contract_id: str, tenant: str = "") -> str:
        """A contract's state now; empty when the mesh does not know it."""
        request = GetContractRequest(contract_id=contract_id)
        metadata = (("muster-tenant", tenant),) if tenant else ()
        get = self.recorder.stub.GetContract
        try:
            reply = await get(request, metadata=metadata, timeout=GONE_SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return ""
            raise
        return state_name(reply.contract.state)

    async def ends(self) -> int:
        """How many contracts the mesh has decided to end since it started."""
        reply = await self.recorder.stub.GetStatistics(GetStatisticsRequest(), timeout=GONE_SECONDS)
        return reply.ended

    @asynccontextmanager
    async def as_tenant(self, tenant: str) -> AsyncIterator[Recorder]:
        """A client of another tenant, which writes into the same history."""
        async with recording(self.mesh.address("mesh"), tenant=tenant) as recorder:
            recorder.history = self.history
            yield recorder

    async def restart(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Kill -9 of the mesh, what happens to its files `meanwhile`, and its return."""
        self.recorder.note(Fault("mesh killed", False, "mesh", [OWNER]))
        await self.mesh.kill()
        self.go_on()
        meanwhile()
        await started(self.mesh)
        self.recorder.note(Fault("mesh killed", True, "mesh", [OWNER]))

    def stall(self) -> None:
        """The disk takes nothing any more, until `go_on` or a restart."""
        self._stalling.touch()

    def go_on(self) -> None:
        """The disk is well."""
        self._stalling.unlink(missing_ok=True)

    def note_stalls(self) -> None:
        """Takes over when the machine itself stood still, which is nobody's fault."""
        self.history.read_journal("stalls", self.data_dir.parent / f"stalls{SUFFIX}")

    async def close(self) -> None:
        """Ends all hosts."""
        for host in self._hosts:
            await host.leave()


async def started(mesh: MeshProcesses) -> None:
    """Starts a mesh, with twice the usual patience: how soon it serves is not what is tested."""
    try:
        await mesh.start()
    except* TimeoutError:
        pass
    await mesh.serving()


@asynccontextmanager
async def staged(
    bug: str, folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str]
) -> AsyncIterator[Stage]:
    """A stage, its mesh serving."""
    machine = PlantedMachine(folder, bug)
    environment = {
        "MUSTER_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "MUSTER_RESUME_GRACE_SECONDS": "0.5",
        "STALLED_WHILE": str(folder / "stalled"),
        **settings,
    }
    mesh = MeshProcesses(machine, "all-in-one", folder / "data", environment)
    for name, value in mesh.environment().items():
        monkeypatch.setenv(name, value)
    try:
        await started(mesh)
        async with recording(mesh.address("mesh")) as recorder, asyncio.TaskGroup() as tasks:
            stage = Stage(folder, mesh, recorder, tasks)
            with stalls_noted(folder):
                try:
                    yield stage
                finally:
                    await stage.close()
    finally:
        await machine.close()
