"""Rows in which the network fails: whole, in one direction, in the middle of a frame."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from tests.faults.clients import percentile
from tests.faults.driving import judge, under_load
from tests.faults.findings import redispatch_seconds, reruns
from tests.faults.injectors import Packets
from tests.faults.proxy import Proxy, Way
from tests.faults.stage import Setup, stage
from tests.faults.table import Row, Trial
from tests.support.history import OWNER, PART

LONG_SECONDS = 20.0  # two leases
SHORT_SECONDS = 4.0  # less than half a lease
LOST_SECONDS_MAX = 16.0  # a lease of 10 s, a sweep, and what a new attempt takes to begin
PACKET_GROUP = 54_321  # no group that the machine knows


def hold_both(proxies: list[Proxy]) -> None:
    """Nothing arrives, in either direction."""
    for proxy in proxies:
        proxy.hold()


def hold_there(proxies: list[Proxy]) -> None:
    """What is sent to the mesh does not arrive."""
    for proxy in proxies:
        proxy.hold(Way.THERE)


def hold_back(proxies: list[Proxy]) -> None:
    """What the mesh sends does not arrive."""
    for proxy in proxies:
        proxy.hold(Way.BACK)


async def partition_host(trial: Trial) -> None:
    """A host is cut off for two leases, first in both directions and then in each one."""
    async with stage(trial.folder, Setup(proxied=True)) as on:
        waits: list[float] = []
        moments: list[tuple[str, float]] = []
        async with under_load(on, trial) as drive:
            await drive.warm()
            victims = random.Random(trial.seed).sample(on.host_names, 3)
            ways = ((hold_both, "both ways"), (hold_there, "to the mesh"), (hold_back, "to it"))
            for victim, (strike, name) in zip(victims, ways, strict=True):
                trial.say(f"{victim} is cut off, {name}")
                with on.fault("partition", victim, PART):
                    moments.append((victim, time.monotonic()))
                    strike(on.proxies_of(victim))
                    await asyncio.sleep(LONG_SECONDS)
                    heal(on.proxies_of(victim))
                    await on.agents_ready()
                await drive.warm(2.0)
        history = await judge(on, trial)
        for victim, cut_at in moments:
            waits += redispatch_seconds(history, [victim], cut_at)
        trial.figure("contracts that ran again", len(waits))
        trial.most("re-dispatch p99", percentile(waits), LOST_SECONDS_MAX)


def heal(proxies: list[Proxy]) -> None:
    """Everything arrives again."""
    for proxy in proxies:
        proxy.heal()


async def partition_link(trial: Trial) -> None:
    """Executor and scheduler cannot hear each other, for half a lease and for two."""
    async with stage(trial.folder, Setup("separate", proxied=True)) as on:
        link = on.proxies["link"]
        async with under_load(on, trial) as drive:
            await drive.warm()
            for strike, seconds, name in (
                (hold_both, SHORT_SECONDS, "both ways"),
                (hold_there, SHORT_SECONDS, "to the scheduler"),
                (hold_back, SHORT_SECONDS, "to the executor"),
                (hold_both, LONG_SECONDS, "both ways"),
            ):
                trial.say(f"the link is cut for {seconds:.0f} s, {name}")
                with on.fault("partition", f"link {name} {seconds:.0f}", OWNER):
                    strike([link])
                    await asyncio.sleep(seconds)
                    link.heal()
                    await on.agents_ready()
                await drive.warm(3.0)
        await judge(on, trial)


async def partition_clients(trial: Trial) -> None:
    """Clients cannot reach the mesh; agents go on."""
    async with stage(trial.folder, Setup(proxied=True)) as on:
        proxy = on.proxies["clients"]
        async with under_load(on, trial) as drive:
            await drive.warm()
            for strike, name in (
                (hold_both, "both ways"),
                (hold_there, "to the mesh"),
                (hold_back, "from the mesh"),
            ):
                trial.say(f"clients are cut off, {name}")
                with on.fault("partition", f"clients {name}", OWNER):
                    strike([proxy])
                    await asyncio.sleep(2 * SHORT_SECONDS)
                    proxy.heal()
                await drive.warm(3.0)
        history = await judge(on, trial)
        trial.exactly("contracts that ran again", reruns(history), 0)


async def broken_connections(trial: Trial) -> None:
    """Connections are reset between frames and inside them, closed in one direction, and slow."""
    async with stage(trial.folder, Setup("separate", proxied=True)) as on:
        dice = random.Random(trial.seed)
        async with under_load(on, trial) as drive:
            await drive.warm()
            for strike, name in BREAKS:
                proxies = [on.proxies["clients"], on.proxies["link"]]
                for host in dice.sample(on.host_names, 3):
                    proxies += on.proxies_of(host)
                trial.say(f"connections of clients, the link and three hosts are {name}")
                with on.fault("break", name, OWNER):
                    for proxy in proxies:
                        strike(proxy)
                    await asyncio.sleep(SHORT_SECONDS)
                    heal(proxies)
                    await on.agents_ready()
        await judge(on, trial)


BREAKS: tuple[tuple[Callable[[Proxy], None], str], ...] = (
    (lambda proxy: proxy.cut(), "reset"),
    (lambda proxy: proxy.cut_inside(Way.THERE), "reset inside a frame to the mesh"),
    (lambda proxy: proxy.cut_inside(Way.BACK), "reset inside a frame from the mesh"),
    (lambda proxy: proxy.close(Way.THERE), "closed by their own side"),
    (lambda proxy: proxy.close(Way.BACK), "closed by the mesh's side"),
    (lambda proxy: proxy.delay(0.5), "slow by 0.5 s each way"),
    (lambda proxy: proxy.refuse(), "refused"),
)


async def drop_packets(trial: Trial) -> None:
    """Netfilter drops a host's packets for two leases: both ways, to the mesh, from the mesh."""
    victim = "host-0"
    setup = Setup(groups={victim: PACKET_GROUP})
    async with stage(trial.folder, setup) as on:
        port = int(on.mesh.address("executor").rpartition(":")[2])
        packets = Packets(port, PACKET_GROUP)
        moments: list[float] = []
        await packets.prepare()
        async with under_load(on, trial) as drive:
            await drive.warm()
            for there, back, name in (
                (True, True, "both ways"),
                (True, False, "to the mesh"),
                (False, True, "from the mesh"),
            ):
                trial.say(f"packets of {victim} are dropped, {name}")
                with on.fault("drop", f"{victim} {name}", PART):
                    moments.append(time.monotonic())
                    await packets.drop(there=there, back=back)
                    await asyncio.sleep(LONG_SECONDS)
                    await packets.heal()
                    await on.agents_ready()
                await drive.warm(3.0)
        history = await judge(on, trial)
        waits = [w for at in moments for w in redispatch_seconds(history, [victim], at)]
        trial.figure("contracts that ran again", len(waits))
        trial.most("re-dispatch p99", percentile(waits), LOST_SECONDS_MAX)


ROWS = (
    Row("partition-host", "a host is cut off for 20 s: both ways, and one way", partition_host),
    Row("partition-link", "executor and scheduler are cut off from each other", partition_link),
    Row("partition-clients", "clients are cut off for 8 s", partition_clients),
    Row("broken-connections", "connections reset, half-closed, slow, refused", broken_connections),
    Row(
        "dropped-packets",
        "nft drops a host's packets for 20 s: both ways, and one way",
        drop_packets,
        needs=("root", "nft", "ip", "unshare"),
        spaces=("net",),
    ),
)
