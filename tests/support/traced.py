"""Processes of other people, for tests of traces: a host with these agents, and a client.

python -m tests.support.traced host
python -m tests.support.traced call demo.echo '{"text": "x"}'
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import grpc

from muster.agent import Agent, Context, Host, SyncContext, connect
from muster.v1.request_pb2 import Request
from muster.v1.scheduler_service_pb2 import SubmitRequest, WaitContractRequest
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from tests.support.processes import until as wait_for


def note(path: str) -> None:
    """Makes an empty file."""
    Path(path).touch()


traced = Agent("traced", kind="test", max_in_flight=100)


@traced.capability("traced.echo")
async def echo(text: str) -> str:
    return text


@traced.capability("traced.fail")
async def fail() -> str:
    raise LookupError("the canary 4711 is in here")


@traced.capability("traced.down")
async def down(levels: int, ctx: Context) -> int:
    """A child of its own kind, as many levels deep as asked."""
    if levels == 0:
        return 0
    below: int = await ctx.call("traced.down", {"levels": levels - 1}, key="below")
    return below + 1


@traced.capability("traced.down_in_worker")
def down_in_worker(levels: int, ctx: SyncContext) -> int:
    if levels == 0:
        return 0
    below: int = ctx.call("traced.down_in_worker", {"levels": levels - 1})
    return below + 1


@traced.capability("traced.down_in_thread", threads=True)
def down_in_thread(levels: int, ctx: SyncContext) -> int:
    if levels == 0:
        return 0
    below: int = ctx.call("traced.down_in_thread", {"levels": levels - 1})
    return below + 1


@traced.capability("traced.hold")
async def hold(began: str, until: str, ctx: Context) -> str:
    """Says in one file that it has begun, waits for another, and delegates then."""
    note(began)
    await wait_for(Path(until).exists, 60, "it may go on")
    text: str = await ctx.call("traced.echo", {"text": "held"})
    return text


@traced.capability("traced.twice")
async def twice(ctx: Context) -> int:
    """Fails at its first attempt."""
    if ctx.attempt == 1:
        raise LookupError("once more")
    return ctx.attempt


@traced.capability("traced.bare")
async def bare(scheduler: str, ctx: Context) -> str:
    """Delegates as an agent does that knows stubs and nothing of traces."""
    request = Request()
    request.capability.name = "traced.echo"
    request.payload.json = '{"text": "bare"}'
    request.parent.contract_id = ctx.contract_id
    request.parent.epoch = ctx.facts.epoch
    request.parent.key = "child"
    async with grpc.aio.insecure_channel(scheduler) as channel:
        stub = SchedulerServiceStub(channel)
        answer = await stub.Submit(SubmitRequest(request=request))
        wait = WaitContractRequest(contract_id=answer.accepted.contract_id)
        return (await stub.WaitContract(wait)).response.payload.json


async def call(capability: str, text: str) -> None:
    async with connect() as mesh:
        answer = await mesh.call(capability, json.loads(text), timeout=60)
    sys.stdout.write(f"answer: {json.dumps(answer)}\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["host"]:
            Host([traced], name="traced-host", leave_seconds=2.0).run_forever()
        case ["call", capability, text]:
            asyncio.run(call(capability, text))
