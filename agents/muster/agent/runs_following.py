"""Follows runs of workflows, across restarts of the mesh, and reads what they give back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

from muster.agent.asking import decoded
from muster.agent.contents import content_in, fetch
from muster.agent.failures import RunFailed
from muster.agent.reopening import reopened
from muster.agent.values import value_of
from muster.v1.workflow_run_pb2 import RUN_STATE_SUCCEEDED, RunState
from muster.v1.workflow_service_pb2 import WatchRunsRequest, WatchRunsResponse

if TYPE_CHECKING:
    from muster.agent.blobs import Blobs
    from muster.agent.services import Services
    from muster.v1.workflow_run_pb2 import RunEvent, WorkflowRun


async def follow_run(
    services: Services, run_id: str, after_sequence: int = 0
) -> AsyncGenerator[WatchRunsResponse, None]:
    """Frames about one run; the last says how it ended. Each entry of its journal comes once.

    A snapshot comes again whenever the watch had to be begun again.
    """
    request = WatchRunsRequest(run_id=run_id, after_sequence=after_sequence)
    async for frame in _frames(services, request):
        if frame.events:
            request.after_sequence = frame.events[-1].sequence
        yield frame
        if frame.HasField("ended"):
            return


async def watch_runs(services: Services) -> AsyncIterator[RunEvent]:
    """Entries of all journals, from now on, without end."""
    async for frame in _frames(services, WatchRunsRequest()):
        for event in frame.events:
            yield event


def _frames(
    services: Services, request: WatchRunsRequest
) -> AsyncGenerator[WatchRunsResponse, None]:
    """Frames of a watch that is begun again with the request as it then is."""
    return reopened(
        lambda: services.workflows.WatchRuns(request, metadata=services.targets.metadata)
    )


async def output_of_run(run: WorkflowRun, blobs: Blobs, returns: Any = None) -> Any:
    """The output of a run that has ended, as `returns` where that is given.

    Raises `RunFailed` when there is none, `ValueError` when it does not fit `returns`.
    """
    if run.state != RUN_STATE_SUCCEEDED:
        failure = run.failure
        raise RunFailed(
            failure.code,
            failure.message,
            run_id=run.id,
            state=RunState.Name(run.state).removeprefix("RUN_STATE_"),
            permanent=failure.permanent,
            details=value_of(content_in(failure.details)),
        )
    return decoded(value_of(await fetch(run.output, blobs)), returns)
