"""A line that a call writes names the call's span and the contract that it is about."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.context import attach
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from muster.runtime.config import Listen
from muster.runtime.logs import configure_logs, get_logger
from muster.runtime.serve import Part, Readiness, serve
from muster.v1.scheduler_service_pb2 import GetContractRequest, GetContractResponse
from muster.v1.scheduler_service_pb2_grpc import (
    SchedulerServiceServicer,
    SchedulerServiceStub,
    add_SchedulerServiceServicer_to_server,
)
from muster.wire.channel import open_channel

CONTRACT = "00000000000000aa"


class Defective(SchedulerServiceServicer):
    """Fails within a span."""

    async def GetContract(self, request: GetContractRequest, context: Any) -> GetContractResponse:
        attach(set_span_in_context(NonRecordingSpan(SpanContext(7, 9, False, TraceFlags(1)))))
        get_logger("muster.test").info("about to fail")
        raise LookupError("a defect")


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    return stream


@asynccontextmanager
async def _nothing(_readiness: Readiness) -> AsyncIterator[None]:
    yield


async def test_lines_of_a_call_have_its_trace_and_contract(lines: io.StringIO) -> None:
    name = "muster.v1.SchedulerService"
    servicer = Defective()  # type: ignore[abstract]  # the rest is not called
    add = {name: lambda server: add_SchedulerServiceServicer_to_server(servicer, server)}
    async with (
        serve(Listen(grpc_port=0, http_port=None), [Part("scheduler", add, _nothing)]) as server,
        open_channel(server.address) as channel,
    ):
        get = SchedulerServiceStub(channel).GetContract
        with pytest.raises(grpc.aio.AioRpcError, match="search the logs"):
            await get(GetContractRequest(contract_id=CONTRACT))
        with pytest.raises(grpc.aio.AioRpcError, match="search the logs"):
            await get(GetContractRequest(request_id="r1"))
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    within = [line for line in found if line["message"] in ("about to fail", "a call failed")]
    assert len(within) == 4
    assert {line["trace_id"] for line in within} == {f"{7:032x}"}
    assert {line["span_id"] for line in within} == {f"{9:016x}"}
    assert [line.get("contract_id") for line in within] == [CONTRACT, CONTRACT, None, None]
    outside = [line for line in found if line not in within]
    assert outside
    assert not [line for line in outside if "trace_id" in line or "contract_id" in line]
