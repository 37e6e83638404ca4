"""What a history says about a fault: who ran again, how soon, and who died for nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from muster.model import limits
from tests.faults.load import TASK_SECONDS_MAX
from tests.support.history import Execution, History
from tests.support.history.evidence import Evidence, Span

# A fault takes an attempt away at once, or when a host has been silent for a lease.
NOTICED_SECONDS = limits.LEASE_SECONDS + limits.RESUME_GRACE_SECONDS + 2.0
RUNNING_SECONDS = TASK_SECONDS_MAX


def count_internal(history: History) -> int:
    """How many calls ended with a status that no call should end with."""
    return sum(each.status in ("INTERNAL", "UNKNOWN") for each in history.calls_ended)


def lives_of(history: History, contract_id: str) -> str:
    """What became of each attempt at a contract, as it was shown last."""
    shown = [each for each in history.shown if each.contract_id == contract_id]
    attempts = shown[-1].attempts if shown else []
    return f"{contract_id} " + ", ".join(
        f"{each.host} {each.outcome} {'started' if each.started else 'not started'}"
        for each in attempts
    )


def reruns(history: History) -> int:
    """How many contracts were executed more than once."""
    runs = Counter(each.contract_id for each in history.executions)
    return sum(count > 1 for count in runs.values())


def redispatch_seconds(history: History, hosts: Iterable[str], lost_at: float) -> list[float]:
    """How long after hosts were lost each of the contracts that they worked on ran elsewhere."""
    gone = set(hosts)
    done = {(each.contract_id, each.epoch) for each in history.reported if each.at < lost_at}
    held = {
        each.contract_id
        for each in history.executions
        if each.host in gone and each.at < lost_at
        if (each.contract_id, each.epoch) not in done
    }
    again: dict[str, float] = {}
    for each in history.executions:
        if each.contract_id in held and each.at > lost_at:
            again[each.contract_id] = min(each.at, again.get(each.contract_id, each.at))
    return [at - lost_at for at in again.values()]


def needless_dead_letters(history: History, *, deadly: bool) -> list[str]:
    """Contracts that were dead-lettered although no three of their attempts met with a fault.

    Where no fault is `deadly`, each one is needless.
    """
    dead = {each.contract_id for each in history.listings if each.state == "DEAD_LETTERED"}
    if not deadly:
        return sorted(dead)
    spans = Evidence(history).spans
    struck: Counter[str] = Counter()
    for each in history.executions:
        if each.contract_id in dead and any(_may_end(span, each) for span in spans):
            struck[each.contract_id] += 1
    return sorted(each for each in dead if struck[each] < limits.LOST_AGENTS_MAX)


def _may_end(span: Span, execution: Execution) -> bool:
    """Whether a fault may have taken an attempt away: it was about its host, or about what all
    hosts depend on, while the attempt ran or soon after it began."""
    target = span.fault.target
    if target.startswith("host") and target != execution.host:
        return False
    return span.begin < execution.at + NOTICED_SECONDS + RUNNING_SECONDS and (
        execution.at < span.end + NOTICED_SECONDS
    )
