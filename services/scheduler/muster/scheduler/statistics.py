"""Counts of contracts, of one scheduler and of all that share a ledger.

They are taken by walking over everything that is open, so that accepting a contract costs nothing
for them. What a walk has found is used again while another would take too much of the scheduler's
time: for a moment where little is open, for seconds where it is half a million.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from muster.model import limits
from muster.model.states import TERMINAL, ContractState
from muster.runtime.principal import Principal
from muster.scheduler.records import Contract
from muster.scheduler.routing import Context, Router
from muster.scheduler.service import Scheduler
from muster.v1.scheduler_service_pb2 import GetStatisticsRequest, GetStatisticsResponse
from muster.wire.times import duration_of_seconds


@dataclass(slots=True)
class _Open:
    """What a capability of a tenant has open."""

    queued: int = 0
    active: int = 0
    suspended: int = 0
    oldest_ms: int = 0
    # When the oldest that waits for its first attempt was accepted; 0 when none does.

    def count(self, contract: Contract) -> None:
        """Count one more."""
        lease = contract.lease
        if lease is not None:
            if lease.suspended:
                self.suspended += 1
            else:
                self.active += 1
            return
        if contract.asked is not None:
            return  # no agent could take it
        self.queued += 1
        if not contract.attempts and not 0 < self.oldest_ms <= contract.accepted_ms:
            self.oldest_ms = contract.accepted_ms


@dataclass(slots=True)
class _OfTenant:
    states: Counter[ContractState] = field(default_factory=Counter)
    capabilities: dict[str, _Open] = field(default_factory=dict)


class Statistics:
    """The counts of one scheduler, and through `router` of all that share its ledger."""

    def __init__(self, scheduler: Scheduler, router: Router) -> None:
        self._scheduler = scheduler
        self._router = router
        self._walked: dict[str, _OfTenant] = {}
        self._good_until = -math.inf  # monotonic seconds

    async def of_all(
        self, caller: Principal, request: GetStatisticsRequest, context: Context
    ) -> GetStatisticsResponse:
        """What the caller's tenant has, here and with the others, unless one of those asks."""
        await self._scheduler.ended.complete(limits.COUNT_WAIT_SECONDS)
        reply = self.of_this(caller.tenant)
        if self._router.shares(context):
            for peer in self._router.peers(caller):
                add_statistics(reply, await peer.ask(peer.stub.GetStatistics, request, context))
        return reply

    def of_this(self, tenant: str) -> GetStatisticsResponse:
        """What the tenant has here."""
        core, committer = self._scheduler.core, self._scheduler.committer
        reply = GetStatisticsResponse(
            accepted=core.counts["accepted"],
            ended=core.counts["ended"],
            fenced=core.counts["fenced"],
            commits=committer.commits,
            commit_p50=duration_of_seconds(committer.percentile_seconds(0.5)),
            commit_p99=duration_of_seconds(committer.percentile_seconds(0.99)),
            agents=sum(1 for owner, _ in core.fleet.by_name if owner == tenant),
            retries=core.counts["retries"],
            losses=core.counts["losses"],
        )
        self._add_contracts(tenant, reply)
        return reply

    def _add_contracts(self, tenant: str, reply: GetStatisticsResponse) -> None:
        found = self._walk().get(tenant) or _OfTenant()
        states, ended = Counter(found.states), self._scheduler.ended.totals()
        for state in TERMINAL:
            states[state] = ended[tenant, state]
        for state, count in sorted(states.items()):
            if count:
                reply.states.add(state=int(state), contracts=count)
        now_ms = self._scheduler.clock().wall_ms
        for capability, has in sorted(found.capabilities.items()):
            row = reply.capabilities.add(
                capability=capability,
                queued=has.queued,
                active=has.active,
                suspended=has.suspended,
            )
            if has.oldest_ms:
                waited = duration_of_seconds(max(0, now_ms - has.oldest_ms) / 1000)
                row.oldest_wait.CopyFrom(waited)

    def _walk(self) -> dict[str, _OfTenant]:
        clock = self._scheduler.clock
        began = clock().mono
        if began < self._good_until:
            return self._walked
        tenants = self._walked = {}
        for contract in self._scheduler.core.contracts.values():
            of_tenant = tenants.get(contract.tenant)
            if of_tenant is None:
                of_tenant = tenants[contract.tenant] = _OfTenant()
            of_tenant.states[contract.state] += 1
            has = of_tenant.capabilities.get(contract.capability)
            if has is None:
                has = of_tenant.capabilities[contract.capability] = _Open()
            has.count(contract)
        ended = clock().mono
        self._good_until = ended + (ended - began) / limits.STATISTICS_TIME_SHARE
        return tenants


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
            if row.oldest_wait.ToNanoseconds() > known.oldest_wait.ToNanoseconds():
                known.oldest_wait.CopyFrom(row.oldest_wait)
    reply.capabilities.sort(key=lambda row: row.capability)
