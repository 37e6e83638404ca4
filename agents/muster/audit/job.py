"""The audit as a client of the mesh: ships the sources, starts the run, follows it.

The monitoring agents begin first, so that they see the run from its beginning; the coordination
agent does the rest. What comes back are findings, which depend on the sources alone, and what the
mesh did meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Final, cast

from muster.agent import Client, ContractFailed, Handle
from muster.agent.blob import Blob
from muster.agent.watching import Change
from muster.audit.collect import manifest
from muster.audit.planning import batches_of, plan
from muster.audit.report_shapes import Findings, RunStatistics
from muster.audit.shapes import Batch, Collection
from muster.model.errors import MusterError

UPLOADS_AT_A_TIME: Final = 4
STATISTICS_SECONDS: Final = 15.0  # for monitoring agents to say what they saw, once the run is over
WATCH_WAIT_SECONDS: Final = 20.0

# Which kind does what, for people who follow the run; and who watches what.
STEPS_OF_KIND: Final = {
    "coordination": ("audit.run", "audit.merge"),
    "research": ("audit.survey",),
    "processing": ("audit.measure",),
    "analysis": ("audit.lint", "audit.fingerprint", "audit.match", "audit.graph"),
}
KIND_OF_STEP: Final = {step: kind for kind, steps in STEPS_OF_KIND.items() for step in steps}


@dataclass
class KindProgress:
    """How far one kind of agent is."""

    accepted: int = 0
    running: int = 0
    ended: int = 0
    retries: int = 0
    agents: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Outcome:
    """What an audit came to."""

    findings: Findings
    statistics: RunStatistics | None
    contract_id: str
    conversation_id: str
    wall_seconds: float
    progress: dict[str, KindProgress]


Tell = Callable[[dict[str, KindProgress]], None]


async def audit(client: Client, collection: Collection, tell: Tell) -> Outcome:
    """Audits a collection. `tell` hears how far each kind is, whenever that changes.

    Raises `ContractFailed` when the run ends without findings. When it is cancelled, so is the run.
    """
    began = time.monotonic()
    packs = await _ship(client, collection)
    since = await client.position()
    conversation_id = f"audit-{time.time_ns() // 1_000_000:x}"
    run = await client.submit(
        "audit.run",
        {"manifest": manifest(collection), "packs": [asdict(blob) for blob in packs]},
        conversation_id=conversation_id,
    )
    contract_id = await run.accepted()
    async with _cancelled_with_us(run):
        watches = [
            await client.submit(
                "audit.watch",
                {
                    "conversation_id": conversation_id,
                    "since": since,
                    "until": contract_id,
                    "capabilities": list(steps),
                },
                schedule_to_start=WATCH_WAIT_SECONDS,
            )
            for steps in STEPS_OF_KIND.values()
        ]
        progress = {kind: KindProgress() for kind in STEPS_OF_KIND}
        await _follow(client, conversation_id, since, contract_id, progress, tell)
        findings = cast(Findings, await run.result())
    wall = time.monotonic() - began
    statistics = await _statistics(client, watches)
    return Outcome(findings, statistics, contract_id, conversation_id, wall, progress)


async def _ship(client: Client, collection: Collection) -> list[Blob]:
    """Uploads the sources, a blob for each batch of the plan."""
    planned = plan({"files": manifest(collection)["files"]})
    places = asyncio.Semaphore(UPLOADS_AT_A_TIME)

    async def put(batch: Batch) -> Blob:
        text = json.dumps(batch, sort_keys=True).encode()
        async with places:
            return await client.blobs.put(text, "application/json")

    batches = batches_of(collection["sources"], planned)
    return list(await asyncio.gather(*map(put, batches)))


@asynccontextmanager
async def _cancelled_with_us(run: Handle) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        with suppress(MusterError, ContractFailed, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(2):
                await run.cancel("the audit was interrupted")
        raise


async def _follow(
    client: Client,
    conversation_id: str,
    since: str,
    until: str,
    progress: dict[str, KindProgress],
    tell: Tell,
) -> None:
    async for change in client.watch(since=since, conversation_id=conversation_id):
        kind = KIND_OF_STEP.get(change.capability)
        if kind is not None:
            _count(progress[kind], change)
            tell(progress)
        if change.contract_id == until and change.type == "ENDED":
            return


def _count(kind: KindProgress, change: Change) -> None:
    match change.type:
        case "ACCEPTED":
            kind.accepted += 1
        case "STARTED":
            kind.running += 1
            kind.agents.add(change.agent)
        case "REQUEUED":
            kind.retries += 1
            kind.running = max(0, kind.running - 1)
        case "ENDED":
            kind.ended += 1
            kind.running = max(0, kind.running - 1)


async def _statistics(client: Client, watches: list[Handle]) -> RunStatistics | None:
    """What the monitoring agents saw; None where there are none."""
    try:
        async with asyncio.timeout(STATISTICS_SECONDS):
            seen = await client.gather(watches)
            timelines = [timeline for answer in seen for timeline in answer["timelines"]]
            answer = await client.call("audit.statistics", {"timelines": timelines})
            return cast(RunStatistics, answer)
    except (TimeoutError, ContractFailed, MusterError):
        return None
