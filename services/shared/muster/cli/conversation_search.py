"""`muster conversation search`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from muster.agent.asking import state_name
from muster.agent.queries import contract_filter
from muster.cli import exits, text
from muster.cli.call_input import labels_of
from muster.cli.contracts import states_of
from muster.cli.events import instant_of
from muster.cli.exits import Trouble
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, say, state_text
from muster.wire.times import seconds_of_timestamp, timestamp_of_seconds

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.v1.conversation_service_pb2 import ContractMatch, MemoryMatch, Searched, Snippet


@dataclass(frozen=True)
class SearchOptions:
    """What the command line says."""

    text: str
    conversation: str
    agent: str
    kinds: Sequence[str]
    capabilities: Sequence[str]
    states: Sequence[str]
    labels: Sequence[str]
    since: str
    memory: bool
    most: int


@dataclass
class _Looked:
    """What all pages together have looked at."""

    read: int = 0
    opaque: int = 0
    back_to: float = 0.0

    def add(self, searched: Searched) -> None:
        self.read += searched.read
        self.opaque += searched.opaque
        if searched.HasField("back_to"):
            self.back_to = seconds_of_timestamp(searched.back_to)


async def search(place: Place, options: SearchOptions, as_json: bool) -> int:
    """Searches contracts, or memory."""
    if options.memory and not options.text:
        raise Trouble("name the words to look for in memory", exits.USAGE)
    looked = _Looked()
    async with connected(place) as client:
        if options.memory:
            blocks = await _blocks(client, options, looked)
            found = [message_json(each) for each in blocks]
        else:
            matches = await _contracts(client, options, looked)
            found = [message_json(each) for each in matches]
    if as_json:
        searched = {"read": looked.read, "opaque": looked.opaque, "back_to": looked.back_to}
        print_json({"matches": found, "searched": searched})
        return exits.OK
    if options.memory:
        for block in blocks:
            _print_block(block)
    else:
        now = time.time()
        for match in matches:
            _print_contract(match, now)
    _say_how_far(len(found), looked, options)
    return exits.OK


async def _contracts(
    client: Client, options: SearchOptions, looked: _Looked
) -> list[ContractMatch]:
    wanted = contract_filter(
        states=states_of(options.states),
        capabilities=options.capabilities,
        conversation_id=options.conversation,
        agent=options.agent,
        labels=labels_of(options.labels),
    )
    if options.since:
        wanted.accepted_since.CopyFrom(timestamp_of_seconds(instant_of(options.since)))
    found: list[ContractMatch] = []
    pages = client.conversations.search(
        options.text, wanted, agent_kinds=options.kinds, most=options.most or None
    )
    async for page in pages:
        found.extend(page.matches)
        looked.add(page.searched)
    return found


async def _blocks(client: Client, options: SearchOptions, looked: _Looked) -> list[MemoryMatch]:
    found: list[MemoryMatch] = []
    pages = client.conversations.search_memory(
        options.text, options.conversation, most=options.most or None
    )
    async for page in pages:
        found.extend(page.matches)
        looked.add(page.searched)
    return found


def _print_contract(match: ContractMatch, now: float) -> None:
    contract = match.contract
    line = Text()
    line.append(contract.contract_id, "bold")
    line.append("  ").append_text(state_text(state_name(contract.state)))
    facts = [contract.capability]
    facts += [f"by {contract.agent}"] if contract.agent else []
    facts.append(text.short_age(now - seconds_of_timestamp(contract.accept_time)))
    line.append(f"  {text.printable('  '.join(facts))}")
    out().print(line, soft_wrap=True)
    _print_snippets(match.snippets)


def _print_block(match: MemoryMatch) -> None:
    block = match.block
    line = Text()
    line.append(text.printable(block.conversation_id), "bold")
    line.append(f"  block {block.number}  {text.counted(block.contracts, 'contract')}")
    out().print(line, soft_wrap=True)
    _print_snippets(match.snippets)


def _print_snippets(snippets: Iterable[Snippet]) -> None:
    for each in snippets:
        raw = each.text.encode()
        hit = each.offset + each.length
        parts = (raw[: each.offset], raw[each.offset : hit], raw[hit:])
        before, word, after = (text.printable(part.decode(errors="replace")) for part in parts)
        line = Text()
        line.append(f"  {each.place:<10}  ", "bright_black")
        line.append(before).append(word, "bold yellow").append(after)
        out().print(line, soft_wrap=True)


def _say_how_far(found: int, looked: _Looked, options: SearchOptions) -> None:
    what = "memory block" if options.memory else "contract"
    words = [f"{found} of {text.counted(looked.read, what)} searched"]
    if looked.back_to:
        words.append(f"back to {text.clock(looked.back_to, time.time())}")
    if looked.opaque:
        words.append(f"{text.counted(looked.opaque, 'payload')} without text not searched")
    if options.most and found == options.most:
        words.append("there may be more: -n 100, or -n 0 for all")
    say("; ".join(words), style="bright_black")
