"""What a ledger tells of conversations, in plain values and without payloads."""

from __future__ import annotations

from dataclasses import dataclass

from muster.model.states import ContractState


@dataclass(frozen=True, slots=True)
class ConversationQuery:
    """Which contracts of conversations to read, by id: after one, before another, oldest first or
    `descending`, at most `limit`. Empty names and 0 do not restrict."""

    tenant: str = ""
    conversation: str = ""
    after: int = 0
    before: int = 0
    descending: bool = False
    limit: int = 1_000


@dataclass(frozen=True, slots=True)
class BriefContract:
    """What is needed to tell who took part, and what has ended."""

    id: int
    tenant: str
    conversation: str
    principal: str
    actor: str
    parent_id: int
    accepted_ms: int
    agents: tuple[tuple[str, str], ...]  # name and kind of each that had an attempt
    state: ContractState | None  # how it ended; None while it is open
    ended_ms: int  # 0 while it is open
