"""The trace of a conversation, page by page: what memory keeps, then what is not compressed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from muster.backends.ledger_base import Ledger
from muster.model import limits
from muster.model.errors import InvalidArgument
from muster.runtime.pages import make_page_token, read_page_token
from muster.scheduler.conversations import blocks
from muster.scheduler.conversations.covering import uncovered
from muster.scheduler.conversations.digests import read
from muster.scheduler.conversations.overview import conversation_unknown
from muster.scheduler.conversations.trace import entries_of, in_order
from muster.v1.conversation_pb2 import TraceEntry
from muster.v1.conversation_service_pb2 import ListTraceRequest, ListTraceResponse

LOADED_AT_ONCE = 50  # contracts with their payloads, of 64 KiB twice: 6.4 MB


class _At(NamedTuple):
    """Where a page begins: in a block, or, once those have been told, after a contract."""

    block: int = 1
    told: int = 0  # the block that was not there, where what is in none begins; 0: not there yet
    after: int = 0  # the last contract of the run before
    entry: int = 0  # how many of the block or run have been told


async def list_trace(ledger: Ledger, tenant: str, request: ListTraceRequest) -> ListTraceResponse:
    """One page. Raises `NotFound` where there is nothing of such a conversation."""
    conversation = request.conversation_id
    scope = ("trace", tenant, conversation)
    size = request.page_size or limits.TRACE_PAGE_SIZE_DEFAULT
    at = _read(read_page_token(request.page_token, *scope)) if request.page_token else _At()
    reply, next_at = ListTraceResponse(), None
    while True:
        found = await _run(ledger, tenant, conversation, at)
        if found is None:
            break
        entries, next_at = found
        told = entries[at.entry : at.entry + size - len(reply.entries)]
        reply.entries.extend(told)
        if at.entry + len(told) < len(entries):
            next_at = at._replace(entry=at.entry + len(told))
        at = next_at
        if len(reply.entries) == size:
            reply.next_page_token = make_page_token(_written(at), *scope)
            break
    if not reply.entries and not request.page_token:
        raise conversation_unknown(conversation)
    return reply


async def _run(
    ledger: Ledger, tenant: str, conversation: str, at: _At
) -> tuple[Sequence[TraceEntry], _At] | None:
    """The entries of the block or run at a place, and the place after it; None at the end."""
    if not at.told:
        kept = await blocks.trace_of(ledger, tenant, conversation, at.block)
        if kept is not None:
            return kept, _At(at.block + 1)
        # Blocks that are made from now on hold what is told here.
        at = _At(at.block, at.block)
    newest = await blocks.block_floor(ledger, tenant, conversation, at.told - 1)
    ids: list[int] = []
    async with aclosing(uncovered(ledger, tenant, conversation, newest, at.after)) as found:
        async for each in found:
            ids.append(each.id)
            if len(ids) == limits.MEMORY_BLOCK_CONTRACTS_MAX:
                break
    if not ids:
        return None
    entries = await entries_of_contracts(ledger, ids)
    return entries, _At(at.block, at.told, ids[-1])


async def entries_of_contracts(ledger: Ledger, ids: Sequence[int]) -> list[TraceEntry]:
    """What happened to contracts, in order of time."""
    entries: list[TraceEntry] = []
    for start in range(0, len(ids), LOADED_AT_ONCE):
        for stored in await ledger.load(ids[start : start + LOADED_AT_ONCE]):
            entries += entries_of(read(stored))
    return in_order(entries)


def _written(at: _At) -> str:
    return ".".join(f"{number:x}" for number in at)


def _read(position: str) -> _At:
    try:
        return _At(*(int(part, 16) for part in position.split(".")))
    except (ValueError, TypeError):
        raise InvalidArgument("page_token is none of this call's", reason="PAGE_TOKEN") from None
