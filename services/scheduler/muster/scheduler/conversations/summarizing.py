"""Has a capability make the text of a memory block: a contract, like any other work."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json

from muster.model import limits
from muster.model.errors import Code, MusterError, NotFound
from muster.model.ids import format_id, shard_of_scope
from muster.runtime.principal import Principal
from muster.scheduler.conversations.excerpts import parsed
from muster.scheduler.service import Scheduler
from muster.scheduler.streams import OneAnswer
from muster.scheduler.watching import ended_response
from muster.v1.memory_pb2 import MemoryBlock
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import ContractState, Response
from muster.wire.times import duration_of_seconds

_MATERIAL_BYTES_MAX = 60_000  # of the contracts in the input; the rest of 64 KiB is for the text
LABEL = "muster.memory"  # on these contracts: whose memory


class NoText(Exception):
    """The capability has not made a text; the message says why."""


async def text_by_capability(
    scheduler: Scheduler, caller: Principal, block: MemoryBlock, shard: int, seconds: float
) -> tuple[str, str]:
    """The text that the block's summarizer makes, and the contract that it comes from.

    Raises `NoText`; and what concerns the caller, or passes, as it is.
    """
    request = _request(caller, block, shard, seconds)
    answer = OneAnswer()
    try:
        number, response = await _ended(scheduler, caller, request, answer, seconds)
    except MusterError as error:
        if error.code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED):
            raise
        raise NoText(error.message) from None
    if response is None:
        scheduler.core.cancel(
            scheduler.clock(), number, caller.tenant, "its summary is not waited for any more"
        )
        scheduler.settle()
        raise NoText(f"it had not ended after {seconds:g} s (contract {format_id(number)})")
    return _text_of(response), format_id(number)


async def _ended(
    scheduler: Scheduler,
    caller: Principal,
    request: Request,
    answer: OneAnswer,
    seconds: float,
) -> tuple[int, Response | None]:
    """The contract and its response; None when that takes too long."""

    def submit() -> None:
        scheduler.submit(scheduler.clock(), caller.tenant, caller.name, request, answer)

    try:
        submit()
    except NotFound:
        if not await scheduler.learn(caller.tenant, request.capability.name):
            raise
        submit()
    scheduler.settle()
    number, _ = await answer.accepted
    if number not in scheduler.core.contracts:
        ended = ended_response(await scheduler.stored(number, caller.tenant))
        if ended is not None:
            return number, ended
    try:
        async with asyncio.timeout(seconds):
            return number, await answer.ended
    except TimeoutError:
        return number, None
    finally:
        scheduler.hub.unlisten(number, answer)


def _request(caller: Principal, block: MemoryBlock, shard: int, seconds: float) -> Request:
    """The same for the same block, so that one whose maker was killed is found again; and of the
    shard whose owner makes it."""
    material = {
        "conversation_id": block.conversation_id,
        "number": block.number,
        "bytes_max": limits.MEMORY_TEXT_BYTES_MAX,
        "text": block.text,
        "contracts": _contracts(block),
    }
    payload = json.dumps(material, ensure_ascii=False, separators=(",", ":"))
    timeout = duration_of_seconds(seconds)
    request = Request(labels={LABEL: block.conversation_id})
    request.capability.name = block.summarizer
    request.payload.json = payload
    request.timeouts.schedule_to_start.CopyFrom(timeout)
    request.timeouts.start_to_close.CopyFrom(timeout)
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()[:32]
    for suffix in itertools.count():
        request.request_id = f"memory.{digest}.{block.number}.{suffix}"
        if shard_of_scope(caller.tenant, caller.name, request.request_id) == shard:
            break
    return request


def _contracts(block: MemoryBlock) -> list[dict[str, str]]:
    """What the capability is told: of the first contracts, as many as there is room for."""
    told: list[dict[str, str]] = []
    room = _MATERIAL_BYTES_MAX - len(json.dumps(block.text, ensure_ascii=False).encode())
    for each in block.digests:
        made = {
            "id": each.contract_id,
            "capability": each.capability,
            "state": ContractState.Name(each.state).removeprefix("CONTRACT_STATE_"),
            "by": each.actor or each.principal,
            "agent": each.agent,
            "asked": each.asked,
            "produced": each.produced,
            "failure": f"{each.code}: {each.message}" if each.code else "",
        }
        room -= len(json.dumps(made, ensure_ascii=False).encode())
        if room < 0:
            break
        told.append(made)
    return told


def _text_of(response: Response) -> str:
    if response.state != ContractState.CONTRACT_STATE_SUCCEEDED:
        failure = response.failure
        raise NoText(f"it ended without output: {failure.code} {failure.message}".strip())
    value = parsed(response.payload.json) if response.payload.HasField("json") else None
    if isinstance(value, dict):
        value = value.get("text")
    if not isinstance(value, str) or not value.strip():
        raise NoText('its output is neither a string nor an object with the string "text"')
    return value
