"""One trace from a client through the mesh to the agent, its children and theirs.

Client, services and hosts are processes; their spans go to a real receiver, over OTLP.
"""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from muster.model import limits
from tests.support.commands import shell_in
from tests.support.otlp import Receiver, drawn, http_receiver, one_tree, receiver, shape
from tests.support.processes import (
    ROOT,
    Process,
    free_port,
    machine,
    until,
)
from tests.support.traced_meshes import Traced, mesh_of

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.timeout(120)]

ONE_LEVEL = ["contract", "queue", "attempt", "dispatch", "run"]


@pytest.fixture
async def spans() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


def levels(capability: str, count: int) -> list[str]:
    """What one tree of so many levels looks like, each delegating the next."""
    lines, indent = [], ""
    for _ in range(count):
        lines += [f"{indent}call {capability}", f"{indent}  contract {capability}"]
        lines += [f"{indent}    queue", f"{indent}    attempt"]
        lines += [f"{indent}      dispatch", f"{indent}      run {capability}"]
        indent += "        "
    return lines


@pytest.fixture(params=["all-in-one", "separate", "replicas"])
def kind(request: pytest.FixtureRequest) -> str:
    """The shape of a mesh."""
    return str(request.param)


@pytest.fixture
def ledger(kind: str, request: pytest.FixtureRequest) -> str:
    """One that can be shared, where it is; it is started before there is an event loop."""
    return str(request.getfixturevalue("postgres_url")) if kind == "replicas" else ""


async def test_a_call_its_child_and_grandchild_are_one_tree(
    kind: str, ledger: str, tmp_path: Path, spans: Receiver
) -> None:
    async with mesh_of(kind, tmp_path, spans, ledger) as traced:
        assert await traced.call("traced.down", levels=2) == 2
        await spans.has(call=3, **dict.fromkeys(ONE_LEVEL, 3))
    one_tree(spans.spans)
    assert sorted(shape(spans.spans)) == sorted(levels("traced.down", 3)), drawn(spans.spans)
    services = {span.scope: span.service for span in spans.spans}
    own = {"separate": "muster-scheduler", "replicas": "muster-scheduler"}.get(kind, "muster")
    assert services["muster.scheduler"] == own
    called = {span.service for span in spans.named("call")}
    assert called == {"muster-client", "muster-host"}
    attempts = spans.named("attempt")
    assert {span.attributes["muster.capability"] for span in attempts} == {"traced.down"}
    assert {span.attributes["muster.outcome"] for span in attempts} == {"SUCCEEDED"}
    assert {span.attributes["muster.tenant"] for span in spans.named(*ONE_LEVEL)} == {"default"}
    assert {span.attributes["muster.host"] for span in attempts} == {"traced-host"}
    assert all(span.resource["service.version"] for span in spans.spans)
    assert all(span.resource["service.instance.id"] for span in spans.spans)
    assert not [span for span in spans.spans if span.error]


@pytest.mark.parametrize("capability", ["traced.down_in_worker", "traced.down_in_thread"])
async def test_sync_code_runs_within_its_attempt_and_delegates_within_its_run(
    capability: str, tmp_path: Path, spans: Receiver
) -> None:
    async with mesh_of("all-in-one", tmp_path, spans) as traced:
        assert await traced.call(capability, levels=2) == 2
        # A worker that is busy no more exports by itself; one that ends, at its end.
        await spans.has(call=3, **dict.fromkeys(ONE_LEVEL, 3))
    one_tree(spans.spans)
    assert sorted(shape(spans.spans)) == sorted(levels(capability, 3)), drawn(spans.spans)
    instances = {span.resource["service.instance.id"] for span in spans.named("run")}
    in_workers = capability == "traced.down_in_worker"
    assert all(name.startswith("worker-") for name in instances) == in_workers


async def test_a_trace_goes_on_over_the_death_of_the_scheduler(
    tmp_path: Path, spans: Receiver
) -> None:
    began, go_on = tmp_path / "began", tmp_path / "go-on"
    async with mesh_of("separate", tmp_path, spans) as traced, asyncio.TaskGroup() as tasks:
        asked = {"began": str(began), "until": str(go_on)}
        answer = tasks.create_task(traced.call("traced.hold", **asked))
        await until(began.exists, 20, "the capability runs")
        # Its contract, its wait and its attempt are not over: nothing of them has been exported.
        assert not spans.named("contract", "queue", "attempt")
        await traced.mesh.kill("scheduler")
        await traced.mesh.start("scheduler")
        go_on.touch()
        assert await answer == "held"
        await spans.has(call=2, **dict.fromkeys(ONE_LEVEL, 2))
    one_tree(spans.spans)
    expected = levels("traced.hold", 1)
    expected += [f"        {line}" for line in levels("traced.echo", 1)]
    assert sorted(shape(spans.spans)) == sorted(expected), drawn(spans.spans)


async def test_a_trace_goes_on_at_another_scheduler(
    tmp_path: Path, spans: Receiver, postgres_url: str
) -> None:
    """With so many contracts, the one that dies has owned some."""
    calls, go_on = 6, tmp_path / "go-on"
    began = [tmp_path / f"began-{number}" for number in range(calls)]
    async with (
        mesh_of("replicas", tmp_path, spans, postgres_url) as traced,
        asyncio.TaskGroup() as tasks,
    ):
        answers = [
            tasks.create_task(traced.call("traced.hold", began=str(each), until=str(go_on)))
            for each in began
        ]
        await until(lambda: all(each.exists() for each in began), 40, "all of them run")
        await traced.mesh.kill("scheduler-1")
        go_on.touch()
        assert [await answer for answer in answers] == ["held"] * calls
        await spans.has(call=2 * calls, **dict.fromkeys(ONE_LEVEL, 2 * calls))
    expected = levels("traced.hold", 1)
    expected += [f"        {line}" for line in levels("traced.echo", 1)]
    traces = {span.trace_id for span in spans.named("call")}
    assert len(traces) == calls
    for trace in traces:
        mine = [span for span in spans.spans if span.trace_id == trace]
        one_tree(mine)
        assert sorted(shape(mine)) == sorted(expected), drawn(mine)
    makers = {span.resource["service.instance.id"] for span in spans.named("contract")}
    assert makers == {"scheduler-2"}


async def test_every_attempt_has_its_wait_and_its_run(tmp_path: Path, spans: Receiver) -> None:
    async with mesh_of("all-in-one", tmp_path, spans) as traced:
        assert await traced.call("traced.twice") == 2
        await spans.has(call=1, contract=1, queue=2, attempt=2, dispatch=2, run=2)
    children = one_tree(spans.spans)
    first, second = sorted(spans.named("attempt"), key=lambda each: each.start_ns)
    assert (first.error, first.attributes["muster.outcome"]) == ("AGENT_ERROR", "FAILED")
    assert (second.error, second.attributes["muster.outcome"]) == ("", "SUCCEEDED")
    for attempt in (first, second):
        run = next(each for each in children[attempt.span_id] if each.name.startswith("run"))
        assert run.error == attempt.error
    # The pause before the retry is no waiting for an agent.
    waited = max(spans.named("queue"), key=lambda each: each.start_ns)
    assert waited.start_ns > first.end_ns


async def test_an_agent_that_knows_nothing_of_traces_breaks_none(
    tmp_path: Path, spans: Receiver
) -> None:
    async with mesh_of("separate", tmp_path, spans) as traced:
        scheduler = traced.mesh.address("scheduler")
        assert await traced.call("traced.bare", scheduler=scheduler) == '"bare"'
        await spans.has(call=1, contract=2, queue=2, attempt=2, dispatch=2, run=2)
    mine = [span for span in spans.spans if not span.name.startswith("/muster.")]
    one_tree(mine)
    child = next(span for span in mine if span.name == "contract traced.echo")
    (parent,) = (span for span in mine if span.span_id == child.parent_id)
    assert (parent.name, parent.attributes["muster.agent"]) == ("attempt", "traced")


async def test_what_is_not_sampled_leaves_no_span(tmp_path: Path, spans: Receiver) -> None:
    told = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    async with mesh_of("all-in-one", tmp_path, spans, **told) as traced:
        assert await traced.call("traced.down", levels=1) == 1
        # The one that is sampled by its caller comes after all that the other would have sent.
        caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        assert await traced.call("traced.echo", text=caller) == caller
        await _submit_with(traced, caller)
        await spans.has(contract=1, queue=1, attempt=1, dispatch=1, run=1)
    assert {span.trace_id for span in spans.spans} == {caller.split("-")[1]}
    (contract,) = spans.named("contract")
    assert contract.parent_id == caller.split("-")[2]


async def _submit_with(traced: Traced, traceparent: str) -> None:
    """A request from a caller that has a trace of its own, made without the SDK."""
    from muster.v1.request_pb2 import Request
    from muster.v1.scheduler_service_pb2 import SubmitRequest
    from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
    from muster.wire.channel import open_channel

    request = Request(request_id="from-elsewhere")
    request.capability.name = "traced.echo"
    request.payload.json = '{"text": "x"}'
    request.trace_context.traceparent = traceparent
    async with open_channel(traced.mesh.address("scheduler")) as channel:
        await SchedulerServiceStub(channel).Submit(SubmitRequest(request=request))


async def test_a_unary_call_has_a_span_that_its_contract_belongs_to(
    tmp_path: Path, spans: Receiver
) -> None:
    """A caller in any language, with OpenTelemetry's own instrumentation: its trace comes in the
    call's metadata."""
    from muster.v1.request_pb2 import Request
    from muster.v1.scheduler_service_pb2 import GetContractRequest, SubmitRequest
    from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
    from muster.wire.channel import open_channel

    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request = Request(request_id="by-metadata")
    request.capability.name = "traced.echo"
    request.payload.json = '{"text": "x"}'
    async with mesh_of("separate", tmp_path, spans) as traced:
        async with open_channel(traced.mesh.address("scheduler")) as channel:
            stub = SchedulerServiceStub(channel)
            metadata = (("traceparent", caller),)
            answer = await stub.Submit(SubmitRequest(request=request), metadata=metadata)
            lost = GetContractRequest(contract_id="0" * 16)
            with pytest.raises(Exception, match="there is no contract"):
                await stub.GetContract(lost, metadata=metadata)
        await spans.has(**dict.fromkeys(ONE_LEVEL, 1), **{"/muster.v1.SchedulerService/Submit": 1})
        await spans.has(**{"/muster.v1.SchedulerService/GetContract": 1})
    submit = next(span for span in spans.spans if span.name.endswith("/Submit"))
    (contract,) = spans.named("contract")
    assert (submit.kind, submit.parent_id) == ("SERVER", caller.split("-")[2])
    assert contract.parent_id == submit.span_id
    assert contract.contract_id == answer.accepted.contract_id
    get = next(span for span in spans.spans if span.name.endswith("/GetContract"))
    assert get.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]


async def test_what_agents_say_stays_out_of_spans(tmp_path: Path, spans: Receiver) -> None:
    async with mesh_of("all-in-one", tmp_path, spans) as traced:
        client = await traced.machine.start(
            "client",
            *("-m", "tests.support.traced", "call", "traced.fail", '{"text": "canary 4712"}'),
            environment=traced.environment,
        )
        assert await client.wait(60.0) == 1
        await traced.call("traced.echo", text="canary 4713")
        await spans.has(call=2, contract=1, run=1)
    assert "canary" not in repr(spans.spans)


async def test_spans_go_over_http_where_that_is_asked_for(tmp_path: Path) -> None:
    async with (
        http_receiver() as spans,
        mesh_of(
            "all-in-one", tmp_path, spans, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf"
        ) as traced,
    ):
        assert await traced.call("traced.down", levels=0) == 0
        await spans.has(call=1, **dict.fromkeys(ONE_LEVEL, 1))
    one_tree(spans.spans)


async def test_muster_up_tells_its_processes_and_hosts_where_to(
    tmp_path: Path, spans: Receiver
) -> None:
    async with shell_in(tmp_path) as shell:
        shell.environment |= spans.environment()
        fleet = str(ROOT / "agents" / "examples" / "fleet.yaml")
        await shell.ok("up", "--detach", "--port", "0", "--separate", "--fleet", fleet)
        answer = await shell.ok("call", "demo.both", "text=one two two")
        assert answer.out.strip() == "3"
        await spans.has(call=3, **dict.fromkeys(ONE_LEVEL, 3))
    contracts = [span for span in spans.spans if not span.name.startswith("/muster.")]
    one_tree(contracts)
    services = {span.service for span in contracts}
    assert services == {"muster-client", "muster-scheduler", "muster-executor", "muster-host"}


# --- a receiver that is away ----------------------------------------------------------------------


async def test_a_receiver_that_is_away_stops_nobody(tmp_path: Path) -> None:
    http = free_port()
    away = Receiver(f"127.0.0.1:{free_port()}")
    told = {"MUSTER_HTTP_PORT": str(http), "OTEL_BSP_MAX_QUEUE_SIZE": "20"}
    told["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] = "10"
    async with mesh_of("all-in-one", tmp_path, away, **told) as traced:
        for _ in range(3):
            began = time.monotonic()
            assert await traced.call("traced.down", levels=4) == 4
            took = time.monotonic() - began
            assert took < 10 + limits.SPANS_EXIT_SECONDS, "the client's exit waited"

        def dropped() -> bool:
            lines = _metrics(http)
            return sum(lines.get(name, 0) for name in lines if "spans_dropped" in name) > 0

        await until(dropped, 30, "spans are dropped, and counted")
        began = time.monotonic()
        assert await traced.mesh.terminate() == [0]
        took = time.monotonic() - began
        assert took < limits.SPANS_EXIT_SECONDS + 5


def _metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def test_a_protocol_that_is_not_served_is_named(tmp_path: Path) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "MUSTER_GRPC_PORT": "0"}
    told |= {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "MUSTER_DATA_DIR": str(tmp_path)}
    async with machine(tmp_path) as started:
        mesh: Process = await started.start("mesh", "-m", "muster.allinone", environment=told)
        assert await mesh.wait() == 2
        assert "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not served" in mesh.said
