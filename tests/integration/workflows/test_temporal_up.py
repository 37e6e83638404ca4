"""`muster up --with temporal`: Temporal and a worker of the engine run with the mesh."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from muster.v1.workflow_pb2 import Wait
from muster.v1.workflow_run_pb2 import (
    ENGINE_KIND_TEMPORAL,
    ENGINE_KIND_UNSPECIFIED,
    RUN_STATE_SUCCEEDED,
)
from muster.v1.workflow_service_pb2 import SignalRunRequest
from tests.support.commands import shell_in
from tests.support.processes import until
from tests.support.servers import require
from tests.support.workflows import flows, step

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("processes")]


async def test_a_worker_runs_with_temporal_is_shown_and_comes_back(
    tmp_path: Path,
) -> None:
    require("temporal")
    async with shell_in(tmp_path) as shell:
        # Who runs workflows where a start does not say.
        shell.environment["MUSTER_WORKFLOW_ENGINE"] = "temporal"
        await shell.ok("up", "--detach", "--port", "0", "--with", "temporal")
        shown = (await shell.run("status", "-o", "json")).value
        assert shown["services"]["engine"]["state"] == "SERVING", shown
        assert shown["backends"]["temporal"]["state"] == "SERVING"

        async with flows(shell.state.endpoints["scheduler"], ENGINE_KIND_UNSPECIFIED) as flow:
            await flow.register("waits", step("go", wait=Wait(signal="go")))
            run_id = await flow.start("waits")
            await flow.until(run_id, "go", "WAITING")
            assert (await flow.get(run_id)).engine == ENGINE_KIND_TEMPORAL
            (worker,) = [each for each in shell.state.processes if each.name == "engine"]
            worker.identity.send(signal.SIGKILL)
            await flow.stub.SignalRun(SignalRunRequest(run_id=run_id, name="go"))
            assert (await flow.end(run_id, 60)).state == RUN_STATE_SUCCEEDED

        def is_another() -> bool:
            now = [each.pid for each in shell.state.processes if each.name == "engine"]
            return bool(now) and now != [worker.pid]

        await until(is_another, 20, "another worker is written down")
        await shell.ok("down")
