"""Makes memory of conversations that have been quiet for a while, where that is wanted.

All contracts of conversations are walked once, as they come to be old enough; a conversation that
is not quiet yet, or has something open, waits and is looked at again. Each scheduler looks after
those whose shards it owns; when it takes others over it walks from the beginning, for compressing
what is compressed costs little and changes nothing.
"""

from __future__ import annotations

import asyncio

from muster.model import limits
from muster.model.conversations import ConversationQuery
from muster.model.errors import MusterError, NotFound
from muster.model.ids import first_id_at
from muster.runtime.logs import get_logger
from muster.runtime.principal import Principal
from muster.scheduler.conversations.compressing import Compressing, shard_of_conversation
from muster.scheduler.conversations.overview import conversation_of
from muster.scheduler.service import Scheduler
from muster.wire.times import ms_of_timestamp

_log = get_logger("muster.scheduler")


class Quieting:
    """Compresses what is quiet, while `run` runs."""

    def __init__(self, scheduler: Scheduler, compressing: Compressing, seconds: float) -> None:
        self._scheduler = scheduler
        self._compressing = compressing
        self._quiet_ms = int(seconds * 1000)
        self._after = 0  # the contract that was walked to
        self._owned: frozenset[int] = frozenset()
        self._waiting: dict[tuple[str, str], None] = {}  # in the order in which they came

    async def run(self) -> None:
        """Without end."""
        while True:
            await asyncio.sleep(limits.MEMORY_SWEEP_SECONDS)
            try:
                await self.sweep()
            except MusterError as error:
                _log.warning("memory of quiet conversations waits", why=error.message)

    async def sweep(self) -> None:
        """One look. Raises `MusterError` while the ledger is away."""
        owned = frozenset(self._scheduler.generations)
        if not owned <= self._owned:
            self._after = 0
        self._owned = owned
        quiet_since = self._scheduler.clock().wall_ms - self._quiet_ms
        await self._walk(first_id_at(quiet_since))
        for tenant, conversation in list(self._waiting):
            if await self._is_done(tenant, conversation, quiet_since):
                del self._waiting[tenant, conversation]

    async def _walk(self, before: int) -> None:
        most = limits.CONVERSATION_SCAN_MAX
        while len(self._waiting) < limits.MEMORY_WAITING_MAX:
            found = await self._scheduler.ledger.conversing(
                ConversationQuery(after=self._after, before=before, limit=most)
            )
            for _, tenant, conversation in found:
                if shard_of_conversation(tenant, conversation) in self._owned:
                    self._waiting[tenant, conversation] = None
            if found:
                self._after = found[-1][0]
            if len(found) < most:
                return

    async def _is_done(self, tenant: str, conversation: str, quiet_since: int) -> bool:
        """Whether nothing is left to do about a conversation until it gets another contract."""
        if shard_of_conversation(tenant, conversation) not in self._scheduler.generations:
            return True
        try:
            found = await conversation_of(self._scheduler.ledger, tenant, conversation)
            if found.open or ms_of_timestamp(found.last_time) > quiet_since:
                return False
            # No principal of that tenant asks for it: it is the mesh itself.
            mesh = Principal(tenant, "")
            while (await self._compressing.compress(mesh, conversation)).has_more:
                pass
        except NotFound:
            pass  # its retention is over
        return True
