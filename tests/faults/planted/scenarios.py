"""What brings each planted bug to light, and does a mesh without bugs no harm.

Every scenario has names of its own, so that all of them can play on one mesh, one after the other.
Where a bug makes a difference to what can be waited for, a scenario waits for either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.faults.planted.stage import HEARTBEAT_SECONDS, LEASE_PERIODS, Stage
from tests.support.history.rules_reports import GIVEN_UP_SECONDS
from tests.support.processes import until
from tests.support.recording_client import request_for

SEEN_SECONDS = 5.0  # until something that is under way has been seen
WRONG_SECONDS = 3.0  # in which a watcher is not told what it must not be told

Scenario = Callable[[Stage], Awaitable[None]]


async def a_zombie_reports(stage: Stage) -> None:
    """A host loses its lease, and reports while another host has the contract."""
    zombie = await stage.host("zombie-a", "zombie")
    contract_id = await stage.recorder.submit("zombie", "zombie")
    old = await zombie.take()
    nonce = await zombie.start(old)
    await zombie.detach()
    other = await stage.host("zombie-b", "zombie")
    zombie.held.clear()
    await zombie.beat()  # it names nothing: the lease is lost
    new = await other.take()
    assert new.key.contract_id == contract_id
    other_nonce = await other.start(new)
    await zombie.report(old, nonce, text="from the grave")
    await other.report(new, other_nonce)


async def the_mesh_dies_after_an_ack(stage: Stage) -> None:
    """A contract is acknowledged, and nothing follows before the mesh is killed."""
    host = await stage.host("acked-a", "acked")
    await stage.recorder.submit("acked-1", "acked")
    await host.work()
    await stage.dismiss(host)
    contract_id = await stage.recorder.submit("acked-2", "acked")
    await stage.restart()
    if await stage.state_of(contract_id):
        again = await stage.host("acked-b", "acked")
        assert await again.work() == contract_id


async def the_mesh_dies_with_a_lease_under_way(stage: Stage) -> None:
    """A lease is sent and not committed when the mesh dies; afterwards another host gets one."""
    await stage.dismiss(await stage.host("epoch-a", "epoch"))
    contract_id = await stage.recorder.submit("epoch", "epoch")
    stage.stall()
    first = await stage.host("epoch-b", "epoch")
    await first.start(await first.take())
    await stage.restart()
    second = await stage.host("epoch-c", "epoch")
    assert await second.work() == contract_id


async def outputs_differ(stage: Stage) -> None:
    """Two contracts of one host are answered, one after the other."""
    host = await stage.host("wired-a", "wired")
    for number in range(2):
        await stage.recorder.submit(f"wired-{number}", "wired")
        await host.work()


async def a_request_comes_again(stage: Stage) -> None:
    """A request is resubmitted, while its contract is open and when it has ended."""
    host = await stage.host("again-a", "again")
    contract_id = await stage.recorder.submit("again", "again")
    assert await stage.recorder.submit("again", "again") == contract_id
    await host.work()
    await stage.recorder.wait(contract_id)
    if await stage.recorder.submit("again", "again") != contract_id:
        await host.work()
    if await stage.recorder.submit("again", "again", text="another"):
        await host.work()


async def a_host_falls_silent(stage: Stage) -> None:
    """A host stops beating with a lease, and others go on beating."""
    silent = await stage.host("silent-a", "silent")
    contract_id = await stage.recorder.submit("silent", "silent")
    held = await silent.take()
    nonce = await silent.start(held)
    silent.silent = True
    other = await stage.host("silent-b", "silent")
    lease = HEARTBEAT_SECONDS * LEASE_PERIODS
    try:
        async with asyncio.timeout(lease + GIVEN_UP_SECONDS + 2.5):
            assert await other.work() == contract_id
    except TimeoutError:
        await silent.report(held, nonce)


async def a_deadline_passes_in_the_queue(stage: Stage) -> None:
    """An agent comes when the deadline of what waits for it has passed."""
    await stage.dismiss(await stage.host("late-a", "late"))
    deadline = time.time() + 2.0
    contract_id = await stage.recorder.submit_by(deadline, "late", "late")
    await asyncio.sleep(deadline + 0.1 - time.time())  # it is the deadline that has to pass
    await stage.host("late-b", "late")  # it gets nothing, or does nothing with it
    await stage.recorder.wait(contract_id)


async def the_mesh_dies_with_an_end_under_way(stage: Stage) -> None:
    """A report is received and not committed when the mesh dies; then the contract is cancelled."""
    host = await stage.host("early-a", "early")
    async with stage.recorder.following("early"):
        contract_id = await stage.recorder.submit("early", "early")
        assignment = await host.take()
        nonce = await host.start(assignment)
        await until(lambda: seen(stage, contract_id, "STARTED"), SEEN_SECONDS, "it runs")
        stage.stall()
        ends = await stage.ends()
        await host.say(assignment, nonce)
        await until(lambda: decided(stage, ends), SEEN_SECONDS, "its end was decided")
        with suppress(AssertionError):
            await until(lambda: seen(stage, contract_id, "ENDED"), WRONG_SECONDS, "it has ended")
        await host.leave()
        await stage.restart()
        assert await stage.recorder.cancel(contract_id) == "OK"


async def more_work_than_window(stage: Stage) -> None:
    """An agent that takes one at a time is asked for two."""
    host = await stage.host("window-a", "window", window=1)
    await stage.recorder.submit("window-1", "window")
    first = await host.take()
    nonce = await host.start(first)
    contract_id = await stage.recorder.submit("window-2", "window")
    if await stage.state_of(contract_id) != "QUEUED":
        second = await host.take()
        await host.report(second, await host.start(second))
        await host.report(first, nonce)
    else:
        await host.report(first, nonce)
        await host.work()


async def another_report_comes(stage: Stage) -> None:
    """A host that has reported reports once more, and says something else."""
    host = await stage.host("twice-a", "twice")
    contract_id = await stage.recorder.submit("twice", "twice")
    assignment = await host.take()
    nonce = await host.start(assignment)
    await host.report(assignment, nonce)
    await stage.recorder.wait(contract_id)
    await host.report(assignment, nonce, text="something else")


async def a_report_comes_after_a_cancel(stage: Stage) -> None:
    """A contract is cancelled while its agent finishes."""
    host = await stage.host("cancel-a", "cancel")
    contract_id = await stage.recorder.submit("cancel", "cancel")
    assignment = await host.take()
    nonce = await host.start(assignment)
    assert await stage.recorder.cancel(contract_id) == "OK"
    await host.report(assignment, nonce)


async def an_agent_fails(stage: Stage) -> None:
    """An agent fails a contract of which it may fail one attempt."""
    host = await stage.host("failing-a", "failing")
    request = request_for("failing", "failing", {}, 0.0)
    request.retry_policy.maximum_attempts = 1
    request.retry_policy.initial_interval.FromMilliseconds(1)
    contract_id = await stage.recorder.submit_request(request, "failing")
    while await stage.state_of(contract_id) != "FAILED":
        assignment = await host.take()
        await host.report(assignment, await host.start(assignment), failed="BROKEN")


async def output_comes_in_parts(stage: Stage) -> None:
    """A watcher follows an attempt that puts out three parts."""
    host = await stage.host("parts-a", "parts")
    contract_id = await stage.recorder.submit("parts", "parts")
    assignment = await host.take()
    nonce = await host.start(assignment)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.recorder.watch(contract_id, 2 * SEEN_SECONDS))
        await host.put_out(assignment, 3)
        await host.report(assignment, nonce, chunks=3)


async def everything_is_watched(stage: Stage) -> None:
    """A watcher of everything follows a contract."""
    host = await stage.host("watched-a", "watched")
    async with stage.recorder.following("watched"):
        await stage.recorder.submit("watched", "watched")
        await host.work()


async def tenants_want_the_same(stage: Stage) -> None:
    """Two tenants have a capability of the same name, and the agents of one are away."""
    await stage.dismiss(await stage.host("tenant-a", "shared", tenant="acme"))
    other = await stage.host("tenant-b", "shared")
    async with stage.as_tenant("acme") as acme:
        contract_id = await acme.submit("shared", "shared")
        wrong = await stage.state_of(contract_id, "acme") != "QUEUED"
        host = other if wrong else await stage.host("tenant-c", "shared", tenant="acme")
        assert await host.work() == contract_id
        await acme.read_back()


async def decided(stage: Stage, before: int) -> bool:
    """Whether the mesh has decided to end one more contract."""
    return await stage.ends() > before


def seen(stage: Stage, contract_id: str, kind: str) -> bool:
    """Whether a watcher has seen such an event of a contract."""
    return any(
        each.contract_id == contract_id and each.type == kind for each in stage.history.changes
    )
