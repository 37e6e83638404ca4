"""Recorded histories are replayed: a run that is under way goes on with a newer worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from muster.engine.naming import RUN, SIGNAL, STATE
from muster.engine.workflow import RunWorkflow
from tests.support.histories import FOLDER, SHAPES

RESTRICTIONS = SandboxRestrictions.default.with_passthrough_modules("muster", "google", "buf")

# Workers run workflows without the sandbox, which costs as much as all else; here it looks for
# clocks, randomness and I/O.
SANDBOX = SandboxedWorkflowRunner(restrictions=RESTRICTIONS)


def recorded() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"muster-{path.stem}", path.read_text())


async def replay(path: Path, kind: type[Any], runner: WorkflowRunner) -> None:
    await Replayer(workflows=[kind], workflow_runner=runner).replay_workflow(history(path))


def test_every_shape_was_recorded() -> None:
    assert {path.stem for path in recorded()} >= set(SHAPES)


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
async def test_a_recorded_history_is_replayed(path: Path) -> None:
    await replay(path, RunWorkflow, SANDBOX)


@workflow.defn(name=RUN)
class Timeless(RunWorkflow):
    """Waits for no instant, as it did when the histories were recorded."""

    @workflow.init
    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)

    @workflow.signal(name=SIGNAL)
    def entries(self, raw: bytes) -> None:
        super().entries(raw)

    @workflow.query(name=STATE)
    def state(self) -> dict[str, object]:
        return super().state()

    @workflow.run
    async def run(self, run_id: str) -> str:
        return await super().run(run_id)

    def _set_alarm(self) -> None:
        pass


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
async def test_a_workflow_that_does_something_else_is_noticed(path: Path) -> None:
    with pytest.raises(workflow.NondeterminismError):
        await replay(path, Timeless, UnsandboxedWorkflowRunner())
