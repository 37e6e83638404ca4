"""`muster pool FLEET`: hosts for a mesh that is there, as many as the demand takes."""

from __future__ import annotations

import asyncio
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from muster.cli import exits, text
from muster.cli.exits import Trouble
from muster.cli.fleet_files import read_fleet
from muster.cli.place import Place, connected
from muster.cli.terminal import err
from muster.cli.up import note
from muster.model import limits
from muster.supervisor.groups import PoolPlan
from muster.supervisor.plan import StartError, make_folders
from muster.supervisor.scaled import ScaledPool

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class PoolOptions:
    """What the command line says."""

    fleet: Path
    pool: str = "subprocess"
    least: int = 1
    most: int | None = None
    name: str = ""
    wait: str = "1s"
    calm: str = "1m"
    drain: str = "30s"


async def run_pool(place: Place, options: PoolOptions) -> int:
    """Runs the hosts until it is told to stop; returns the exit code."""
    plan = plan_of(place, options)
    endpoints = place.endpoints()
    async with connected(place, "scheduler", "registry") as client:
        await client.statistics()  # who may not ask is told so before anything starts
        scaled = ScaledPool(plan, endpoints, client.statistics, note)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, scaled.request_stop)
        try:
            await _run(scaled, str(endpoints))
        except StartError as error:
            raise Trouble(str(error), exits.USAGE) from None
    note("stopped; nothing was left running")
    return exits.OK


async def _run(scaled: ScaledPool, where: str) -> None:
    from muster.cli.pool_view import shown

    with err().status("starting hosts", spinner="dots"):
        await scaled.__aenter__()
    try:
        note(_begun(scaled.plan, where))
        with shown(scaled):
            await scaled.run()
    finally:
        note("every host finishes what it holds; asked again, it does not wait")
        with err().status("stopping", spinner="dots"):
            await scaled.__aexit__(None, None, None)


def _begun(plan: PoolPlan, where: str) -> str:
    groups = text.listed((kind.name for kind in plan.fleet.kinds), 6)
    hosts = f"{plan.hosts_min} to {text.counted(plan.hosts_max, 'host')} each"
    return f"{plan.name}: {groups}; {hosts} for the mesh at {where}"


def plan_of(place: Place, options: PoolOptions) -> PoolPlan:
    """The plan that the command line asks for. Raises `Trouble`."""
    fleet = read_fleet(options.fleet.expanduser().absolute())
    most = fleet.hosts if options.most is None else options.most
    if not options.least <= most <= limits.FLEET_HOSTS_MAX:
        message = (
            f"there cannot be {options.least} to {most} hosts of each kind; --min is at most --max,"
            f" and --max at most {limits.FLEET_HOSTS_MAX}"
        )
        raise Trouble(message, exits.USAGE)
    name = options.name or fleet.name
    if not _NAME.fullmatch(name):
        message = f"--name must be letters, digits, - and _, unlike {name!r}"
        raise Trouble(message, exits.USAGE)
    try:
        logs = make_folders(place.folder / "pools" / name)
    except StartError as error:
        raise Trouble(str(error), exits.USAGE) from None
    return PoolPlan(
        fleet=fleet,
        name=name,
        logs=logs,
        pool=options.pool,
        hosts_min=options.least,
        hosts_max=most,
        wait_seconds=_seconds("--wait", options.wait, _DAY_SECONDS),
        calm_seconds=_seconds("--calm", options.calm, _DAY_SECONDS),
        drain_seconds=_seconds("--drain", options.drain, limits.POOL_DRAIN_SECONDS_MAX),
    )


def _seconds(option: str, value: str, most: float) -> float:
    try:
        seconds = text.parse_duration(value)
    except ValueError as error:
        raise Trouble(f"{option}: {error}", exits.USAGE) from None
    if not 0 < seconds <= most:
        message = f"{option} must be more than nothing and at most {text.age(most)}, not {value}"
        raise Trouble(message, exits.USAGE)
    return seconds
