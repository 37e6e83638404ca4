"""Which conversations there are, and what can be said of each: counts, times, who took part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from muster.backends.ledger_base import Ledger
from muster.model import limits
from muster.model.conversations import BriefContract, ConversationQuery
from muster.model.errors import NotFound
from muster.model.ids import format_id, parse_id
from muster.model.records import RowQuery
from muster.runtime.pages import make_page_token, read_page_token
from muster.scheduler.conversations import blocks
from muster.scheduler.messages_out import set_ms
from muster.v1.conversation_pb2 import Conversation, Participant, ParticipantKind
from muster.v1.conversation_service_pb2 import (
    ListConversationsRequest,
    ListConversationsResponse,
)

_Newest = list[tuple[int, str]]  # (id of a contract, conversation), the largest ids first


def conversation_unknown(conversation: str) -> NotFound:
    """There is no such conversation, or it is another tenant's."""
    return NotFound(
        f"there is no conversation {conversation!r}; list them with: muster conversation list",
        reason="CONVERSATION_UNKNOWN",
    )


def page_size(asked: int) -> int:
    """How many conversations, matches or blocks to return; 0 means the default."""
    most = limits.CONVERSATION_PAGE_SIZE_MAX
    return min(asked, most) if asked > 0 else limits.CONVERSATION_PAGE_SIZE_DEFAULT


# --- one ------------------------------------------------------------------------------------------


async def conversation_of(ledger: Ledger, tenant: str, conversation: str) -> Conversation:
    """One conversation. Raises `NotFound`."""
    most = limits.CONVERSATION_COUNTED_MAX
    query = ConversationQuery(tenant, conversation, descending=True, limit=most + 1)
    found = await ledger.briefs(query)
    newest = await blocks.newest(ledger, tenant, conversation)
    if not found and not newest.number:
        raise conversation_unknown(conversation)
    made = _counted(conversation, found[:most])
    made.has_more = len(found) > most
    made.memory_blocks = newest.number
    if not found:
        block = await blocks.block_of(ledger, tenant, conversation, newest.number)
        if block is not None:
            made.last_time.CopyFrom(block.last_time)
    return made


def _counted(conversation: str, found: Sequence[BriefContract]) -> Conversation:
    made = Conversation(id=conversation, contracts=len(found))
    if not found:
        return made
    set_ms(made.first_time, min(each.accepted_ms for each in found))
    set_ms(made.last_time, max(max(each.accepted_ms, each.ended_ms) for each in found))
    states = Counter(each.state for each in found)
    made.open = states.pop(None, 0)
    for state, count in sorted((state, count) for state, count in states.items() if state):
        made.states.add(state=int(state), contracts=count)
    made.participants.extend(participants(found))
    return made


def participants(found: Sequence[BriefContract]) -> list[Participant]:
    """Who submitted roots and who had attempts, most active first."""
    asked = Counter(each.principal for each in found if not each.parent_id)
    worked = Counter(agent for each in found for agent in each.agents)
    made = [
        Participant(kind=ParticipantKind.PARTICIPANT_KIND_PRINCIPAL, name=name, contracts=count)
        for name, count in asked.items()
    ]
    made += [
        Participant(
            kind=ParticipantKind.PARTICIPANT_KIND_AGENT,
            name=name,
            agent_kind=kind,
            contracts=count,
        )
        for (name, kind), count in worked.items()
    ]
    made.sort(key=lambda each: (-each.contracts, each.kind, each.name))
    return made[: limits.PARTICIPANTS_MAX]


# --- all ------------------------------------------------------------------------------------------


async def list_conversations(
    ledger: Ledger, tenant: str, request: ListConversationsRequest
) -> ListConversationsResponse:
    """One page, the conversation with the newest contract first. Contracts that are gone count as
    long as memory knows of them."""
    scope = ("conversations", tenant)
    size, before = page_size(request.page_size), 0
    if request.page_token:
        before = parse_id(read_page_token(request.page_token, *scope))
    found, reached = await _newest(ledger, tenant, before)
    reply, seen, last = ListConversationsResponse(), set[str](), 0
    for number, conversation in found:
        if conversation in seen:
            continue
        if len(reply.conversations) == size:
            reached = last
            break
        seen.add(conversation)
        last = number
        if before and await _was_before(ledger, tenant, conversation, before):
            continue
        try:
            reply.conversations.append(await conversation_of(ledger, tenant, conversation))
        except NotFound:
            continue  # its last contract has just been forgotten
    if reached:
        reply.next_page_token = make_page_token(format_id(reached), *scope)
    return reply


async def _newest(ledger: Ledger, tenant: str, before: int) -> tuple[_Newest, int]:
    """Contracts and memory of conversations, and how far back that is; 0: all there is."""
    most = limits.CONVERSATION_SCAN_MAX
    rows = await ledger.conversing(
        ConversationQuery(tenant, before=before, descending=True, limit=most)
    )
    kept = await ledger.rows(
        RowQuery(
            blocks.TABLE,
            {"tenant": tenant},
            order=("through_id",),
            after=(before,) if before else None,
            descending=True,
            limit=most,
            columns=("through_id", "conversation"),
        )
    )
    found = [(number, conversation) for number, _, conversation in rows]
    found += [(number, conversation) for number, conversation in kept]
    cut = [each[-1][0] for each in (rows, kept) if len(each) == most]
    reached = max(cut, default=0)
    return sorted((each for each in found if each[0] >= reached), reverse=True), reached


async def _was_before(ledger: Ledger, tenant: str, conversation: str, before: int) -> bool:
    """Whether it was on an earlier page: it has something newer."""
    query = ConversationQuery(tenant, conversation, after=before - 1, limit=1)
    if await ledger.conversing(query):
        return True
    equal = {"tenant": tenant, "conversation": conversation}
    after = (before - 1,)
    return bool(
        await ledger.rows(
            RowQuery(
                blocks.TABLE,
                equal,
                order=("through_id",),
                after=after,
                limit=1,
                columns=("number",),
            )
        )
    )
