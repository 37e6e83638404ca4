"""Makes memory blocks. Only the owner of the conversation's shard does, one call at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from muster.model import limits
from muster.model.conversations import BriefContract
from muster.model.errors import ResourceExhausted
from muster.model.ids import format_id, shard_of_scope
from muster.model.records import Action
from muster.runtime.principal import Principal
from muster.scheduler.conversations import blocks
from muster.scheduler.conversations.blocks import Newest
from muster.scheduler.conversations.covering import choose, ids_of, uncovered
from muster.scheduler.conversations.digests import (
    Read,
    digest_of,
    piece_of,
    questions_of,
    read,
)
from muster.scheduler.conversations.overview import conversation_unknown, participants
from muster.scheduler.conversations.summarizing import NoText, text_by_capability
from muster.scheduler.conversations.summary import NAME, Answered, Piece, Spent, summarize
from muster.scheduler.conversations.trace import entries_of, in_order
from muster.scheduler.conversations.tracing import LOADED_AT_ONCE
from muster.scheduler.messages_out import set_ms, set_seconds
from muster.scheduler.recording import record_row
from muster.scheduler.service import Scheduler
from muster.v1.conversation_pb2 import ContractDigest, TraceEntry
from muster.v1.conversation_service_pb2 import CompressConversationResponse
from muster.v1.memory_pb2 import MemoryBlock, MemoryQuestion
from muster.wire.keyed_locks import KeyedLocks
from muster.wire.times import seconds_of_duration


def shard_of_conversation(tenant: str, conversation: str) -> int:
    """The shard whose owner makes a conversation's memory."""
    return shard_of_scope(tenant, "", f"conversation:{conversation}")


@dataclass
class _Material:
    """What contracts give to a block."""

    pieces: list[Piece] = field(default_factory=list)
    digests: list[ContractDigest] = field(default_factory=list)
    entries: list[TraceEntry] = field(default_factory=list)
    questions: list[MemoryQuestion] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)
    spent: Spent = field(default_factory=Spent)

    def add(self, found: Read) -> None:
        """One more contract."""
        self.pieces.append(piece_of(found))
        self.digests.append(digest_of(found))
        self.entries.extend(entries_of(found))
        self.questions.extend(questions_of(found.stored))
        if found.response is not None and found.response.HasField("usage"):
            usage, spent = found.response.usage, self.spent
            self.spent = Spent(
                spent.input_tokens + usage.input_tokens,
                spent.output_tokens + usage.output_tokens,
                spent.cost_micros + usage.cost_micros,
                spent.cpu_seconds + seconds_of_duration(usage.cpu_time),
            )
            if usage.model:
                self.models[usage.model] += 1


class Compressing:
    """Makes memory of the conversations whose shards this scheduler owns."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._locks = KeyedLocks()

    async def compress(
        self,
        caller: Principal,
        conversation: str,
        summarizer: str = "",
        seconds: float = limits.MEMORY_SUMMARIZER_SECONDS,
    ) -> CompressConversationResponse:
        """Makes blocks of all that has ended and is in none, as many as one call may.

        A caller without a name is the mesh itself. Raises `NotFound` where there is nothing of such
        a conversation, and `Unavailable` where the shard is somebody else's by now.
        """
        async with self._locks.hold((caller.tenant, conversation)):
            reply = CompressConversationResponse()
            most = 1 if summarizer else limits.MEMORY_BLOCKS_PER_CALL_MAX
            for _ in range(most):
                block = await self._next(caller, conversation, summarizer, seconds, reply)
                if block is None:
                    return reply
                reply.blocks.append(blocks.without_digests(block))
                if not reply.has_more:
                    return reply
            return reply

    async def _next(
        self,
        caller: Principal,
        conversation: str,
        summarizer: str,
        seconds: float,
        reply: CompressConversationResponse,
    ) -> MemoryBlock | None:
        """Makes one block; None where there is nothing to make one of."""
        ledger, tenant = self._scheduler.ledger, caller.tenant
        newest = await blocks.newest(ledger, tenant, conversation)
        async with aclosing(uncovered(ledger, tenant, conversation, newest)) as found:
            choice = await choose(found)
        reply.open, reply.has_more = choice.open, choice.has_more
        if not choice.chosen:
            if not newest.number and not choice.open:
                raise conversation_unknown(conversation)
            return None
        if newest.number >= limits.MEMORY_BLOCKS_PER_CONVERSATION_MAX:
            raise ResourceExhausted(
                f"a conversation has at most {limits.MEMORY_BLOCKS_PER_CONVERSATION_MAX} memory "
                "blocks; begin another conversation",
                reason="TOO_MANY",
            )
        ids = ids_of(choice.chosen)
        material = await self._material(ids)
        if not material.pieces:
            return None  # their retention was over just now
        block = _block(caller, conversation, newest, choice.chosen, material)
        shard = shard_of_conversation(tenant, conversation)
        await self._write_text(caller, block, material, summarizer, shard, seconds)
        now_ms = self._scheduler.clock().wall_ms
        set_ms(block.create_time, now_ms)
        floor_id = choice.floor_id(newest, now_ms, ids[-1])
        entries = in_order(material.entries)
        row = blocks.row_of(tenant, block, now_ms, ids, floor_id, entries)
        await record_row(self._scheduler, Action.ADD, blocks.TABLE, row, shard)
        return block

    async def _material(self, ids: Sequence[int]) -> _Material:
        material = _Material()
        for start in range(0, len(ids), LOADED_AT_ONCE):
            loaded = await self._scheduler.ledger.load(ids[start : start + LOADED_AT_ONCE])
            for stored in loaded:
                material.add(read(stored))
        return material

    async def _write_text(
        self,
        caller: Principal,
        block: MemoryBlock,
        material: _Material,
        summarizer: str,
        shard: int,
        seconds: float,
    ) -> None:
        # Weighing words takes tens of milliseconds, which nobody else should wait for.
        block.text = await asyncio.to_thread(
            summarize,
            material.pieces,
            [
                Answered(int(each.contract_id, 16), each.text, each.answer, each.principal)
                for each in material.questions
            ],
            material.spent,
            limits.MEMORY_TEXT_BYTES_MAX,
        )
        block.summarizer = summarizer or NAME
        if not summarizer:
            return
        try:
            text, contract_id = await text_by_capability(
                self._scheduler, caller, block, shard, seconds
            )
        except NoText as error:
            block.summarizer, block.fallback_reason = NAME, f"{summarizer}: {error}"[:1_000]
            return
        block.summarizer_contract_id = contract_id
        block.text = text.encode()[: limits.MEMORY_TEXT_BYTES_MAX].decode(errors="ignore")


def _block(
    caller: Principal,
    conversation: str,
    newest: Newest,
    chosen: Sequence[BriefContract],
    material: _Material,
) -> MemoryBlock:
    """The block, but for its text."""
    made = MemoryBlock(
        conversation_id=conversation,
        number=newest.number + 1,
        principal=caller.name,
        first_contract_id=format_id(chosen[0].id),
        last_contract_id=format_id(chosen[-1].id),
        contracts=len(chosen),
        attempts=sum(piece.attempts for piece in material.pieces),
        digests=material.digests,
        questions=material.questions[-limits.MEMORY_QUESTIONS_MAX :],
        participants=participants(chosen),
    )
    set_ms(made.first_time, min(each.accepted_ms for each in chosen))
    set_ms(made.last_time, max(each.ended_ms for each in chosen))
    states = Counter(each.state for each in chosen if each.state is not None)
    for state, count in sorted(states.items()):
        made.states.add(state=int(state), contracts=count)
    spent = material.spent
    made.usage.input_tokens, made.usage.output_tokens = spent.input_tokens, spent.output_tokens
    made.usage.cost_micros = spent.cost_micros
    if spent.cpu_seconds:
        set_seconds(made.usage.cpu_time, spent.cpu_seconds)
    if material.models:
        made.usage.model = min(material.models, key=lambda name: (-material.models[name], name))
    return made
