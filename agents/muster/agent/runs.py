"""What a client asks about workflows, and a run that was started.

run = await mesh.workflows.start("content", {"out_dir": "/tmp/articles"})
print(await run.result())
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, Protocol

from muster.agent.asking import RequestIds
from muster.agent.contents import fill
from muster.agent.runs_following import follow_run, output_of_run, watch_runs
from muster.agent.services import Services
from muster.agent.values import content_of, input_content
from muster.model import limits
from muster.v1 import workflow_service_pb2 as pb
from muster.v1.workflow_pb2 import Workflow
from muster.v1.workflow_run_pb2 import EngineKind, RunState
from muster.wire.errors import answer_of

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from muster.v1.workflow_pb2 import WorkflowVersion
    from muster.v1.workflow_run_pb2 import RunEvent, WorkflowRun
    from muster.v1.workflow_service_pb2 import PlanRunResponse, WatchRunsResponse

Engine = Literal["", "local", "temporal"]

_UNSET: Any = object()
_ids = RequestIds()


class Built(Protocol):
    """What `muster.agent.Workflow` builds."""

    def proto(self) -> Workflow:
        """The definition."""


class Workflows:
    """Workflows of the client's tenant, and their runs. Errors of the mesh are `MusterError`s."""

    def __init__(self, services: Services) -> None:
        self._services = services

    # --- definitions ------------------------------------------------------------------------------

    async def register(
        self, workflow: Workflow | Built, *, validate_only: bool = False
    ) -> WorkflowVersion:
        """Keeps a workflow as a new version, unless its newest version is the same already.

        Raises `InvalidArgument`, with a violation for every mistake. With `validate_only` nothing
        is kept.
        """
        definition = workflow if isinstance(workflow, Workflow) else workflow.proto()
        request = pb.RegisterWorkflowRequest(workflow=definition, validate_only=validate_only)
        version: WorkflowVersion = (await self._ask("RegisterWorkflow", request)).version
        return version

    async def get(self, name: str, version: int = 0) -> WorkflowVersion:
        """One version of a workflow; 0 is the newest."""
        request = pb.GetWorkflowRequest(name=name, version=version)
        found: WorkflowVersion = (await self._ask("GetWorkflow", request)).version
        return found

    async def list(self) -> AsyncIterator[WorkflowVersion]:
        """The newest version of every workflow, by name."""
        request = pb.ListWorkflowsRequest(page_size=limits.PAGE_SIZE_MAX)
        while True:
            page: pb.ListWorkflowsResponse = await self._ask("ListWorkflows", request)
            for version in page.workflows:
                yield version
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    # --- runs -------------------------------------------------------------------------------------

    async def start(
        self,
        name: str,
        input: Any = None,
        *,
        version: int = 0,
        start_id: str = "",
        conversation_id: str = "",
        engine: Engine = "",
    ) -> RunHandle:
        """Starts a run; it is recorded when this returns. Many at once go in one call.

        The same `start_id` again finds the same run; without one, one is made. Raises `NotFound`
        for a workflow that is not there, and `InvalidArgument` for input that does not fit.
        """
        request = pb.StartRunRequest(
            workflow=name,
            version=version,
            start_id=start_id or _ids.make(),
            conversation_id=conversation_id,
            engine=engine_of(engine),
        )
        if input is not None:
            await fill(request.input, input_content(input), self._services.blobs)
        return RunHandle(self._services, (await self._services.starts.start(request)).run_id)

    async def run(
        self, name: str, input: Any = None, *, timeout: float | None = None, **options: Any
    ) -> Any:
        """Starts a run and waits for its output; see `start` and `RunHandle.result`."""
        return await (await self.start(name, input, **options)).result(timeout=timeout)

    async def plan(self, name: str, input: Any = None, *, version: int = 0) -> PlanRunResponse:
        """What a run with this input would do; nothing is recorded."""
        request = pb.PlanRunRequest(workflow=name, version=version)
        if input is not None:
            await fill(request.input, input_content(input), self._services.blobs)
        plan: PlanRunResponse = await self._ask("PlanRun", request)
        return plan

    def handle(self, run_id: str) -> RunHandle:
        """A run that was started elsewhere; nothing is asked yet."""
        return RunHandle(self._services, run_id)

    async def find(self, start_id: str) -> WorkflowRun:
        """The run that the caller has started with this id. Raises `NotFound`."""
        run: WorkflowRun = (await self._ask("GetRun", pb.GetRunRequest(start_id=start_id))).run
        return run

    async def runs(
        self,
        *,
        workflow: str = "",
        states: Sequence[str] = (),
        conversation_id: str = "",
        most: int | None = None,
    ) -> AsyncIterator[WorkflowRun]:
        """Runs that fit, newest first, at most so many; without input, output and steps.

        `states` are words such as RUNNING and FAILED.
        """
        request = pb.ListRunsRequest(
            workflow=workflow,
            states=[RunState.Value(f"RUN_STATE_{state.upper()}") for state in states],
            conversation_id=conversation_id,
            page_size=min(most or limits.PAGE_SIZE_MAX, limits.PAGE_SIZE_MAX),
        )
        left = most
        while True:
            page: pb.ListRunsResponse = await self._ask("ListRuns", request)
            for run in page.runs[:left]:
                yield run
            left = None if left is None else left - len(page.runs)
            if not page.next_page_token or (left is not None and left <= 0):
                return
            request.page_token = page.next_page_token

    def watch(self) -> AsyncIterator[RunEvent]:
        """Entries of the journals of all runs from now on, without end.

        After a restart of the mesh it goes on from there: what happened meanwhile is missing.
        """
        return watch_runs(self._services)

    async def _ask(self, method: str, request: Message) -> Any:
        return await _asked(self._services, method, request)


class RunHandle:
    """A run of a workflow. It goes on whatever becomes of the handle."""

    __slots__ = ("_services", "id")

    def __init__(self, services: Services, run_id: str) -> None:
        self._services = services
        self.id = run_id

    async def get(self, *, outputs: bool = False) -> WorkflowRun:
        """The run as it is now; with `outputs`, also what each item gave back."""
        request = pb.GetRunRequest(run_id=self.id, outputs=outputs)
        run: WorkflowRun = (await self._ask("GetRun", request)).run
        return run

    async def ended(self, timeout: float | None = None) -> WorkflowRun:
        """Waits until the run has ended, across restarts of the mesh.

        Raises `TimeoutError` when `timeout` seconds pass first.
        """
        try:
            async with asyncio.timeout(timeout), aclosing(self.frames()) as frames:
                async for frame in frames:
                    if frame.HasField("ended"):
                        return frame.ended
        except TimeoutError:
            message = f"run {self.id} has not ended in {timeout} s"
            raise TimeoutError(message) from None
        raise AssertionError("a watch goes on until the run has ended")

    async def result(self, returns: Any = None, *, timeout: float | None = None) -> Any:
        """Waits for the run's output, as `returns` (any annotated type) if that is given.

        Raises `RunFailed` when it ended without one, `TimeoutError` after `timeout` seconds.
        Cancelling the caller does not cancel the run.
        """
        return await output_of_run(await self.ended(timeout), self._services.blobs, returns)

    async def watch(self, after_sequence: int = 0) -> AsyncIterator[RunEvent]:
        """The run's journal, from its beginning or after an entry, until the run has ended.

        Each entry once, across restarts of the mesh; payloads are left out.
        """
        async with aclosing(self.frames(after_sequence)) as frames:
            async for frame in frames:
                for event in frame.events:
                    yield event

    def frames(self, after_sequence: int = 0) -> AsyncGenerator[WatchRunsResponse, None]:
        """What `watch` is made of: a snapshot whenever the watch has (again) begun, entries, and at
        last the run as it ended."""
        return follow_run(self._services, self.id, after_sequence)

    async def signal(self, name: str, payload: Any = None, *, signal_id: str = "") -> None:
        """Sends a signal, for a step that waits for it now or will; recorded when this returns.

        The same `signal_id` again is recorded once.
        """
        request = pb.SignalRunRequest(run_id=self.id, name=name, signal_id=signal_id or _ids.make())
        await fill(request.payload, content_of(payload), self._services.blobs)
        await self._ask("SignalRun", request)

    async def cancel(self, reason: str = "") -> str:
        """Has the run unwind and end; returns the name of its state now, for instance UNWINDING.

        Raises `FailedPrecondition` when it has ended otherwise.
        """
        request = pb.CancelRunRequest(run_id=self.id, reason=reason)
        return run_state_name((await self._ask("CancelRun", request)).state)

    async def pause(self) -> None:
        """Lets nothing new of the run begin."""
        await self._ask("PauseRun", pb.PauseRunRequest(run_id=self.id))

    async def resume(self) -> None:
        """Ends a pause."""
        await self._ask("ResumeRun", pb.ResumeRunRequest(run_id=self.id))

    async def retry(self, step: str = "") -> int:
        """Has a run that failed or was cancelled go on from a step, or from all that failed.

        Returns its revision from now on. Raises `FailedPrecondition` when it cannot.
        """
        before = (await self.get()).revision
        request = pb.RetryRunRequest(run_id=self.id, step=step, after_revision=before)
        revision: int = (await self._ask("RetryRun", request)).revision
        return revision

    async def fork(
        self, step: str, *, input: Any = _UNSET, start_id: str = "", engine: Engine = ""
    ) -> RunHandle:
        """Starts another run with what this one has, but for a step and all that follows it.

        With this one's input, unless another is given.
        """
        request = pb.ForkRunRequest(
            run_id=self.id,
            step=step,
            start_id=start_id or _ids.make(),
            engine=engine_of(engine),
        )
        if input is not _UNSET:
            await fill(request.input, input_content(input), self._services.blobs)
        return RunHandle(self._services, (await self._ask("ForkRun", request)).run_id)

    async def _ask(self, method: str, request: Message) -> Any:
        return await _asked(self._services, method, request)


async def _asked(services: Services, method: str, request: Message) -> Any:
    call: Callable[..., Any] = getattr(services.workflows, method)
    return await answer_of(call(request, metadata=services.targets.metadata))


def engine_of(name: Engine) -> EngineKind.ValueType:
    """An engine by its name; without one, the mesh's default."""
    return EngineKind.Value(f"ENGINE_KIND_{name.upper() or 'UNSPECIFIED'}")


def run_state_name(state: RunState.ValueType) -> str:
    """A run's state in one word, for example SUCCEEDED."""
    return RunState.Name(state).removeprefix("RUN_STATE_")
