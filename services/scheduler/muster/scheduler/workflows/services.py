"""What a scheduler serves about workflows."""

from __future__ import annotations

from collections.abc import Callable

from muster.scheduler.routing import Router
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.engine_servicer import EngineServicer
from muster.scheduler.workflows.parts import Parts
from muster.scheduler.workflows.servicer import WorkflowServicer
from muster.v1.engine_service_pb2_grpc import add_EngineServiceServicer_to_server
from muster.v1.workflow_service_pb2_grpc import add_WorkflowServiceServicer_to_server


def workflow_services(
    scheduler: Scheduler, router: Router, parts: Parts
) -> dict[str, Callable[..., None]]:
    """The full name of each service, and what adds it to a server."""
    return {
        "muster.v1.WorkflowService": lambda server: add_WorkflowServiceServicer_to_server(
            WorkflowServicer(scheduler, router, parts), server
        ),
        "muster.v1.EngineService": lambda server: add_EngineServiceServicer_to_server(
            EngineServicer(scheduler, router, parts), server
        ),
    }
