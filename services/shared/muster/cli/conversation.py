"""`muster conversation`: which there are, what is in one, and its memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from muster.agent.asking import state_name
from muster.cli import exits, text
from muster.cli.exits import Trouble
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import (
    out,
    print_json,
    say,
    state_text,
    table,
    without_empty_last,
)
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.conversation_pb2 import ParticipantKind
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.conversation_pb2 import ContractDigest, Conversation, Participant
    from muster.v1.memory_pb2 import MemoryBlock
    from muster.v1.scheduler_service_pb2 import StateCount

_NAMES_SHOWN = 3


async def list_conversations(place: Place, most: int, as_json: bool) -> int:
    """Lists them, newest first."""
    async with connected(place) as client:
        # One more than is shown, to know whether there are more.
        wanted = most + 1 if most else None
        found = [each async for each in client.conversations.list(most=wanted)]
    shown = found[: most or None]
    if as_json:
        print_json([message_json(each) for each in shown])
    elif not shown:
        say("there are no conversations yet; name one with: muster call … --conversation NAME")
    else:
        columns = ["<CONVERSATION", ">CONTRACTS", "<STATES", ">NEWEST", ">MEMORY", "<AGENTS"]
        now = time.time()
        out().print(table(*without_empty_last(columns, [_row(each, now) for each in shown])))
        if len(shown) < len(found):
            say("there are more; show them with: -n 100, or -n 0 for all", style="bright_black")
    return exits.OK


def _row(found: Conversation, now: float) -> list[str | Text]:
    agents = [
        each.name
        for each in found.participants
        if each.kind == ParticipantKind.PARTICIPANT_KIND_AGENT
    ]
    return [
        text.printable(found.id),
        f"{found.contracts}{'+' if found.has_more else ''}",
        _states(found.states, found.open),
        text.short_age(now - seconds_of_timestamp(found.last_time)),
        text.counted(found.memory_blocks, "block") if found.memory_blocks else "",
        text.printable(text.listed(agents, _NAMES_SHOWN)),
    ]


def _states(states: Iterable[StateCount], still_open: int = 0) -> Text:
    line = Text()
    counts = [(each.contracts, state_name(each.state)) for each in states]
    for count, name in [*([(still_open, "open")] if still_open else []), *counts]:
        line.append(", " if line else "")
        line.append_text(Text(f"{count} ") + state_text(name))
    return line


# --- one ------------------------------------------------------------------------------------------


async def show_conversation(place: Place, conversation: str, most: int, as_json: bool) -> int:
    """Shows one: who took part, its newest contracts, its newest memory."""
    wanted = ContractFilter(conversation_id=conversation)
    async with connected(place) as client:
        found = await client.conversations.get(conversation)
        digests = [
            match.contract
            async for page in client.conversations.search("", wanted, most=most or None)
            for match in page.matches
        ]
        memory = [each async for each in client.conversations.memory(conversation, most=1)]
    if as_json:
        made = message_json(found)
        made["newest_contracts"] = [message_json(each) for each in digests]
        made["newest_memory"] = message_json(memory[0]) if memory else None
        print_json(made)
        return exits.OK
    now = time.time()
    _headline(found, now)
    _show_digests(digests)
    if len(digests) < found.contracts:
        say("there are more contracts; show them with: -n 0", style="bright_black")
    if memory:
        _show_block(memory[0], now)
    elif found.contracts > found.open:
        say(f"no memory yet; make it with: muster conversation compress {conversation}")
    return exits.OK


def _headline(found: Conversation, now: float) -> None:
    line = Text("conversation ")
    line.append(text.printable(found.id), style="bold")
    out().print(line)
    count = text.counted(found.contracts, "contract")
    counts = Text(f"  {'the newest ' if found.has_more else ''}{count}")
    if found.contracts:
        counts.append(": ")
        counts.append_text(_states(found.states, found.open))
    else:
        counts.append(" (their retention is over; memory and trace are kept)")
    out().print(counts, soft_wrap=True)
    if found.HasField("first_time"):
        first, last = (seconds_of_timestamp(each) for each in (found.first_time, found.last_time))
        out().print(f"  {text.clock(first, now)} to {text.clock(last, now)}")
    if found.participants:
        out().print(f"  {_took_part(found.participants)}", soft_wrap=True)


def _took_part(participants: Iterable[Participant]) -> str:
    words = []
    for each in participants:
        kind = each.agent_kind or ParticipantKind.Name(each.kind).rpartition("_")[2].lower()
        words.append(f"{each.name} ({kind}, {each.contracts})")
    return text.printable(", ".join(words))


def _show_digests(digests: Iterable[ContractDigest]) -> None:
    rows = [_digest_row(each) for each in digests]
    if rows:
        out().print()
        columns = ["CONTRACT", "STATE", "<CAPABILITY", "<BY", "<ASKED", "<PRODUCED"]
        out().print(table(*without_empty_last(columns, rows)))


def _digest_row(digest: ContractDigest) -> list[str | Text]:
    failure = " ".join(part for part in (digest.code, digest.message) if part)
    return [
        digest.contract_id,
        state_text(state_name(digest.state)),
        text.printable(digest.capability),
        text.printable(digest.agent),
        text.shortened(digest.asked, 60),
        text.shortened(failure or digest.produced, 80),
    ]


# --- memory ---------------------------------------------------------------------------------------


async def compress_conversation(
    place: Place, conversation: str, summarizer: str, timeout: str, as_json: bool
) -> int:
    """Makes memory of what has ended."""
    try:
        seconds = text.parse_duration(timeout)
    except ValueError as error:
        raise Trouble(f"--timeout: {error}", exits.USAGE) from None
    made: list[MemoryBlock] = []
    async with connected(place) as client:
        while True:
            reply = await client.conversations.compress(
                conversation, summarizer=summarizer, timeout=seconds
            )
            made.extend(reply.blocks)
            if not reply.has_more:
                break
    if as_json:
        blocks = [message_json(each) for each in made]
        print_json({"blocks": blocks, "open": reply.open})
        return exits.OK
    for block in made:
        _show_block(block, time.time())
    if not made:
        say("there is nothing new to compress")
    if reply.open:
        say(f"{text.counted(reply.open, 'contract')} still open, and left for later")
    return exits.OK


async def show_memory(
    place: Place, conversation: str, number: int, most: int, as_json: bool
) -> int:
    """Shows blocks, newest first, or one with its contracts."""
    async with connected(place) as client:
        if number:
            found = [await client.conversations.block(conversation, number)]
        else:
            blocks = client.conversations.memory(conversation, most=most or None)
            found = [each async for each in blocks]
        if not found:
            await client.conversations.get(conversation)  # raises where there is no such
    if as_json:
        shown = [message_json(each) for each in found]
        print_json(shown[0] if number else shown)
        return exits.OK
    if not found:
        say(f"no memory yet; make it with: muster conversation compress {conversation}")
    now = time.time()
    for block in found:
        _show_block(block, now)
        _show_digests(block.digests)
    return exits.OK


def _show_block(block: MemoryBlock, now: float) -> None:
    out().print()
    line = Text("memory block ")
    line.append(str(block.number), style="bold")
    made = text.age(now - seconds_of_timestamp(block.create_time))
    ago = "just now" if made == "now" else f"{made} ago"
    facts = [text.counted(block.contracts, "contract"), f"by {block.summarizer}", f"made {ago}"]
    line.append(f"  {' · '.join(facts)}", style="bright_black")
    out().print(line, soft_wrap=True)
    if block.fallback_reason:
        reason = text.printable(block.fallback_reason)
        out().print(f"  not as asked: {reason}", style="yellow", soft_wrap=True)
    for each in block.text.splitlines():
        style = "bold" if each.endswith(":") and not each.startswith("-") else ""
        out().print(f"  {text.printable(each)}", style=style, soft_wrap=True)
