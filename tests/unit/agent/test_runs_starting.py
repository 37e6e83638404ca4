"""How a client puts its starts into calls."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from muster.agent.runs_starting import BYTES_MAX, STARTS_MAX, Starts
from muster.model.errors import MusterError, NotFound, Unavailable
from muster.v1 import workflow_service_pb2 as pb
from muster.wire.errors import status_of


class Service:
    """Notes the calls; a workflow's name says what becomes of its starts."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def StartRun(self, request: pb.StartRunRequest, metadata: Any) -> pb.StartRunResponse:
        self.calls.append([request.start_id])
        return pb.StartRunResponse(run_id=f"run of {request.start_id}")

    async def StartRuns(self, request: pb.StartRunsRequest, metadata: Any) -> pb.StartRunsResponse:
        self.calls.append([start.start_id for start in request.starts])
        self.called.set()
        await self.gate.wait()
        if any(start.workflow == "broken" for start in request.starts):
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, "broken")
        return pb.StartRunsResponse(results=map(self._result, request.starts))

    def _result(self, start: pb.StartRunRequest) -> pb.StartRunResult:
        if start.workflow == "none":
            return pb.StartRunResult(error=status_of(NotFound("there is none")))
        if start.workflow == "away":
            return pb.StartRunResult(error=status_of(Unavailable("moving")))
        started = pb.StartRunResponse(run_id=f"run of {start.start_id}")
        return pb.StartRunResult(started=started)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def starts(service: Service) -> Starts:
    services: Any = SimpleNamespace(workflows=service, targets=SimpleNamespace(metadata=()))
    return Starts(services)


def start(start_id: str, workflow: str = "a", text: str = "") -> pb.StartRunRequest:
    request = pb.StartRunRequest(workflow=workflow, start_id=start_id)
    request.input.json = text
    return request


async def test_one_goes_by_itself_and_many_in_one_call(starts: Starts, service: Service) -> None:
    assert (await starts.start(start("1"))).run_id == "run of 1"
    replies = await asyncio.gather(*(starts.start(start(each)) for each in "234"))
    assert [reply.run_id for reply in replies] == ["run of 2", "run of 3", "run of 4"]
    assert service.calls == [["1"], ["2", "3", "4"]]


async def test_a_call_is_bounded_in_starts_and_in_bytes(starts: Starts, service: Service) -> None:
    many = [start(f"m{n}") for n in range(STARTS_MAX + 1)]
    await asyncio.gather(*map(starts.start, many))
    assert sorted(map(len, service.calls)) == [1, STARTS_MAX]
    service.calls.clear()
    fat = [start(f"f{n}", text="x" * (BYTES_MAX // 2 - 100)) for n in range(5)]
    await asyncio.gather(*map(starts.start, fat))
    assert sorted(map(len, service.calls)) == [1, 2, 2]


async def test_what_is_wrong_with_one_is_nothing_to_the_others(
    starts: Starts, service: Service
) -> None:
    one, none, away = await asyncio.gather(
        starts.start(start("1")),
        starts.start(start("2", "none")),
        starts.start(start("3", "away")),
        return_exceptions=True,
    )
    assert isinstance(one, pb.StartRunResponse)
    assert isinstance(none, NotFound)
    # Tried again by itself.
    assert isinstance(away, pb.StartRunResponse)
    assert service.calls == [["1", "2", "3"], ["3"]]


async def test_a_call_that_fails_is_told_to_all_of_it(starts: Starts) -> None:
    told = await asyncio.gather(
        starts.start(start("1")), starts.start(start("2", "broken")), return_exceptions=True
    )
    assert [str(each) for each in told] == ["broken", "broken"]
    assert all(isinstance(each, MusterError) for each in told)


@pytest.mark.parametrize("first_is_gone", [True, False])
async def test_one_that_gives_up_takes_nothing_from_the_others(
    starts: Starts, service: Service, first_is_gone: bool
) -> None:
    service.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        one, other = (tasks.create_task(starts.start(start(each))) for each in "12")
        gone, stays = (one, other) if first_is_gone else (other, one)
        await service.called.wait()
        gone.cancel()
        await asyncio.wait([gone])
        service.gate.set()
    assert stays.result().run_id == f"run of {'2' if first_is_gone else '1'}"
    # Whoever loses the one that made the call makes its own.
    assert service.calls == [["1", "2"], *([["2"]] if first_is_gone else [])]


async def test_one_that_gives_up_at_once_takes_nothing_from_the_others(
    starts: Starts, service: Service
) -> None:
    async with asyncio.TaskGroup() as tasks:
        one, other = (tasks.create_task(starts.start(start(each))) for each in "12")
        await asyncio.sleep(0)
        one.cancel()
    assert other.result().run_id == "run of 2"
    assert (await starts.start(start("3"))).run_id == "run of 3"
    assert service.calls == [["2"], ["3"]]
