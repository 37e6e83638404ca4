"""The audit's agents: what each kind offers to the mesh.

Everything that computes is a sync capability and so runs in a worker process; what a step answers
depends on what it is given alone, so any agent may run it, and run it again.

Sources travel as blobs (or in the payload of a step), never as paths: an agent may be on another
machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, cast

from muster.agent import Agent, ChildFailed, Context, SyncContext, connect
from muster.agent.blob import Blob
from muster.audit import analysis as linting
from muster.audit import clones, merge, modules
from muster.audit import monitoring as watched
from muster.audit import processing as measuring
from muster.audit import research as surveying
from muster.audit.local import graph_request
from muster.audit.report_shapes import Parts
from muster.audit.shapes import Batch, Manifest, Source
from muster.model.errors import MusterError

research = Agent("research", kind="research")
processing = Agent("processing", kind="processing")
analysis = Agent("analysis", kind="analysis")
monitoring = Agent("monitoring", kind="monitoring")
coordination = Agent("coordination", kind="coordination")

# How long a step may wait for an agent of its kind before the audit goes on without it. Agents are
# leased at once where there are any, so this is only waited for where a whole kind is missing.
WAIT_SECONDS: Final = 20.0
ABSENT: Final = frozenset({"SCHEDULE_TO_START_TIMEOUT", "CAPABILITY_UNKNOWN"})
PER_BATCH: Final = ("survey", "measure", "lint", "fingerprint")

Answer = dict[str, Any]


def _batch(sources: list[Any] | None, blob: Blob | None, ctx: SyncContext) -> Batch:
    if blob is not None:
        return cast(Batch, json.loads(ctx.blobs.get(blob)))
    return {"sources": cast(list[Source], sources or [])}


@research.capability("audit.survey", idempotent=True)
def survey(
    sources: list[Any] | None = None, blob: Blob | None = None, *, ctx: SyncContext
) -> Answer:
    """Languages, encodings, licences and imports of a batch of files."""
    return cast(Answer, surveying.survey(_batch(sources, blob, ctx)))


@processing.capability("audit.measure", idempotent=True)
def measure(
    sources: list[Any] | None = None, blob: Blob | None = None, *, ctx: SyncContext
) -> Answer:
    """Lines, functions, classes, nesting and docstrings of a batch of files."""
    return cast(Answer, measuring.measure(_batch(sources, blob, ctx)))


@analysis.capability("audit.lint", idempotent=True)
def lint(sources: list[Any] | None = None, blob: Blob | None = None, *, ctx: SyncContext) -> Answer:
    """Complexity, security smells, likely bugs and missing docs of a batch of files."""
    return cast(Answer, linting.lint(_batch(sources, blob, ctx)))


@analysis.capability("audit.fingerprint", idempotent=True)
def fingerprint(
    sources: list[Any] | None = None, blob: Blob | None = None, *, ctx: SyncContext
) -> Answer:
    """Fingerprints of a batch of files, by which copies are found."""
    return cast(Answer, clones.fingerprint(_batch(sources, blob, ctx)))


@analysis.capability("audit.match", idempotent=True)
def match(files: list[Any]) -> Answer:
    """Duplicated code among all files, from their fingerprints."""
    return cast(Answer, clones.match({"files": files}))


@analysis.capability("audit.graph", idempotent=True)
def graph(request: dict[str, Any]) -> Answer:
    """Cycles and most depended-on modules, from all files' imports."""
    return cast(Answer, modules.graph(cast(Any, request)))


@coordination.capability("audit.merge", idempotent=True)
def merge_parts(parts: dict[str, Any]) -> Answer:
    """The audit's findings, from what all steps answered."""
    return cast(Answer, merge.findings(cast(Parts, parts)))


@coordination.capability("audit.run", idempotent=True)
def run(manifest: dict[str, Any], packs: list[Blob], *, ctx: SyncContext) -> Answer:
    """Delegates every step of an audit of the sources in `packs`, and returns the findings.

    Each pack is a batch, and is handed on unread: sources pass through the mesh no more often than
    there are steps that read them.
    """
    steps = _Steps(ctx, 1 + len(PER_BATCH) * len(packs))
    handles = {
        (step, number): steps.submit(step, {"blob": asdict(pack)}, f"{step}-{number}")
        for number, pack in enumerate(packs)
        for step in PER_BATCH
    }
    answers: dict[str, list[Answer]] = {step: [] for step in PER_BATCH}
    for (step, _), result in handles.items():
        answer = result()
        if answer is not None:
            answers[step].append(answer)
    prints = [file for answer in answers["fingerprint"] for file in answer["files"]]
    imports = graph_request(cast(Manifest, manifest), cast(Any, answers["survey"]))
    clones_found = steps.submit("match", {"files": prints}, "match") if prints else None
    graph_found = (
        steps.submit("graph", {"request": imports}, "graph") if answers["survey"] else None
    )
    parts = {
        "manifest": manifest,
        "survey": answers["survey"],
        "measure": answers["measure"],
        "lint": answers["lint"],
        "clones": clones_found() if clones_found else None,
        "imports": graph_found() if graph_found else None,
    }
    return cast(Answer, ctx.call("audit.merge", {"parts": parts}, key="merge"))


class _Steps:
    """Children of one run; a step for which no agent is there has no answer."""

    def __init__(self, ctx: SyncContext, expected: int) -> None:
        self._ctx = ctx
        self._expected = expected
        self._answered = 0

    def submit(self, step: str, input: Any, key: str) -> Callable[[], Answer | None]:
        handle = self._ctx.submit(f"audit.{step}", input, key=key, schedule_to_start=WAIT_SECONDS)

        def result() -> Answer | None:
            try:
                answer = cast(Answer, handle.result())
            except (ChildFailed, MusterError) as failed:
                why = failed.code if isinstance(failed, ChildFailed) else failed.reason
                if why not in ABSENT:
                    raise
                self._ctx.log(f"no agent took {key}: {failed.message}", "warning")
                return None
            self._answered += 1
            self._ctx.progress(self._answered / (self._expected + 1), key)
            return answer

        return result


@monitoring.capability("audit.watch", version="2.0.0", idempotent=True)
async def watch(
    conversation_id: str, since: str, until: str, capabilities: list[str], *, ctx: Context
) -> Answer:
    """Timelines of a run's contracts of these capabilities, until the contract `until` has ended.

    `since` is the position in the stream of changes after which the run began.
    """
    events: list[watched.Event] = []
    async with connect() as mesh:
        async for change in mesh.watch(since=since, conversation_id=conversation_id):
            if change.capability in capabilities:
                events.append(_event(change))
                if change.type == "ENDED":
                    ctx.progress(-1.0, f"{change.capability} {change.state}")
            if change.contract_id == until and change.type == "ENDED":
                break
    return cast(Answer, watched.timelines({"events": events}))


def _event(change: Any) -> watched.Event:
    if change.type == "REQUEUED":
        name = "ATTEMPT_LOST" if change.code == "AGENT_LOST" else "ATTEMPT_FAILED"
    else:
        name = change.state
    return {
        "contract_id": change.contract_id,
        "capability": change.capability,
        "kind": change.agent_kind,
        "type": name,
        "time_ms": change.time * 1000,
        "epoch": change.epoch,
    }


@monitoring.capability("audit.statistics", idempotent=True)
def statistics(timelines: list[Any]) -> Answer:
    """Latencies, retries and stragglers of a run, from its timelines."""
    return cast(Answer, watched.statistics({"timelines": timelines}))
