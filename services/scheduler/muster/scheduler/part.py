"""The scheduler as a part of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from muster.backends.base import Blobs
from muster.backends.bus_base import Bus
from muster.backends.ledger_base import Ledger
from muster.keda.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from muster.model import limits
from muster.runtime.blob_servicer import BlobServicer
from muster.runtime.bus_servicer import BusServicer
from muster.runtime.serve import Part, Readiness
from muster.scheduler.agent_states.servicer import AgentStateServicer
from muster.scheduler.agent_states.states import AgentStates
from muster.scheduler.conversations.compressing import Compressing
from muster.scheduler.conversations.servicer import ConversationServicer
from muster.scheduler.event_servicer import EventServicer
from muster.scheduler.external_scaler import ExternalScalerServicer
from muster.scheduler.inbox_servicer import inbox_service
from muster.scheduler.links import Links
from muster.scheduler.metrics import scheduler_metrics
from muster.scheduler.publishing import Publisher
from muster.scheduler.routing import Router
from muster.scheduler.service import Scheduler
from muster.scheduler.servicer import CatalogueServicer, LinkServicer, SchedulerServicer
from muster.scheduler.sharing import Sharing
from muster.scheduler.statistics import Statistics
from muster.scheduler.workflows.parts import Parts
from muster.scheduler.workflows.run_metrics import RunsCollector
from muster.scheduler.workflows.servicer import WorkflowServicer
from muster.v1.agent_state_service_pb2_grpc import add_AgentStateServiceServicer_to_server
from muster.v1.blob_service_pb2_grpc import add_BlobServiceServicer_to_server
from muster.v1.bus_service_pb2_grpc import add_BusServiceServicer_to_server
from muster.v1.catalogue_service_pb2_grpc import add_CatalogueServiceServicer_to_server
from muster.v1.conversation_service_pb2_grpc import add_ConversationServiceServicer_to_server
from muster.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from muster.v1.link_service_pb2_grpc import add_LinkServiceServicer_to_server
from muster.v1.scheduler_service_pb2_grpc import add_SchedulerServiceServicer_to_server
from muster.v1.workflow_service_pb2_grpc import add_WorkflowServiceServicer_to_server
from muster.wire.security import NO_TLS, Security


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
) -> SchedulerPart:
    """Makes the scheduler. It owns the ledger while the part runs; its share of it where that is
    `shared` with others, to whom it shows itself as `security` says. It publishes on the `bus` what
    happens to its contracts."""
    scheduler = Scheduler(ledger, name, retention_seconds=retention_seconds, shared=shared)
    links = Links(scheduler)
    publisher = Publisher(scheduler, bus)
    router = Router(security)
    statistics = Statistics(scheduler, router)
    servicer = SchedulerServicer(scheduler, router, statistics)
    catalogue = CatalogueServicer(scheduler)
    workflows = Parts(scheduler, blobs, retention_seconds=retention_seconds)
    compressing = Compressing(scheduler)

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
            yield

    services: dict[str, Callable[..., None]] = {
        "muster.v1.SchedulerService": lambda server: add_SchedulerServiceServicer_to_server(
            servicer, server
        ),
        "muster.v1.WorkflowService": lambda server: add_WorkflowServiceServicer_to_server(
            WorkflowServicer(scheduler, router, workflows), server
        ),
        "muster.v1.EventService": lambda server: add_EventServiceServicer_to_server(
            EventServicer(scheduler, bus, publisher, router), server
        ),
        "muster.v1.BusService": lambda server: add_BusServiceServicer_to_server(
            BusServicer(bus, lambda: not bus.keeps and not router.has_others), server
        ),
        "muster.v1.InboxService": inbox_service(scheduler, router),
        "muster.v1.BlobService": lambda server: add_BlobServiceServicer_to_server(
            BlobServicer(blobs), server
        ),
        "muster.v1.CatalogueService": lambda server: add_CatalogueServiceServicer_to_server(
            catalogue, server
        ),
        "muster.v1.ConversationService": lambda server: add_ConversationServiceServicer_to_server(
            ConversationServicer(scheduler, router, compressing), server
        ),
        "muster.v1.AgentStateService": lambda server: add_AgentStateServiceServicer_to_server(
            AgentStateServicer(AgentStates(scheduler), router), server
        ),
        "muster.v1.LinkService": lambda server: add_LinkServiceServicer_to_server(
            LinkServicer(links), server
        ),
        "externalscaler.ExternalScaler": lambda server: add_ExternalScalerServicer_to_server(
            ExternalScalerServicer(scheduler, router, statistics), server
        ),
    }
    metrics = (scheduler_metrics(scheduler, links, publisher, RunsCollector(workflows)),)
    part = Part("scheduler", services, run, drain=servicer.drain, metrics=metrics)
    return SchedulerPart(part, scheduler, links, catalogue)
