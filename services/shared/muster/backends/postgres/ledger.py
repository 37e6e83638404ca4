"""`Ledger` on a PostgreSQL database, which several schedulers may share.

Positions: each scheduler counts its own commits, and a commit's events stand in the outbox once for
each shard that they touch, all with that commit's position. A claim lets the count go on from the
largest position in the shards that it takes. So within a shard positions only grow, from owner to
owner, and they become visible in that order: an owner's commits are one after the other, and a
claim waits for those of the owner before. A cursor is therefore one position for each shard; for
the only owner of all of them, one position.

One sequence over all schedulers was rejected: numbers are drawn before they are committed, so a
reader who has seen 8 may have missed 7. So was one row for each commit, by writer: a shard's events
would have to be looked for with every writer that ever had it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import Any

from muster.backends.ledger_base import (
    Commit,
    Ended,
    LedgerBusy,
    LedgerFull,
    Member,
    ShardCommit,
    ShardOwner,
    StoredItem,
)
from muster.backends.postgres import history
from muster.backends.postgres.database import Database
from muster.backends.postgres.shards import Shards
from muster.backends.postgres.writer import Writer
from muster.backends.sql import asked, conversations, openings, reads, records
from muster.model.conversations import BriefContract, ConversationQuery
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
from muster.model.limits import SHARDS
from muster.model.records import RowQuery

START_SECONDS = 15.0  # a server that starts together with us may take as long
RETRY_SECONDS = 0.25
NUL = "\0"  # no text in the database has one, and to ask for it is an error there


class PostgresLedger:
    """The ledger in a database. `owner` names this process, and no other, in messages and there."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner
        self._shards = Shards(database, owner)
        self._writer = Writer(database, owner)
        self._closed = False

    # --- owners -----------------------------------------------------------------------------------

    async def open(self) -> Opening:
        """See `Ledger.open`."""
        async with self._or_close():
            await self._reach()
            await self._database.migrate()
            await self._shards.be_alone()
            opening = await self.claim(range(SHARDS))
            if len(opening.generations) < SHARDS:
                owners = {each.owner for each in await self.ownership()} - {"", self._owner}
                raise LedgerBusy(f"the ledger is in use by {', '.join(sorted(owners))}")
            return opening

    async def connect(self) -> None:
        """See `Ledger.connect`."""
        async with self._or_close():
            await self._reach()
            await self._database.migrate()
            await self._shards.be_one_of_several()
            await self._writer.connect()

    @asynccontextmanager
    async def _or_close(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self.close()
            raise

    async def _reach(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                await self._database.require_durable()
                return
            except LedgerFull:
                if time.monotonic() > give_up:
                    raise LedgerBusy(
                        f"PostgreSQL at {self._database.place} does not answer; start it, or "
                        "choose another ledger (MUSTER_LEDGER)"
                    ) from None
            await asyncio.sleep(RETRY_SECONDS)

    async def join(self, address: str, lease_seconds: float) -> None:
        """See `Ledger.join`."""
        await self._shards.join(address, lease_seconds)

    async def renew(self) -> bool:
        """See `Ledger.renew`."""
        return await self._shards.renew()

    async def members(self) -> list[Member]:
        """See `Ledger.members`."""
        return await self._shards.members()

    async def ownership(self) -> list[ShardOwner]:
        """See `Ledger.ownership`."""
        return await self._shards.ownership()

    async def claim(self, shards: Collection[int]) -> Opening:
        """See `Ledger.claim`."""
        async with self._writer.lock:
            taken, position = await self._shards.claim(shards)
            self._writer.owned.update(taken)
            self._writer.position = max(self._writer.position, position)
        if taken:
            await self._writer.connect()
        read = partial(openings.opening, generations=taken, position=self._writer.position)
        return await self._database.read(read, seconds=None)

    async def release(self, shards: Collection[int]) -> None:
        """See `Ledger.release`."""
        async with self._writer.lock:
            await self._shards.release(shards)
            for shard in shards:
                self._writer.owned.pop(shard, None)

    def changes(self) -> AsyncIterator[None]:
        """See `Ledger.changes`."""
        return self._shards.changes()

    async def published(self) -> dict[int, int]:
        """See `Ledger.published`."""
        return await self._database.read(reads.published_positions)

    async def mark_published(self, positions: Mapping[int, int]) -> None:
        """See `Ledger.mark_published`."""
        await self._database.write(partial(history.mark_published, positions=positions))

    async def close(self) -> None:
        """See `Ledger.close`."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        await self._shards.close()
        await self._database.close()

    # --- contracts --------------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> CommitResult:
        """See `Ledger.commit`."""
        return await self._writer.commit(batch)

    async def trim(self, before_ms: int, limit: int) -> Ended:
        """See `Ledger.trim`."""
        return await self._writer.trim(before_ms, limit)

    async def mark_settled(
        self, generations: Mapping[int, int], marks: Mapping[int, Settled]
    ) -> None:
        """See `Ledger.mark_settled`."""
        await self._writer.mark_settled(generations, marks)

    async def ended(self, shards: Collection[int], last_id: int, but: Collection[int]) -> Ended:
        """See `Ledger.ended`."""
        read = partial(openings.ended, shards=shards, last_id=last_id, but=but)
        return await self._database.read(read, seconds=None)

    async def load(self, ids: Sequence[int]) -> list[StoredContract]:
        """See `Ledger.load`."""
        return await self._database.read(partial(reads.by_ids, numbers=ids))

    async def find(self, scope: tuple[str, str, str]) -> StoredContract | None:
        """See `Ledger.find`."""
        if NUL in "".join(scope):
            return None
        return await self._database.read(partial(reads.by_scope, scope=scope))

    async def questions(self, subject_ids: Sequence[int]) -> list[StoredQuestion]:
        """See `Ledger.questions`."""
        return await self._database.read(partial(asked.of_subjects, subjects=subject_ids))

    async def page(self, query: ContractQuery) -> list[StoredContract]:
        """See `Ledger.page`."""
        if NUL in "".join((query.tenant, query.conversation, *query.capabilities)):
            return []
        return await self._database.read(partial(reads.page, query=query))

    async def conversing(self, query: ConversationQuery) -> list[tuple[int, str, str]]:
        """See `Ledger.conversing`."""
        if NUL in query.tenant + query.conversation:
            return []
        return await self._database.read(partial(conversations.ids, query=query))

    async def briefs(self, query: ConversationQuery) -> list[BriefContract]:
        """See `Ledger.briefs`."""
        if NUL in query.tenant + query.conversation:
            return []
        return await self._database.read(partial(conversations.briefs, query=query))

    async def items(self, contract_id: int, epoch: int, index: int, limit: int) -> list[StoredItem]:
        """See `Ledger.items`."""
        read = partial(reads.items, key=(contract_id, epoch, index), limit=limit)
        return [StoredItem(*row) for row in await self._database.read(read)]

    async def versions(self, tenant: str, capability: str) -> list[CatalogueRow]:
        """See `Ledger.versions`."""
        return await self._database.read(
            partial(reads.versions, tenant=tenant, capability=capability)
        )

    async def rows(self, query: RowQuery) -> list[tuple[Any, ...]]:
        """See `Ledger.rows`."""
        texts = chain.from_iterable(
            [value] if isinstance(value, str) else value
            for value in (*query.equal.values(), query.after or ())
            if isinstance(value, str | tuple | list | frozenset)
        )
        if any(NUL in text for text in texts if isinstance(text, str)):
            return []
        return await self._database.read(partial(records.rows, query=query))

    async def history(self, after: int, limit: int) -> list[Commit]:
        """See `Ledger.history`."""
        shards = sorted(self._writer.owned)
        read = partial(history.of_owner, shards=shards, after=after, limit=limit)
        return await self._database.read(read)

    async def shard_history(self, after: Mapping[int, int], limit: int) -> list[ShardCommit]:
        """See `Ledger.shard_history`."""
        return await self._database.read(partial(history.of_shards, after=after, limit=limit))
