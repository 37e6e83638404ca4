"""The ledger: the record of every contract, and the only one.

Each shard has one writer, its owner; an embedded ledger has one owner for all of them. Everything
that must be true together is in one `Batch`, which is one transaction; `commit` returns when it is
durable, fsync included. The fence is in the database: rows are inserted only where the conditions
beside their statements hold, and a second response of a contract fails on its primary key, whatever
the code above believes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from muster.model.conversations import BriefContract, ConversationQuery
from muster.model.errors import MusterError
from muster.model.ledger import (
    Batch,
    CatalogueRow,
    CommitResult,
    ContractQuery,
    Opening,
    Settled,
    StoredContract,
    StoredQuestion,
)
from muster.model.records import RowQuery
from muster.model.states import ContractState


class LedgerBusy(MusterError):
    """Another process owns the ledger."""

    reason = "NOT_READY"


class LedgerForeign(MusterError):
    """This program cannot use the ledger; the message tells a person what can."""

    reason = "NOT_READY"


class LedgerFull(MusterError):
    """The ledger cannot take the batch now, and lost nothing: commit the same batch again later."""

    reason = "LEDGER_UNAVAILABLE"


class LedgerBroken(Exception):
    """The ledger failed, and whether it took the last batch is unknown.

    The process must end before it tells anybody anything: the next one finds out in the record.
    """


class OwnershipLost(Exception):
    """Another owner has raised the generation: stop placing, nothing was written."""


class StoredItem(NamedTuple):
    """A stream item: `item` is a serialized muster.v1.StreamItem."""

    epoch: int
    idx: int
    kind: int
    item: bytes


class Commit(NamedTuple):
    """The lifecycle events of one transaction, as (contract id, sequence)."""

    position: int
    events: Sequence[tuple[int, int]]


class ShardCommit(NamedTuple):
    """The lifecycle events of one transaction in one shard, as (contract id, sequence)."""

    shard: int
    position: int
    events: Sequence[tuple[int, int]]


class Member(NamedTuple):
    """A scheduler that has joined; `live` until its lease has run out."""

    owner: str
    address: str
    live: bool


class ShardOwner(NamedTuple):
    """Who has a shard; `owner` is empty when it was given up, or nobody ever had it."""

    shard: int
    generation: int
    owner: str
    live: bool
    trimmed: int  # positions up to this one are no longer in the shard's history


# How many contracts, by shard, tenant and how they ended.
Ended = Mapping[tuple[int, str, ContractState], int]


class Ledger(Protocol):
    """The record. Every method may be called from the event loop; none blocks it.

    Reads raise `MusterError` (LEDGER_UNAVAILABLE) while a database elsewhere does not answer.
    """

    async def open(self) -> Opening:
        """Take ownership of every shard, migrate, raise the generation and read what is open.

        Raises `LedgerBusy` when another process owns it, and `LedgerForeign`.
        """
        ...

    async def commit(self, batch: Batch) -> CommitResult:
        """Write a batch in one transaction. One call at a time.

        Raises `LedgerFull` when the same batch must be committed again: whether it is there already
        or not, then it is there once. Raises `OwnershipLost` when a shard that it touches is no
        longer ours and nothing is written, or `LedgerBroken` when that is unknown. The same batch
        may always be committed again: what is there is not written twice.
        """
        ...

    async def trim(self, before_ms: int, limit: int) -> Ended:
        """Delete contracts that ended before an instant, the oldest first, and all that is kept of
        them; at most `limit`. Returns how many of each shard and tenant ended how. Raises as
        `commit` does.
        """
        ...

    async def mark_settled(
        self, generations: Mapping[int, int], marks: Mapping[int, Settled]
    ) -> None:
        """Note of shards that whoever claims them next need not look farther back for open
        contracts. Whatever may not be committed yet counts as open. What is no longer of these
        generations is left alone. Raises as `commit` does.
        """
        ...

    async def ended(self, shards: Collection[int], last_id: int, but: Collection[int]) -> Ended:
        """How many contracts of these shards have ended, up to an id and without some that were
        open then. Takes seconds for a million; nothing waits for it meanwhile.
        """
        ...

    async def load(self, ids: Sequence[int]) -> list[StoredContract]:
        """The contracts with these ids that are there, oldest first."""
        ...

    async def find(self, scope: tuple[str, str, str]) -> StoredContract | None:
        """The contract of an idempotency scope: (tenant, principal, request_id)."""
        ...

    async def questions(self, subject_ids: Sequence[int]) -> list[StoredQuestion]:
        """Everything that these contracts and runs have asked, those of each in order."""
        ...

    async def page(self, query: ContractQuery) -> list[StoredContract]:
        """Contracts that fit, newest first. The caller sifts by agent, labels and open states."""
        ...

    async def conversing(self, query: ConversationQuery) -> list[tuple[int, str, str]]:
        """(id, tenant, conversation) of contracts that are in one and fit."""
        ...

    async def briefs(self, query: ConversationQuery) -> list[BriefContract]:
        """Contracts that are in a conversation and fit, without their payloads."""
        ...

    async def items(self, contract_id: int, epoch: int, index: int, limit: int) -> list[StoredItem]:
        """Stream items after (epoch, index), in order."""
        ...

    async def versions(self, tenant: str, capability: str) -> list[CatalogueRow]:
        """Every version of a capability that was ever registered, by whichever owner."""
        ...

    async def rows(self, query: RowQuery) -> list[tuple[Any, ...]]:
        """Rows of a table of `muster.model.records`, columns in the order that stands there."""
        ...

    async def history(self, after: int, limit: int) -> list[Commit]:
        """Commits to our shards after a position, in order."""
        ...

    async def published(self) -> dict[int, int]:
        """How far the events of each shard have been published, as `mark_published` was told."""
        ...

    async def mark_published(self, positions: Mapping[int, int]) -> None:
        """Events of these shards have been published up to these positions; never goes back.

        Events beyond are kept ten times as long as others. Where one process owns every shard, the
        position of shard 0 is that of all. Raises `MusterError` (LEDGER_UNAVAILABLE).
        """
        ...

    async def close(self) -> None:
        """Leave, and give up ownership. Safe to call twice, and before `open`."""
        ...

    # --- several owners, where the database can be shared; embedded ledgers have one --------------

    async def connect(self) -> None:
        """Migrate, and own nothing yet: what `open` is to several. Raises as `open` does."""
        ...

    async def join(self, address: str, lease_seconds: float) -> None:
        """Become a member, for so long, on the database's clock; a newer one of our name wins.

        This and all that follows raises `LedgerFull` while the database does not answer.
        """
        ...

    async def renew(self) -> bool:
        """Stay a member for as long again. False when we no longer are, as another has joined by
        our name, or we were away for so long that we were forgotten: `join` again, and `claim`.
        """
        ...

    async def members(self) -> list[Member]:
        """Who has joined, and has not left."""
        ...

    async def ownership(self) -> list[ShardOwner]:
        """Who has which shard, by shard."""
        ...

    async def claim(self, shards: Collection[int]) -> Opening:
        """Take those of the shards that nobody live has, or that we have ourselves.

        Raises their generation durably, waits for what earlier owners are still committing, and
        returns what is in them; `generations` says which they are. A member whose own lease has run
        out takes none.
        """
        ...

    async def release(self, shards: Collection[int]) -> None:
        """Give shards up, after what is being committed to them."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yields at once, and whenever members or owners may have changed, so that one looks again.

        A hint: look now and then anyway, as a connection can break without a word.
        """
        ...

    async def shard_history(self, after: Mapping[int, int], limit: int) -> list[ShardCommit]:
        """Commits of shards, whoever wrote them: at most `limit` of each after its position, by
        shard and in order. `ShardOwner.trimmed` says from where on history is whole.
        """
        ...
