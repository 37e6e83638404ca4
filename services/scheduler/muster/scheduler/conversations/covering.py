"""Which contracts of a conversation are in no memory block yet: walked in order of their ids.

Ids of different schedulers may be committed out of order by as much as their clocks differ, and a
contract that is open now ends later. So a block does not simply end where the next one begins: it
notes a floor, before which nothing is left, and each contract that it covers; what lies after the
floor and in no block is still to come.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass, field

from muster.backends.ledger_base import Ledger
from muster.model import limits
from muster.model.conversations import BriefContract, ConversationQuery
from muster.model.ids import first_id_at
from muster.scheduler.conversations import blocks
from muster.scheduler.conversations.blocks import Newest

_PAGE = 1_000


async def uncovered(
    ledger: Ledger, tenant: str, conversation: str, newest: Newest, after: int = 0
) -> AsyncGenerator[BriefContract, None]:
    """Contracts that are in no block up to the newest one that is named, oldest first, after an
    id."""
    after = max(after, newest.floor_id - 1, 0)
    known = await blocks.covered(ledger, tenant, conversation, after, newest.number)
    while True:
        found = await ledger.briefs(
            ConversationQuery(tenant, conversation, after=after, limit=_PAGE)
        )
        for each in found:
            if each.id not in known:
                yield each
        if len(found) < _PAGE:
            return
        after = found[-1].id


@dataclass
class Choice:
    """What goes into the next block."""

    chosen: list[BriefContract] = field(default_factory=list)  # in order of their ids
    open: int = 0
    has_more: bool = False
    first_left: int = 0  # the first contract that is left; 0: there is none

    def floor_id(self, newest: Newest, now_ms: int, covered_until: int) -> int:
        """Before which nothing is left once the block is there."""
        settled = first_id_at(now_ms - int(limits.MEMORY_SKEW_SECONDS * 1000))
        floor = min(self.first_left or covered_until + 1, settled)
        return max(floor, newest.floor_id)


async def choose(found: AsyncIterator[BriefContract]) -> Choice:
    """The first contracts that have ended, as many as a block takes."""
    choice = Choice()
    async for each in found:
        if each.state is not None and len(choice.chosen) < limits.MEMORY_BLOCK_CONTRACTS_MAX:
            choice.chosen.append(each)
            continue
        choice.first_left = choice.first_left or each.id
        if each.state is None:
            choice.open += 1
        else:
            choice.has_more = True
            break
    return choice


def ids_of(chosen: Collection[BriefContract]) -> list[int]:
    """Their ids."""
    return [each.id for each in chosen]
