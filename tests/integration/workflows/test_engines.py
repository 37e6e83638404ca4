"""What every engine does with the same workflows."""

from __future__ import annotations

from muster.v1.workflow_run_pb2 import RUN_STATE_SUCCEEDED
from tests.support.workflows import Flows, Workers, output, states, step


async def test_a_run_does_its_steps_in_order_and_gives_back_its_output(
    flow: Flows, workers: Workers
) -> None:
    await flow.register(
        "greet",
        step("first", "test.say", input={"text": "${input.name}"}),
        step("second", "test.say", "first", input={"text": "hello ${steps.first.output}"}),
        output={"said": "${steps.second.output}"},
    )
    run = await flow.end(await flow.start("greet", {"name": "ann"}))
    assert run.state == RUN_STATE_SUCCEEDED, run
    assert output(run) == {"said": "HELLO ANN"}
    assert states(run) == {"first": "SUCCEEDED", "second": "SUCCEEDED"}
    assert workers.ran == {"ann": 1, "hello ANN": 1}
