"""The scheduled mode: the mesh calls an agent when it is time.

    reporter = Agent("reporter")

    @scheduled(reporter, "report.write", cron="0 7 * * mon-fri", time_zone="Europe/Berlin")
    async def write(ctx: Context, days: int = 1) -> str: …

A host that runs the agent makes the schedule, once it is connected, or changes the one that is
there: the schedule belongs to the capability, so however many hosts offer it, each tick is one
contract, for whichever of them lives. It stays when they end, and what is due then waits for an
agent; `muster schedule delete NAME` ends it. Where identity is proven, ticks ask as the host that
made the schedule, so it needs the role of a client, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack

from muster.agent.contents import fill_small, is_small
from muster.agent.modes.patience import patiently
from muster.agent.values import input_content
from muster.model import limits
from muster.model.errors import MusterError
from muster.model.versions import VERSION_DEFAULT
from muster.v1 import schedule_service_pb2 as pb
from muster.v1.schedule_pb2 import OverlapPolicy, ScheduleSpec
from muster.wire.errors import answer_of
from muster.wire.times import duration_of_seconds

if TYPE_CHECKING:
    from muster.agent.agent import Agent
    from muster.agent.services import Services

logger = logging.getLogger("muster.agent")

Overlap = Literal["skip", "queue", "cancel", "allow"]
F = TypeVar("F", bound=Callable[..., Any])


class Times(TypedDict, total=False):
    """When, and what else there is to say; `ScheduleSpec` in the protos tells all of it.

    Either `cron` (five fields, or six with seconds first) with a `time_zone` (UTC), or `every` so
    many seconds. `jitter`, `catch_up_window` and `timeout` (of each contract) are in seconds.
    """

    cron: str
    time_zone: str
    every: float
    jitter: float
    overlap: Overlap
    queue_max: int
    catch_up_window: float
    timeout: float
    note: str
    version: str


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A capability that is called when it is time. `name` is the schedule's, in the tenant."""

    name: str
    capability: str
    input: Any
    times: Times


def scheduled(
    agent: Agent,
    capability: str,
    input: Any = None,
    *,
    name: str = "",
    **times: Unpack[Times],
) -> Callable[[F], F]:
    """Offers the decorated function as a capability, and has it called when it is time, with this
    input. For when, see `Times`. The schedule is called after the capability, unless it has a
    name."""

    def decorate(function: F) -> F:
        offered = agent.capability(capability, version=times.get("version", VERSION_DEFAULT))(
            function
        )
        schedule(agent, capability, input, name=name, **times)
        return offered

    return decorate


def schedule(
    agent: Agent, capability: str, input: Any = None, *, name: str = "", **times: Unpack[Times]
) -> None:
    """Has a capability called when it is time; it need not be this agent's."""
    if ("cron" in times) == ("every" in times):
        message = "say when: either cron, or every so many seconds"
        raise ValueError(message)
    made = Scheduled(name or capability, capability, input, times)
    if made.name in agent.schedules:
        message = f"{agent.name} has a schedule called {made.name} already: give each its own name"
        raise ValueError(message)
    spec_of(made)
    agent.schedules[made.name] = made


def spec_of(made: Scheduled) -> ScheduleSpec:
    """The schedule on the wire. Raises `ValueError` for input that has no place in it."""
    times = made.times
    spec = ScheduleSpec(queue_max=times.get("queue_max", 0), note=times.get("note", ""))
    if "cron" in times:
        spec.cron.expression = times["cron"]
        spec.cron.time_zone = times.get("time_zone", "")
    else:
        spec.interval.every.CopyFrom(duration_of_seconds(times["every"]))
    if "jitter" in times:
        spec.jitter.CopyFrom(duration_of_seconds(times["jitter"]))
    if "catch_up_window" in times:
        spec.catch_up_window.CopyFrom(duration_of_seconds(times["catch_up_window"]))
    if "overlap" in times:
        spec.overlap = OverlapPolicy.Value(f"OVERLAP_POLICY_{times['overlap'].upper()}")
    contract = spec.action.contract
    contract.request.capability.name = made.capability
    contract.request.capability.version = times.get("version", "")
    content = input_content(made.input)
    if not is_small(content):
        message = f"the input of {made.name} is too large for a schedule: put a blob, and pass that"
        raise ValueError(message)
    fill_small(contract.request.payload, content)
    if "timeout" in times:
        contract.timeout.CopyFrom(duration_of_seconds(times["timeout"]))
    return spec


async def register(services: Services, schedules: Iterable[Scheduled]) -> None:
    """Makes the schedules, or changes those that are there. Raises `MusterError`, whose message
    names the schedule."""
    for made in schedules:
        try:
            changed = await _once_known(partial(_register, services, made))
        except MusterError as error:
            text = f"the schedule {made.name} was refused: {error.message}"
            raise type(error)(text, reason=error.reason) from None
        logger.info("the schedule %s is %s", made.name, "changed" if changed else "there")


async def _once_known(register: Callable[[], Awaitable[bool]]) -> bool:
    """What is called may be another host's, which is about to start as this one is."""
    loop = asyncio.get_running_loop()
    until = loop.time() + limits.SCHEDULE_CAPABILITY_WAIT_SECONDS
    while True:
        try:
            return await patiently(register)
        except MusterError as error:
            if error.reason != "CAPABILITY_UNKNOWN" or loop.time() > until:
                raise
        await asyncio.sleep(limits.RECONNECT_SECONDS_MIN)


async def _register(services: Services, made: Scheduled) -> bool:
    spec, metadata = spec_of(made), services.targets.metadata
    try:
        create = pb.CreateScheduleRequest(name=made.name, spec=spec)
        await answer_of(services.schedules.CreateSchedule(create, metadata=metadata))
    except MusterError as error:
        if error.reason != "SCHEDULE_EXISTS":
            raise
    else:
        return False
    update = pb.UpdateScheduleRequest(name=made.name, spec=spec)
    await answer_of(services.schedules.UpdateSchedule(update, metadata=metadata))
    return True
