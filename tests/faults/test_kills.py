"""kill -9 in the middle of a load: whatever dies, the promise holds (S1, S2, S3, S5, S6, S7, S9).

Everything is judged by what clients and agents wrote down themselves; see tests/support/history.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.conftest import Note
from tests.faults.world import World
from tests.support.history import OWNER, PART, REUSED, executions_per_contract, violations
from tests.support.processes import SHAPES

CONTRACTS = 300
RESUBMITTED = 20

pytestmark = pytest.mark.timeout(90)


async def strike_host(world: World) -> None:
    await world.kill_hosts("host-a")
    await world.start_hosts("host-a")


async def strike_everything(world: World) -> None:
    """All of it in one blow, and back in an order that nobody would choose."""
    await asyncio.gather(world.kill_hosts(), world.mesh.kill())
    await world.start_hosts()
    await world.mesh.start(*reversed(world.mesh.services))


def strike_service(service: str) -> Callable[[World], Awaitable[None]]:
    async def strike(world: World) -> None:
        await world.mesh.kill(service)
        await world.mesh.start(service)

    return strike


async def strike_postgres(world: World) -> None:
    """The record itself is gone, and comes back with all that was committed."""
    await world.backends["postgres"].kill()
    await world.backends["postgres"].start()


STRIKES = {
    "postgres": strike_postgres,
    "host": strike_host,
    "everything": strike_everything,
    **{service: strike_service(service) for shape in SHAPES.values() for service in shape},
}
BACKENDS = {"replicas": ("postgres",)}
CASES = [
    (shape, victim)
    for shape, services in SHAPES.items()
    for victim in (*services, "host", "everything", *BACKENDS.get(shape, ()))
]


@pytest.mark.parametrize(
    ("mesh", "victim"), CASES, indirect=["mesh"], ids=["-".join(case) for case in CASES]
)
async def test_nothing_is_lost_doubled_or_mixed_up_by_a_kill(
    mesh: World, victim: str, note: Note
) -> None:
    async with mesh.recorder.following():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(mesh.load(CONTRACTS))
            await mesh.answered(CONTRACTS // 3)
            began = time.monotonic()
            await strike(mesh, victim)
            struck = time.monotonic()
        await resubmit(mesh)
    await mesh.settle()
    assert violations(mesh.history) == []
    runs = executions_per_contract(mesh.history)
    figures = f"{struck - began:.1f} s down, {runs:.3f} executions per contract"
    note(f"{victim} killed: {figures}")
    if victim.startswith("registry"):
        assert runs == 1.0  # nothing that it does is on a contract's path


STORM = ("executor", "host", "everything", "scheduler")


@pytest.mark.parametrize("mesh", ["separate"], indirect=True)
async def test_the_promise_holds_in_a_storm_of_kills(mesh: World, note: Note) -> None:
    async with mesh.recorder.following():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(mesh.load(CONTRACTS))
            for count, victim in enumerate(STORM, 1):
                await mesh.answered(count * CONTRACTS // (len(STORM) + 1))
                await strike(mesh, victim)
        await resubmit(mesh)
    await mesh.settle()
    assert violations(mesh.history) == []
    note(f"{executions_per_contract(mesh.history):.3f} executions per contract")


async def strike(mesh: World, victim: str) -> None:
    with mesh.fault("kill", victim, PART if victim == "host" else OWNER):
        await STRIKES[victim](mesh)
        await mesh.agents_ready()


async def resubmit(mesh: World) -> None:
    """S7 across the kill: the same request finds its contract, another body is refused."""
    for number in range(RESUBMITTED):
        await mesh.ask(number)
    submission = mesh.history.submissions[0]
    refused = await mesh.recorder.submit(submission.request_id, "fault.work", text="another")
    assert not refused
    (refusal,) = mesh.history.refusals
    assert refusal.reason == REUSED
