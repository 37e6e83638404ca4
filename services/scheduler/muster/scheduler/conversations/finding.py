"""Searches contracts and memory: bounded scans, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from muster.backends.ledger_base import Ledger
from muster.model import limits
from muster.model.ids import format_id, parse_id, time_ms_of_id
from muster.model.ledger import StoredContract
from muster.model.records import RowQuery
from muster.runtime.pages import make_page_token, read_page_token
from muster.scheduler.conversations import blocks
from muster.scheduler.conversations.digests import digest_of, is_opaque, read, texts_of
from muster.scheduler.conversations.matching import Found, find, words_of
from muster.scheduler.conversations.overview import page_size
from muster.scheduler.listing import fits, query_of
from muster.scheduler.messages_out import set_ms
from muster.scheduler.service import Scheduler
from muster.v1.conversation_service_pb2 import (
    ContractMatch,
    SearchContractsRequest,
    SearchContractsResponse,
    Searched,
    SearchMemoryRequest,
    SearchMemoryResponse,
    Snippet,
)
from muster.v1.memory_pb2 import MemoryBlock

_SNIPPETS_MAX = 8


async def search_contracts(
    scheduler: Scheduler, tenant: str, request: SearchContractsRequest
) -> SearchContractsResponse:
    """One page, newest first. It may be short, even empty, and still have a next one."""
    question = SearchContractsRequest(
        filter=request.filter, agent_kinds=request.agent_kinds, text=request.text
    )
    scope = ("search", tenant, question.SerializeToString(deterministic=True))
    size, before = page_size(request.page_size), 0
    if request.page_token:
        before = parse_id(read_page_token(request.page_token, *scope))
    query = replace(
        query_of(tenant, request.filter), before=before, limit=limits.SEARCH_READ_AT_ONCE
    )
    search = _Search(scheduler, request)
    while len(search.reply.matches) < size and search.may_go_on:
        rows = await scheduler.ledger.page(query)
        for stored in rows:
            query = replace(query, before=stored.id)
            search.look(stored)
            if len(search.reply.matches) == size:
                break
        else:
            if len(rows) < limits.SEARCH_READ_AT_ONCE:
                return search.reply
    search.reply.next_page_token = make_page_token(format_id(query.before), *scope)
    return search.reply


class _Search:
    """What one page has looked at, and found."""

    def __init__(self, scheduler: Scheduler, request: SearchContractsRequest) -> None:
        self.reply = SearchContractsResponse()
        self._scheduler = scheduler
        self._request = request
        self._words = words_of(request.text)
        self._bytes = 0

    @property
    def may_go_on(self) -> bool:
        """Whether it has not looked at too much yet."""
        read_max, bytes_max = limits.SEARCH_CONTRACTS_MAX, limits.SEARCH_BYTES_MAX
        return self.reply.searched.read < read_max and self._bytes < bytes_max

    def look(self, stored: StoredContract) -> None:
        """Whether a contract is one that is looked for."""
        _note(self.reply.searched, stored.accepted_ms)
        self._bytes += len(stored.request)
        self._bytes += len(stored.response.response) if stored.response is not None else 0
        if not self._fits(stored):
            return
        found = read(stored)
        if self._words:
            payloads = [found.request.payload]
            payloads += [found.response.payload] if found.response is not None else []
            self.reply.searched.opaque += sum(is_opaque(payload) for payload in payloads)
        places = find(self._words, texts_of(found))
        if places is None:
            return
        live = self._scheduler.core.contracts.get(stored.id)
        match = ContractMatch(contract=digest_of(found, live.state if live is not None else None))
        match.snippets.extend(map(_snippet, places))
        self.reply.matches.append(match)

    def _fits(self, stored: StoredContract) -> bool:
        kinds = self._request.agent_kinds
        if kinds and (not stored.attempts or stored.attempts[-1].agent_kind not in kinds):
            return False
        return fits(self._scheduler, stored, self._request.filter)


# --- memory ---------------------------------------------------------------------------------------


async def search_memory(
    ledger: Ledger, tenant: str, request: SearchMemoryRequest
) -> SearchMemoryResponse:
    """One page, the blocks with the newest contracts first."""
    scope = ("search-memory", tenant, request.conversation_id, request.text)
    size, words = page_size(request.page_size), words_of(request.text)
    equal = {"tenant": tenant}
    if request.conversation_id:
        equal["conversation"] = request.conversation_id
    query = RowQuery(
        blocks.TABLE,
        equal,
        order=("through_id",),
        descending=True,
        limit=limits.SEARCH_BLOCKS_AT_ONCE,
        columns=("through_id", "block"),
    )
    if request.page_token:
        query = replace(query, after=(parse_id(read_page_token(request.page_token, *scope)),))
    reply, through_id = SearchMemoryResponse(), 0
    while len(reply.matches) < size and reply.searched.read < limits.SEARCH_BLOCKS_MAX:
        rows = await ledger.rows(query)
        for through_id, raw in rows:
            query = replace(query, after=(through_id,))
            block = MemoryBlock.FromString(raw)
            _note(reply.searched, time_ms_of_id(through_id))
            places = find(words, _texts_of(block))
            if places is not None:
                match = reply.matches.add(block=blocks.without_digests(block))
                match.snippets.extend(_snippet(each) for each in places[:_SNIPPETS_MAX])
            if len(reply.matches) == size:
                break
        else:
            if len(rows) < query.limit:
                return reply
    reply.next_page_token = make_page_token(format_id(through_id), *scope)
    return reply


def _texts_of(block: MemoryBlock) -> Iterator[tuple[str, str]]:
    yield "text", block.text
    for question in block.questions:
        yield question.contract_id, f"{question.text} {question.answer}"
    for each in block.digests:
        yield each.contract_id, f"{each.asked} {each.produced} {each.message}"


def _note(searched: Searched, time_ms: int) -> None:
    searched.read += 1
    set_ms(searched.back_to, time_ms)


def _snippet(found: Found) -> Snippet:
    return Snippet(place=found.place, text=found.text, offset=found.offset, length=found.length)
