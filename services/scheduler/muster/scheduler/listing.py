"""Lists contracts in pages."""

from __future__ import annotations

from dataclasses import replace

from muster.model.ids import format_id, parse_id
from muster.model.ledger import ContractQuery, StoredContract
from muster.model.states import ContractState
from muster.runtime.pages import make_page_token, page_size, read_page_token
from muster.scheduler.messages_in import id_of
from muster.scheduler.messages_out import contract_of
from muster.scheduler.service import Scheduler
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.request_pb2 import Request
from muster.v1.scheduler_service_pb2 import ListContractsRequest, ListContractsResponse
from muster.wire.times import ms_of_timestamp

SCANNED_MAX = 10_000  # rows read for one page; a sparser filter gets shorter pages


async def list_contracts(
    scheduler: Scheduler, tenant: str, request: ListContractsRequest
) -> ListContractsResponse:
    """One page, newest first. It may be short, even empty, and still have a next one."""
    wanted = request.filter
    scope = ("contracts", tenant, wanted.SerializeToString(deterministic=True))
    size = page_size(request.page_size)
    before = 0
    if request.page_token:
        before = parse_id(read_page_token(request.page_token, *scope))
    query = replace(query_of(tenant, wanted), before=before, limit=size)
    reply = ListContractsResponse()
    scanned = 0
    while len(reply.contracts) < size and scanned < SCANNED_MAX:
        rows = await scheduler.ledger.page(query)
        scanned += len(rows)
        for stored in rows:
            query = replace(query, before=stored.id)
            if fits(scheduler, stored, wanted):
                live = scheduler.core.contracts.get(stored.id)
                reply.contracts.append(contract_of(stored, live, whole=False))
                if len(reply.contracts) == size:
                    break
        if len(rows) < size:
            return reply
    reply.next_page_token = make_page_token(format_id(query.before), *scope)
    return reply


def query_of(tenant: str, wanted: ContractFilter) -> ContractQuery:
    """What the ledger can sift of a filter."""
    return ContractQuery(
        tenant=tenant,
        states=frozenset(ContractState(state) for state in wanted.states if state),
        capabilities=frozenset(wanted.capabilities),
        conversation=wanted.conversation_id,
        root_id=id_of(wanted.root_id) if wanted.root_id else 0,
        parent_id=id_of(wanted.parent_id) if wanted.parent_id else 0,
        since_ms=ms_of_timestamp(wanted.accepted_since) if wanted.HasField("accepted_since") else 0,
        before_ms=(
            ms_of_timestamp(wanted.accepted_before) if wanted.HasField("accepted_before") else 0
        ),
    )


def fits(scheduler: Scheduler, stored: StoredContract, wanted: ContractFilter) -> bool:
    """What the ledger cannot sift: the exact state of open contracts, agent and labels."""
    live = scheduler.core.contracts.get(stored.id)
    if wanted.states:
        state = live.state if live is not None else stored.state
        if int(state) not in wanted.states:
            return False
    if wanted.agent and (not stored.attempts or stored.attempts[-1].agent != wanted.agent):
        return False
    if wanted.labels:
        labels = Request.FromString(stored.request).labels
        return all(labels.get(key) == value for key, value in wanted.labels.items())
    return True
