"""Counts of contracts, of one scheduler and of all that share a ledger."""

from __future__ import annotations

from collections import Counter

from muster.model.states import TERMINAL, ContractState
from muster.scheduler.service import Scheduler
from muster.v1.scheduler_service_pb2 import GetStatisticsResponse


def count_states(scheduler: Scheduler, tenant: str, reply: GetStatisticsResponse) -> None:
    """Add what the tenant has, by state and by capability."""
    states: Counter[ContractState] = Counter()
    rows: dict[str, Counter[str]] = {}
    for contract in scheduler.core.contracts.values():
        if contract.tenant != tenant:
            continue
        states[contract.state] += 1
        lease = contract.lease
        what = "queued" if lease is None else "suspended" if lease.suspended else "active"
        rows.setdefault(contract.capability, Counter())[what] += 1
    ended = scheduler.ended.totals()
    for state in TERMINAL:
        states[state] = ended[tenant, state]
    for state, count in sorted(states.items()):
        if count:
            reply.states.add(state=int(state), contracts=count)
    for capability, counts in sorted(rows.items()):
        reply.capabilities.add(
            capability=capability,
            queued=counts["queued"],
            active=counts["active"],
            suspended=counts["suspended"],
        )


def add_statistics(reply: GetStatisticsResponse, other: GetStatisticsResponse) -> None:
    """Add what another scheduler counts. Of the times that commits took, the longer ones stay;
    agents are the same ones everywhere."""
    for name in ("accepted", "ended", "fenced", "commits", "retries", "losses"):
        setattr(reply, name, getattr(reply, name) + getattr(other, name))
    reply.agents = max(reply.agents, other.agents)
    for mine, theirs in (
        (reply.commit_p50, other.commit_p50),
        (reply.commit_p99, other.commit_p99),
    ):
        if theirs.ToNanoseconds() > mine.ToNanoseconds():
            mine.CopyFrom(theirs)
    states = Counter({each.state: each.contracts for each in reply.states})
    states.update({each.state: each.contracts for each in other.states})
    del reply.states[:]
    for state, count in sorted(states.items()):
        reply.states.add(state=state, contracts=count)
    rows = {each.capability: each for each in reply.capabilities}
    for row in other.capabilities:
        known = rows.get(row.capability)
        if known is None:
            reply.capabilities.add().CopyFrom(row)
        else:
            known.queued += row.queued
            known.active += row.active
            known.suspended += row.suspended
    reply.capabilities.sort(key=lambda row: row.capability)
