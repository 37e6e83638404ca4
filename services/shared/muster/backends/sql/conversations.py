"""What is read of conversations, in SQLAlchemy Core, for every SQL database."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Select, literal_column, select

from muster.backends.sql.reads import chunks_of
from muster.backends.sql.schema import contracts, leases, responses
from muster.model.conversations import BriefContract, ConversationQuery
from muster.model.states import ContractState

# Said in so many words, it lets a database use the index that holds nothing else.
IN_CONVERSATION = contracts.c.conversation != literal_column("''")


def ids(connection: Connection, query: ConversationQuery) -> list[tuple[int, str, str]]:
    """(id, tenant, conversation) of contracts that are in one."""
    columns = select(contracts.c.id, contracts.c.tenant, contracts.c.conversation)
    return [tuple(row) for row in connection.execute(_narrowed(columns, query))]


def briefs(connection: Connection, query: ConversationQuery) -> list[BriefContract]:
    """Contracts that are in a conversation, without payloads."""
    table = contracts.c
    columns = select(
        table.id,
        table.tenant,
        table.conversation,
        table.principal,
        table.actor,
        table.parent_id,
        table.accepted_ms,
        table.epoch,
        table.agent,
        table.agent_kind,
    )
    rows = connection.execute(_narrowed(columns, query)).all()
    numbers = [row.id for row in rows]
    later: dict[int, dict[tuple[str, str], None]] = defaultdict(dict)
    ended: dict[int, Any] = {}
    for part in chunks_of(numbers):
        lease, response = leases.c, responses.c
        found = select(lease.contract_id, lease.agent, lease.agent_kind).where(
            lease.contract_id.in_(part)
        )
        for row in connection.execute(found.order_by(lease.contract_id, lease.epoch)):
            later[row.contract_id][row.agent, row.agent_kind] = None
        endings = select(response.contract_id, response.state, response.ended_ms)
        for row in connection.execute(endings.where(response.contract_id.in_(part))):
            ended[row.contract_id] = row
    return [_brief(row, later.get(row.id, {}), ended.get(row.id)) for row in rows]


def _narrowed(statement: Select[Any], query: ConversationQuery) -> Select[Any]:
    table = contracts.c
    wanted = statement.where(IN_CONVERSATION)
    if query.tenant:
        wanted = wanted.where(table.tenant == query.tenant)
    if query.conversation:
        wanted = wanted.where(table.conversation == query.conversation)
    if query.after:
        wanted = wanted.where(table.id > query.after)
    if query.before:
        wanted = wanted.where(table.id < query.before)
    order = table.id.desc() if query.descending else table.id
    return wanted.order_by(order).limit(query.limit)


def _brief(row: Any, later: dict[tuple[str, str], None], ended: Any) -> BriefContract:
    first = {(row.agent, row.agent_kind): None} if row.epoch else {}
    return BriefContract(
        row.id,
        row.tenant,
        row.conversation,
        row.principal,
        row.actor,
        row.parent_id,
        row.accepted_ms,
        tuple(first | later),
        ContractState(ended.state) if ended is not None else None,
        ended.ended_ms if ended is not None else 0,
    )
