"""The scheduler as a part of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry

from muster.backends.base import Blobs
from muster.backends.bus_base import Bus
from muster.backends.ledger_base import Ledger
from muster.keda.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from muster.model import limits
from muster.runtime.blob_servicer import BlobServicer
from muster.runtime.bus_servicer import BusServicer
from muster.runtime.serve import Part, Readiness
from muster.scheduler.event_servicer import EventServicer
from muster.scheduler.external_scaler import ExternalScalerServicer
from muster.scheduler.inbox_servicer import inbox_service
from muster.scheduler.links import Links
from muster.scheduler.metrics import scheduler_metrics
from muster.scheduler.past import Past
from muster.scheduler.publishing import Publisher
from muster.scheduler.routing import Router
from muster.scheduler.schedules.keeping import Schedules
from muster.scheduler.schedules.messages import CONTRACT, RUN
from muster.scheduler.schedules.metrics import schedules_metrics
from muster.scheduler.schedules.run_starting import RunStarts
from muster.scheduler.schedules.servicer import schedule_service
from muster.scheduler.schedules.starting import ContractStarts
from muster.scheduler.service import Scheduler
from muster.scheduler.servicer import CatalogueServicer, LinkServicer, SchedulerServicer
from muster.scheduler.sharing import Sharing
from muster.scheduler.statistics import Statistics
from muster.scheduler.workflows.parts import ENGINES, Engines, Parts
from muster.scheduler.workflows.run_metrics import RunsCollector
from muster.scheduler.workflows.services import workflow_services
from muster.v1.blob_service_pb2_grpc import add_BlobServiceServicer_to_server
from muster.v1.bus_service_pb2_grpc import add_BusServiceServicer_to_server
from muster.v1.catalogue_service_pb2_grpc import add_CatalogueServiceServicer_to_server
from muster.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from muster.v1.link_service_pb2_grpc import add_LinkServiceServicer_to_server
from muster.v1.scheduler_service_pb2_grpc import add_SchedulerServiceServicer_to_server
from muster.wire.security import NO_TLS, Security

Services = dict[str, Callable[..., None]]  # by name: what adds each to a server


@dataclass(frozen=True)
class SchedulerPart:
    """The part, and what other parts of the same process call without gRPC."""

    part: Part
    scheduler: Scheduler
    links: Links
    catalogue: CatalogueServicer


def scheduler_part(
    name: str,
    ledger: Ledger,
    blobs: Blobs,
    retention_seconds: float = limits.RETENTION_SECONDS,
    *,
    shared: bool = False,
    bus: Bus,
    security: Security = NO_TLS,
    engines: Engines = ENGINES,
    memory_quiet_seconds: float = 0.0,
) -> SchedulerPart:
    """Makes the scheduler. It owns the ledger while the part runs; its share of it where that is
    `shared` with others, to whom it shows itself as `security` says. It publishes on the `bus` what
    happens to its contracts, and makes memory of conversations that are quiet for so long, unless
    that is 0. Its workflows are run by these `engines`."""
    scheduler = Scheduler(ledger, name, retention_seconds=retention_seconds, shared=shared)
    links = Links(scheduler)
    publisher = Publisher(scheduler, bus)
    router = Router(security)
    statistics = Statistics(scheduler, router)
    servicer = SchedulerServicer(scheduler, router, statistics)
    catalogue = CatalogueServicer(scheduler)
    workflows = Parts(scheduler, blobs, engines, retention_seconds)
    runs = RunStarts(scheduler, workflows)
    schedules = Schedules(scheduler, {CONTRACT: ContractStarts(scheduler), RUN: runs})
    past = Past(scheduler, memory_quiet_seconds)

    @asynccontextmanager
    async def run(readiness: Readiness) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(scheduler.run())
            if shared:
                sharing = router.sharing = Sharing(scheduler, links, readiness.address)
                stack.push_async_callback(router.close)
                await stack.enter_async_context(sharing.run(readiness))
            await stack.enter_async_context(publisher.run())
            await stack.enter_async_context(workflows.run())
            await stack.enter_async_context(schedules.run())
            await stack.enter_async_context(past.run())
            yield

    services: Services = {
        **_services_of_contracts(scheduler, router, statistics, servicer),
        **_services_between(blobs, catalogue, links),
        **workflow_services(scheduler, router, workflows),
        **past.services(router),
        "muster.v1.ScheduleService": schedule_service(schedules, router),
        "muster.v1.EventService": partial(
            add_EventServiceServicer_to_server, EventServicer(scheduler, bus, publisher, router)
        ),
        "muster.v1.BusService": partial(
            add_BusServiceServicer_to_server,
            BusServicer(bus, lambda: not bus.keeps and not router.has_others),
        ),
    }
    metrics = _metrics(scheduler, links, publisher, workflows, schedules)
    part = Part("scheduler", services, run, drain=servicer.drain, metrics=metrics)
    return SchedulerPart(part, scheduler, links, catalogue)


def _services_of_contracts(
    scheduler: Scheduler, router: Router, statistics: Statistics, servicer: SchedulerServicer
) -> Services:
    """Contracts, what they ask people, and what scales their agents."""
    return {
        "muster.v1.SchedulerService": partial(add_SchedulerServiceServicer_to_server, servicer),
        "muster.v1.InboxService": inbox_service(scheduler, router),
        "externalscaler.ExternalScaler": partial(
            add_ExternalScalerServicer_to_server,
            ExternalScalerServicer(scheduler, router, statistics),
        ),
    }


def _services_between(blobs: Blobs, catalogue: CatalogueServicer, links: Links) -> Services:
    """What executors and registries call, and everybody for blobs."""
    return {
        "muster.v1.BlobService": partial(add_BlobServiceServicer_to_server, BlobServicer(blobs)),
        "muster.v1.CatalogueService": partial(add_CatalogueServiceServicer_to_server, catalogue),
        "muster.v1.LinkService": partial(add_LinkServiceServicer_to_server, LinkServicer(links)),
    }


def _metrics(
    scheduler: Scheduler,
    links: Links,
    publisher: Publisher,
    workflows: Parts,
    schedules: Schedules,
) -> tuple[CollectorRegistry, ...]:
    of_contracts = scheduler_metrics(scheduler, links, publisher, RunsCollector(workflows))
    return of_contracts, schedules_metrics(schedules)
