"""The ledger: the record of every contract, and the only one.

A ledger has one writer, its owner. Everything that must be true together is in one `Batch`, which
is one transaction; `commit` returns when it is durable, fsync included. The fence is in the
database: rows are inserted only where the conditions beside their statements hold, and a second
response of a contract fails on its primary key, whatever the code above believes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from muster.model.errors import MusterError
from muster.model.ledger import Batch, CommitResult, ContractQuery, Opening, StoredContract
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


Trimmed = Mapping[tuple[str, ContractState], int]


class Ledger(Protocol):
    """The record. Every method may be called from the event loop; none blocks it."""

    async def open(self) -> Opening:
        """Take ownership, migrate, raise the generation and read what is open.

        Raises `LedgerBusy` when another process owns it, and `LedgerForeign`.
        """
        ...

    async def commit(self, batch: Batch) -> CommitResult:
        """Write a batch in one transaction. One call at a time.

        Raises `LedgerFull` or `OwnershipLost`, when nothing is written, or `LedgerBroken`, when
        that is unknown. The same batch may be committed again: what is there is not written twice.
        """
        ...

    async def trim(self, before_ms: int, limit: int) -> Trimmed:
        """Delete contracts that ended before an instant, the oldest first, and all that is kept of
        them; at most `limit`. Returns how many of each tenant ended how. Raises as `commit` does.
        """
        ...

    async def load(self, ids: Sequence[int]) -> list[StoredContract]:
        """The contracts with these ids that are there, oldest first."""
        ...

    async def find(self, scope: tuple[str, str, str]) -> StoredContract | None:
        """The contract of an idempotency scope: (tenant, principal, request_id)."""
        ...

    async def page(self, query: ContractQuery) -> list[StoredContract]:
        """Contracts that fit, newest first. The caller sifts by agent, labels and open states."""
        ...

    async def items(self, contract_id: int, epoch: int, index: int, limit: int) -> list[StoredItem]:
        """Stream items after (epoch, index), in order."""
        ...

    async def history(self, after: int, limit: int) -> list[Commit]:
        """Commits after a position, in order."""
        ...

    async def close(self) -> None:
        """Give up ownership. Safe to call twice, and before `open`."""
        ...


class Member(NamedTuple):
    """A scheduler that shares the ledger, or did. Whether it lives, the ledger's clock says."""

    owner: str
    address: str  # gRPC target at which the others reach it
    live: bool


class ShardOwner(NamedTuple):
    """Who owns a shard; `owner` is "" when it was given up."""

    shard: int
    generation: int
    owner: str


class SharedLedger(Ledger, Protocol):
    """A ledger that several schedulers share by shards: each shard has one owner at a time, and a
    generation, which every change of owner raises.

    `open` claims nothing here. Everything below raises `LedgerFull` while the database does not
    answer.
    """

    async def join(self, owner: str, address: str, lease_seconds: float) -> None:
        """Say that this scheduler lives, for so long unless it says so again."""
        ...

    async def renew(self) -> bool:
        """Say so again. False when it has been forgotten meanwhile: join again."""
        ...

    async def leave(self) -> None:
        """Say that it lives no longer."""
        ...

    async def members(self) -> list[Member]:
        """Every scheduler that has joined and not left."""
        ...

    async def ownership(self) -> list[ShardOwner]:
        """Every shard that has ever had an owner."""
        ...

    async def claim(self, shards: Sequence[int]) -> Opening:
        """Own those of the shards that no other live scheduler owns; returns them, with all that is
        open in them. No commit of an earlier owner takes effect afterwards."""
        ...

    async def release(self, shards: Sequence[int]) -> Trimmed:
        """Give shards up. Returns how many contracts of each tenant in them ended how."""
        ...

    def listen(self) -> AsyncIterator[None]:
        """Yields when somebody may have changed anything of this. Goes on, by itself, after the
        database was away."""
        ...
