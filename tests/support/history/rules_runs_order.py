"""Rules of the order and the time in which runs go on: R5, R6, R8, R11."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tests.support.history.evidence import Breach, Evidence
from tests.support.history.evidence_runs import RunCase, RunEvidence
from tests.support.history.records import OWNER, PART
from tests.support.history.records_runs import StepContract

TICK_SECONDS = 0.02  # of wall clocks that are compared, in milliseconds, and of rounding
LATE_SECONDS = 2.0  # after an instant, or after who looks after it is back
# Temporal gives a dead worker's runs to another one when the worker has been silent for a while.
LATE_ON_TEMPORAL_SECONDS = 20.0
OPEN = frozenset({"PENDING", "RUNNING", "WAITING"})


def nothing_begins_too_soon(evidence: Evidence) -> Iterator[Breach]:
    """R5: a step begins when all that it depends on has ended, as the run says, and as agents saw
    it: no contract of it was given to a host before the last response of what it depends on."""
    runs = evidence.runs
    for case in runs.runs.values():
        for step in case.steps.values():
            if not step.start_time or step.state in ("SKIPPED", "CANCELLED"):
                continue
            for name in step.depends_on:
                before = case.steps.get(name)
                if before is None or before.revision > step.revision:
                    continue
                if before.state in OPEN or before.end_time > step.start_time:
                    sentence = f"step {step.step} of {case.run_id} began before {name} had ended"
                    yield Breach(sentence, (case.run_id,))
                elif before.strict:
                    yield from _seen_too_soon(runs, case, step.step, name)


def _seen_too_soon(runs: RunEvidence, case: RunCase, step: str, before: str) -> Iterator[Breach]:
    ends = [each.end_time for each in _contracts(runs, case, before)]
    begins = [(at, each) for each in _contracts(runs, case, step) for at in _begun(runs, each)]
    if not ends or not begins:
        return
    at, first = min(begins, key=lambda pair: pair[0])
    if at < max(ends) - TICK_SECONDS:
        sentence = f"contract {first.contract_id} of {step} ran {max(ends) - at:.3f} s before"
        yield Breach(f"{sentence} {before} had ended", (case.run_id, first.contract_id))


def _contracts(runs: RunEvidence, case: RunCase, step: str) -> list[StepContract]:
    """The contracts of a step's items, in the revision in which it was done last."""
    found = [item.contract_id for (name, _), item in case.items.items() if name == step]
    return [runs.contracts[each] for each in found if each in runs.contracts]


def _begun(runs: RunEvidence, contract: StepContract) -> list[float]:
    return runs.begun.get(contract.contract_id, [])


def nothing_runs_again(evidence: Evidence) -> Iterator[Breach]:
    """R6: no host is given a contract, and no agent begins it, after an agent's response to it was
    recorded."""
    runs = evidence.runs
    for contract in runs.contracts.values():
        if not contract.end_time or contract.author != "AGENT":
            continue
        late = max(_begun(runs, contract), default=0.0) - contract.end_time
        if late > TICK_SECONDS:
            sentence = f"contract {contract.contract_id} of {contract.request_id} ran {late:.3f} s"
            about = (contract.run_id, contract.contract_id)
            yield Breach(f"{sentence} after its response was recorded", about)


def what_was_done_is_undone(evidence: Evidence) -> Iterator[Breach]:
    """R8: where a run did not succeed, each step that did and can be undone is, the last first, one
    after the other."""
    runs = evidence.runs
    for case in runs.runs.values():
        if case.shown is None or case.shown.state not in ("FAILED", "CANCELLED"):
            continue
        undone = [entry for entry in case.ended() if entry.undo]
        names = [entry.step for entry in undone]
        last: dict[str, int] = {}
        for entry in case.ended():
            if not entry.undo and entry.state == "SUCCEEDED":
                last[entry.step] = entry.sequence
        done = [name for name in last if name in case.steps and case.steps[name].undoable]
        for name in done:
            if name not in names:
                yield Breach(f"step {name} of {case.run_id} was not undone", (case.run_id,))
        wanted = sorted(done, key=lambda name: -last[name])
        if [name for name in names if name in done] != [name for name in wanted if name in names]:
            sentence = f"the steps of {case.run_id} were undone in the order {names}, not {wanted}"
            yield Breach(sentence, (case.run_id,))
        for one, other in pairwise(undone):
            first, then = (runs.contracts.get(each.contract_id) for each in (one, other))
            if first is None or then is None:
                continue
            if min(_begun(runs, then), default=first.end_time) < first.end_time - TICK_SECONDS:
                sentence = f"{other.step} of {case.run_id} was undone while {one.step} still was"
                yield Breach(sentence, (case.run_id, then.contract_id))


def instants_are_kept(evidence: Evidence) -> Iterator[Breach]:
    """R11: what waits for an instant goes on when it has come, not before, and soon after it, or
    after the return of who looks after it."""
    for case in evidence.runs.runs.values():
        due = {(e.step, e.revision): e.due for e in case.entries if e.kind == "begun" and e.due}
        for entry in case.entries:
            instant = due.get((entry.step, entry.revision)) if entry.kind == "woken" else None
            if instant is None:
                continue
            latest = _latest(evidence, case, instant)
            if not instant - TICK_SECONDS <= entry.time <= latest:
                sentence = f"step {entry.step} of {case.run_id} woke"
                yield Breach(f"{sentence} {entry.time - instant:+.3f} s off", (case.run_id,))


def _latest(evidence: Evidence, case: RunCase, instant: float) -> float:
    """Until when what is due at an instant may take, with the faults of that time."""
    spans, late = evidence.during(OWNER), LATE_SECONDS
    if case.shown is not None and case.shown.engine == "TEMPORAL":
        spans, late = [*spans, *evidence.during(PART)], LATE_ON_TEMPORAL_SECONDS
    latest = instant + LATE_SECONDS
    for span in sorted(spans, key=lambda each: each.begin):
        begin = span.fault.wall
        back = begin + span.end - span.begin
        if begin <= latest and back + late > instant:
            latest = max(latest, back + late)
    return latest
