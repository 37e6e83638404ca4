"""KEDA's external scaler: how much there is to do, for Kubernetes to run as many of something.

A ScaledObject's trigger says what it is about, in its metadata:

    capability  names, with commas between them; for an executor all of them, if none is named
    target      "agents" (the default), or "executor": what is scaled
    perReplica  how many open attempts and waiting contracts are right for one replica
    tenant      whose; the caller's own, unless a service asks

The metric is what waits and what runs: a `perReplica` equal to a replica's slots gives as many
replicas as the load takes up. Attempts that wait for their children take no slot and do not count,
but as long as there are any, something is active.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc

from muster.keda import externalscaler_pb2_grpc
from muster.keda.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from muster.model import limits
from muster.model.errors import InvalidArgument, NotFound, Unavailable, Violation
from muster.runtime.lifetime import background
from muster.runtime.principal import OPERATOR, SERVICE, Principal, current_principal, is_tenant
from muster.scheduler.admission import moving
from muster.scheduler.routing import Router
from muster.scheduler.service import Scheduler
from muster.scheduler.statistics import Statistics
from muster.scheduler.watching import watch
from muster.scheduler.watching_all import watch_all
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.scheduler_service_pb2 import (
    CapabilityCount,
    GetStatisticsRequest,
    WatchContractsRequest,
    WatchContractsResponse,
)

AGENTS, EXECUTOR = "agents", "executor"

_Context = grpc.aio.ServicerContext[Any, Any]
_NOT_OF_A_NAME = re.compile("[^a-z0-9]+")
_METRIC_NAME_CHARACTERS = 56  # KEDA puts a number before it; Kubernetes allows 63


@dataclass(frozen=True, slots=True)
class Scaled:
    """What a ScaledObject is about."""

    target: str
    capabilities: tuple[str, ...]
    # None named: all.

    per_replica: float
    asks_as: Principal
    # Confined to the tenant that is asked about.

    @property
    def metric(self) -> str:
        """The name of its metric."""
        named = _NOT_OF_A_NAME.sub("-", "-".join(self.capabilities).lower()).strip("-")
        name = f"muster-{self.target}-{named or 'all'}"
        return name[:_METRIC_NAME_CHARACTERS].rstrip("-")

    def counts(self, row: CapabilityCount) -> bool:
        """Whether it is about this capability."""
        return not self.capabilities or row.capability in self.capabilities


def scaled_of(metadata: Mapping[str, str], caller: Principal) -> Scaled:
    """What the metadata says. Raises `InvalidArgument`, with everything that is wrong with it, and
    `NotFound` for a tenant that is none of the caller's."""
    wrong: list[Violation] = []
    target = metadata.get("target", AGENTS).strip()
    if target not in (AGENTS, EXECUTOR):
        wrong.append(Violation("target", f"must be {AGENTS} or {EXECUTOR}, not {target!r}"))
    named = (name.strip() for name in metadata.get("capability", "").split(","))
    capabilities = tuple(dict.fromkeys(filter(None, named)))
    if not capabilities and target == AGENTS:
        wrong.append(Violation("capability", "must name what the agents can do"))
    per_replica = _number(metadata.get("perReplica", ""))
    if per_replica is None:
        said = "must be how many contracts are right for one replica, such as 8"
        wrong.append(Violation("perReplica", said))
    if wrong:
        first = f"the trigger's {wrong[0].field} {wrong[0].description}"
        raise InvalidArgument(first, violations=wrong)
    assert per_replica is not None
    return Scaled(target, capabilities, per_replica, _within(metadata.get("tenant", ""), caller))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _within(tenant: str, caller: Principal) -> Principal:
    """Who is to ask: the caller, or, where a service asks, an operator of the tenant it names."""
    if SERVICE not in caller.roles:
        if tenant not in ("", caller.tenant):
            raise NotFound(f"there is no tenant {tenant!r} of which {caller.name} may know")
        return caller
    tenant = tenant or caller.tenant
    if not is_tenant(tenant):
        raise NotFound(f"there is no tenant {tenant!r}; name one in the trigger's tenant")
    return Principal(tenant, caller.name, frozenset({OPERATOR}))


class ExternalScalerServicer(externalscaler_pb2_grpc.ExternalScalerServicer):
    """What KEDA calls. Any scheduler answers for all that share the ledger."""

    def __init__(self, scheduler: Scheduler, router: Router, statistics: Statistics) -> None:
        self._scheduler = scheduler
        self._router = router
        self._statistics = statistics

    async def IsActive(self, request: ScaledObjectRef, context: _Context) -> IsActiveResponse:
        """Whether anything is open."""
        scaled = scaled_of(request.scalerMetadata, current_principal())
        return IsActiveResponse(result=await self._is_active(scaled, context))

    async def StreamIsActive(
        self, request: ScaledObjectRef, context: _Context
    ) -> AsyncIterator[IsActiveResponse]:
        """The same, whenever it changes."""
        scaled = scaled_of(request.scalerMetadata, current_principal())
        told: bool | None = None
        while True:
            try:
                async with aclosing(self._changes(scaled, context)) as changes:
                    async for active in changes:
                        if active is not told:
                            told = active
                            yield IsActiveResponse(result=active)
            except Unavailable:
                # Shards move to another scheduler, or one has gone: ask again who there is.
                await asyncio.sleep(limits.EXTERNAL_SCALER_PAUSE_SECONDS)

    async def GetMetricSpec(
        self, request: ScaledObjectRef, context: _Context
    ) -> GetMetricSpecResponse:
        """One metric, and its target."""
        scaled = scaled_of(request.scalerMetadata, current_principal())
        spec = MetricSpec(
            metricName=scaled.metric,
            targetSize=math.ceil(scaled.per_replica),
            targetSizeFloat=scaled.per_replica,
        )
        return GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(self, request: GetMetricsRequest, context: _Context) -> GetMetricsResponse:
        """What waits and what runs."""
        scaled = scaled_of(request.scaledObjectRef.scalerMetadata, current_principal())
        if request.metricName not in ("", scaled.metric):
            raise NotFound(f"there is no metric {request.metricName!r}; it is {scaled.metric!r}")
        rows = await self._rows(scaled, context)
        load = sum(row.queued + row.active for row in rows)
        value = MetricValue(metricName=scaled.metric, metricValue=load, metricValueFloat=load)
        return GetMetricsResponse(metricValues=[value])

    async def _is_active(self, scaled: Scaled, context: _Context) -> bool:
        rows = await self._rows(scaled, context)
        return any(row.queued + row.active + row.suspended for row in rows)

    async def _rows(self, scaled: Scaled, context: _Context) -> list[CapabilityCount]:
        counts = await self._statistics.of_all(scaled.asks_as, GetStatisticsRequest(), context)
        return [row for row in counts.capabilities if scaled.counts(row)]

    async def _changes(self, scaled: Scaled, context: _Context) -> AsyncGenerator[bool, None]:
        """Whether it is active: at first, and after events, of whatever shard. Raises `Unavailable`
        when the schedulers are others than before."""
        frames, happened = self._watch(scaled, context), asyncio.Event()
        await anext(frames)  # where "now" is, everywhere: from here on nothing is missed

        async def follow() -> None:
            async for _ in frames:
                happened.set()
            raise moving()

        async with background(follow):
            while True:
                yield await self._is_active(scaled, context)
                await happened.wait()
                happened.clear()
                yield await self._is_active(scaled, context)
                # What comes at once is looked at together, after it: counts may be as old as this.
                await asyncio.sleep(limits.EXTERNAL_SCALER_PAUSE_SECONDS)

    def _watch(self, scaled: Scaled, context: _Context) -> AsyncIterator[WatchContractsResponse]:
        request = WatchContractsRequest(filter=ContractFilter(capabilities=scaled.capabilities))
        if self._router.shares(context):
            return watch_all(self._router, self._scheduler, scaled.asks_as, request)
        return watch(self._scheduler, scaled.asks_as.tenant, request)
