"""Runs where there are two schedulers: whichever is asked, the owner of a run's shard does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.v1 import workflow_service_pb2 as pb
from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, RUN_STATE_SUCCEEDED
from tests.support.replicas import replicas
from tests.support.workflows import Workers, flows, output, step

RUNS = 8  # so many that both have some: 1 in 128 times one has them all


@pytest.mark.timeout(90)
async def test_a_run_is_forked_whoever_has_it_and_whoever_gets_the_new_one(
    tmp_path: Path, postgres_url: str
) -> None:
    async with replicas(tmp_path, postgres_url) as made:
        await made.shared_by(2)
        mesh = made.mesh(0)
        async with mesh.host(Workers().agent), flows(mesh.scheduler, ENGINE_KIND_LOCAL) as flow:
            await flow.register(
                "chain",
                step("one", "test.say", input={"text": "${input.text}"}),
                step("two", "test.say", "one", input={"text": "${steps.one.output}!"}),
                output="${steps.two.output}",
            )
            first = await flow.end(await flow.start("chain", {"text": "a"}))
            for number in range(RUNS):
                request = pb.ForkRunRequest(run_id=first.id, step="two", start_id=f"fork-{number}")
                forked = await flow.end((await flow.stub.ForkRun(request)).run_id)
                assert forked.state == RUN_STATE_SUCCEEDED
                assert (forked.forked_from, output(forked)) == (first.id, "A!")
