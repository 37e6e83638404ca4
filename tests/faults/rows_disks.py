"""Rows in which the ledger's disk fills up, fails, is slow or loses its power, or is not ours."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack

from muster.v1.scheduler_service_pb2 import GetContractRequest
from tests.faults.driving import judge, under_load
from tests.faults.findings import reruns
from tests.faults.injectors import Disk, disk, fsync_injected, small_disk
from tests.faults.stage import Setup, Stage, stage
from tests.faults.table import Row, Trial
from tests.support.history import OWNER
from tests.support.processes import free_port, until

SMALL_MIB = 96
FULL_SECONDS = 8.0
RECOVERED_SECONDS_MAX = 10.0
EXIT_SECONDS_MAX = 2.0
REFUSED_SECONDS_MAX = 5.0
SLOW_FSYNC_MS = 300
STUCK_FSYNC_MS = 3_000
IMAGE_MIB = 192
POWER_CUTS = 3


async def disk_full(trial: Trial) -> None:
    """The disk of ledger and blobs has no byte left for a while."""
    with small_disk(trial.folder / "small", SMALL_MIB) as small:
        async with stage(trial.folder, Setup(data_dir=small.folder / "data")) as on:
            async with under_load(on, trial) as drive:
                await drive.warm()
                trial.say("the disk is full")
                with on.fault("disk full", "ledger", OWNER):
                    small.fill()
                    await asyncio.sleep(FULL_SECONDS)
                    await _probe_full_disk(on, trial)
                    small.free()
                    freed = time.monotonic()
                    await accepts(on)
                    recovered = time.monotonic() - freed
                await drive.warm()
            await judge(on, trial)
            trial.most("Submit accepted again after", recovered, RECOVERED_SECONDS_MAX)


async def _probe_full_disk(on: Stage, trial: Trial) -> None:
    refused = await on.clients.submit_once("while-full")
    trial.say(f"Submit says {refused or 'OK'}")
    trial.exactly("Submit refused while it is full", refused.startswith("UNAVAILABLE"), 1)
    known = next(iter(on.clients.acknowledged))
    request = GetContractRequest(contract_id=known)
    took = time.monotonic()
    await on.clients.stub.GetContract(request, timeout=5.0)
    trial.most("a read meanwhile", time.monotonic() - took, 1.0)


async def accepts(on: Stage) -> None:
    """Returns when a contract is accepted."""
    number = 0

    async def accepted() -> bool:
        nonlocal number
        number += 1
        return not await on.clients.submit_once(f"again-{number}")

    await until(accepted, 60.0, "a contract is accepted again")


async def fsync_fails(trial: Trial) -> None:
    """From some moment on every fsync says EIO: nothing may be acknowledged, and the process ends
    rather than go on. Then it is started again on a disk that works."""
    async with stage(trial.folder) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            process = on.processes.running["mesh"]
            with on.fault("fsync EIO", "mesh", OWNER):
                async with fsync_injected(process.pid, "error=EIO"):
                    failing = time.monotonic()
                    trial.say("every fsync fails")
                    code = await process.wait()
                    ended = time.monotonic() - failing
                await on.processes.start("mesh")
                await on.agents_ready()
            await drive.warm()
        history = await judge(on, trial)
        trial.most("the process ended after", ended, EXIT_SECONDS_MAX)
        trial.exactly("its exit code is an error", code > 0, 1)
        acked = [a for a in history.acknowledgements if failing < a.at < failing + ended]
        trial.exactly("acknowledged meanwhile", len(acked), 0)


async def fsync_slow(trial: Trial) -> None:
    """Every fsync takes 0.3 s for a while, and then 3 s."""
    async with stage(trial.folder) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            for ms, seconds in ((SLOW_FSYNC_MS, 12.0), (STUCK_FSYNC_MS, 12.0)):
                trial.say(f"every fsync takes {ms} ms")
                began = time.monotonic()
                with on.fault("fsync slow", f"{ms} ms", OWNER):
                    pid = on.processes.running["mesh"].pid
                    async with fsync_injected(pid, f"delay_enter={ms}ms"):
                        await asyncio.sleep(seconds)
                trial.figure(f"response p99 with fsyncs of {ms} ms", drive.p99(began), "s")
            await drive.warm()
        history = await judge(on, trial)
        trial.exactly("contracts that ran again", reruns(history), 0)


async def power_cut(trial: Trial) -> None:
    """The power goes in the middle of the load, three times: a mesh on what the disk then held has
    everything that was ever acknowledged."""
    async with AsyncExitStack() as disks:
        first = disks.enter_context(disk(trial.folder, "disk-0", IMAGE_MIB))
        async with stage(trial.folder, Setup(data_dir=first.folder / "data")) as on:
            async with under_load(on, trial) as drive:
                held = first
                for number in range(1, POWER_CUTS + 1):
                    await drive.warm()
                    with on.fault("power cut", "mesh", OWNER):
                        held = await _cut_power(on, trial, held, disks, number)
                await drive.warm()
            await judge(on, trial)


async def _cut_power(
    on: Stage, trial: Trial, held: Disk, disks: AsyncExitStack, number: int
) -> Disk:
    """Starts the mesh again on what the disk holds now; returns the disk that it is on then."""
    process = on.processes.running["mesh"]
    process.signal(signal.SIGSTOP)
    acknowledged = len(on.clients.acknowledged)
    image = trial.folder / f"disk-{number}.img"
    await asyncio.to_thread(held.copy_when_power_is_cut, image)
    await process.kill()
    trial.say(f"the power is cut after {acknowledged} contracts were acknowledged")
    after = disks.enter_context(disk(trial.folder, f"disk-{number}"))
    on.processes.data_dir = after.folder / "data"
    await on.processes.start()
    await on.agents_ready()
    return after


async def second_owner(trial: Trial) -> None:
    """Another process wants the ledger of a mesh that is at work."""
    async with stage(trial.folder) as on:
        async with under_load(on, trial) as drive:
            await drive.warm()
            began = time.monotonic()
            second = await on.processes.launch("mesh", free_port())
            code = await second.wait()
            took = time.monotonic() - began
            lines = second.said.splitlines()
            trial.say(lines[-1] if lines else "it says nothing")
            await drive.warm()
        history = await judge(on, trial, faultless=True)
        trial.most("it refused to start after", took, REFUSED_SECONDS_MAX)
        trial.exactly("its exit code is an error", code > 0, 1)
        clear = [line for line in lines if "in use by" in line and "MUSTER_DATA_DIR" in line]
        trial.exactly("lines that say why, and what to do", len(clear), 1)
        trial.exactly("contracts that ran again", reruns(history), 0)


ROWS = (
    Row(
        "disk-full",
        "ledger disk full",
        disk_full,
        needs=("root", "mount", "unshare"),
        spaces=("mount",),
    ),
    Row("fsync-error", "fsync EIO", fsync_fails, needs=("strace",)),
    Row("fsync-slow", "fsync takes 0.3 s, then 3 s", fsync_slow, needs=("strace",)),
    Row(
        "power-cut",
        "power cut, three times",
        power_cut,
        needs=("root", "mount", "mkfs.ext4", "unshare"),
        spaces=("mount",),
    ),
    Row("second-owner", "second process opens the same SQLite ledger", second_owner),
)
