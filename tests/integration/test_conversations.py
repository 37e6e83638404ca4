"""Conversations through the whole mesh: found, traced, compressed into memory, looked back at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from muster.agent import Client, ContractFailed, connect
from muster.model import limits
from muster.model.errors import MusterError, NotFound
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.conversation_pb2 import (
    PARTICIPANT_KIND_AGENT,
    PARTICIPANT_KIND_MESH,
    PARTICIPANT_KIND_PRINCIPAL,
    Conversation,
)
from muster.v1.conversation_service_pb2 import ListConversationsRequest
from muster.v1.event_pb2 import EventType
from muster.v1.response_pb2 import CONTRACT_STATE_FAILED, CONTRACT_STATE_SUCCEEDED
from tests.support.asking_agents import asker
from tests.support.meshes import Mesh, all_in_one
from tests.support.processes import until
from tests.support.remembering_agents import keeper, writer

PRINCIPAL, AGENT = PARTICIPANT_KIND_PRINCIPAL, PARTICIPANT_KIND_AGENT


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[Client]:
    async with mesh.host(writer, keeper, asker), connect() as client:
        yield client


async def write(client: Client, topic: str, conversation: str, **more: Any) -> str:
    """Has something written; returns the contract's id."""
    handle = await client.submit(
        "text.write", {"topic": topic, **more}, conversation_id=conversation
    )
    with suppress(ContractFailed):
        await handle.result()
    return await handle.accepted()


async def found_by(client: Client, text: str = "", **conditions: Any) -> list[str]:
    kinds = conditions.pop("agent_kinds", ())
    pages = client.conversations.search(text, ContractFilter(**conditions), agent_kinds=kinds)
    return [match.contract.contract_id async for page in pages for match in page.matches]


async def trace_of(client: Client, conversation: str) -> list[tuple[str, int, str, str]]:
    return [
        (
            EventType.Name(each.event.type).removeprefix("EVENT_TYPE_"),
            each.by_kind,
            each.by,
            each.detail,
        )
        async for each in client.conversations.trace(conversation)
    ]


# --- found ----------------------------------------------------------------------------------------


async def test_conversations_are_listed_by_their_newest_contract(client: Client) -> None:
    for conversation in ("first", "second", "first"):
        await write(client, "wind", conversation)
    await write(client, "nothing", "first")
    await write(client, "nobody's", "")
    found = [each async for each in client.conversations.list()]
    assert [each.id for each in found] == ["first", "second"]
    first = found[0]
    assert (first.contracts, first.open, first.has_more, first.memory_blocks) == (3, 0, False, 0)
    states = {each.state: each.contracts for each in first.states}
    assert states == {CONTRACT_STATE_SUCCEEDED: 2, CONTRACT_STATE_FAILED: 1}
    took_part = {(each.kind, each.name, each.agent_kind) for each in first.participants}
    assert took_part == {(PRINCIPAL, "local", ""), (AGENT, "writer", "writing")}
    assert await client.conversations.get("first") == first
    with pytest.raises(NotFound, match="muster conversation list"):
        await client.conversations.get("third")


async def test_pages_of_conversations_hold_each_once(client: Client) -> None:
    names = [f"c{number}" for number in range(7)]
    for name in (*names, *names[:3]):
        await write(client, "wind", name)
    seen: list[Conversation] = []
    stub, token = client.conversations._stub, ""
    while True:
        page = await stub.ListConversations(_page(token))
        seen += page.conversations
        token = page.next_page_token
        if not token:
            break
    assert [each.id for each in seen] == ["c2", "c1", "c0", "c6", "c5", "c4", "c3"]


def _page(token: str) -> ListConversationsRequest:
    return ListConversationsRequest(page_size=2, page_token=token)


async def test_contracts_are_found_by_words_and_by_what_they_are(client: Client) -> None:
    wind = await write(client, "the high wind", "weather")
    rain = await write(client, "rain", "weather")
    bad = await write(client, "nothing", "weather")
    other = await write(client, "rain", "elsewhere")
    assert await found_by(client, "RAIN") == [other, rain]
    assert await found_by(client, "rain", conversation_id="weather") == [rain]
    assert await found_by(client, "café high", conversation_id="weather") == [wind]
    assert await found_by(client, "nothing to") == [bad]  # its failure says so
    assert await found_by(client, "snow") == []
    assert await found_by(client, conversation_id="weather") == [bad, rain, wind]
    assert await found_by(client, states=[CONTRACT_STATE_FAILED]) == [bad]
    assert await found_by(client, agent="writer", agent_kinds=["writing"], text="high") == [wind]
    assert await found_by(client, "rain", agent_kinds=["reading"]) == []
    assert await found_by(client, "rain", capabilities=["text.check"]) == []


async def test_a_search_says_where_it_has_found_what_and_how_far_it_looked(client: Client) -> None:
    await write(client, "wind", "talk")
    await write(client, "rain", "talk")
    (page,) = [each async for each in client.conversations.search("wind")]
    ((match),) = page.matches
    assert [each.place for each in match.snippets] == ["request", "response"]
    for snippet in match.snippets:
        raw = snippet.text.encode()
        assert raw[snippet.offset : snippet.offset + snippet.length] == b"wind"
    assert (page.searched.read, page.searched.opaque) == (2, 0)
    assert page.searched.HasField("back_to")


async def test_a_search_goes_on_where_a_page_has_stopped(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEARCH_CONTRACTS_MAX", 2)
    monkeypatch.setattr(limits, "SEARCH_READ_AT_ONCE", 2)
    wind = await write(client, "wind", "talk")
    for _ in range(4):
        await write(client, "rain", "talk")
    pages = [each async for each in client.conversations.search("wind")]
    assert [each.searched.read for each in pages] == [2, 2, 1]
    assert [each.contract.contract_id for page in pages for each in page.matches] == [wind]


# --- who did what ---------------------------------------------------------------------------------


async def test_the_trace_tells_who_did_what_in_order(client: Client) -> None:
    await write(client, "wind", "talk", delegate=True)
    await write(client, "nothing", "talk")
    mesh = (PARTICIPANT_KIND_MESH, "")
    text = "text: All about wind. The café is open.; verdict: accepted"
    assert await trace_of(client, "talk") == [
        ("ACCEPTED", PRINCIPAL, "local", "topic: wind; delegate: true"),
        ("LEASED", *mesh, ""),
        ("STARTED", AGENT, "writer", ""),
        ("ACCEPTED", AGENT, "writer", "topic: wind"),
        ("LEASED", *mesh, ""),
        ("STARTED", AGENT, "writer", ""),
        ("ENDED", AGENT, "writer", "wind is fine"),
        ("ENDED", AGENT, "writer", text),
        ("ACCEPTED", PRINCIPAL, "local", "topic: nothing"),
        ("LEASED", *mesh, ""),
        ("STARTED", AGENT, "writer", ""),
        ("ENDED", AGENT, "writer", "there is nothing to write about"),
    ]
    with pytest.raises(NotFound):
        await trace_of(client, "nobody's")


async def test_the_trace_tells_what_was_asked_and_answered(client: Client) -> None:
    handle = await client.submit("ask.colour", {}, conversation_id="talk")
    number = await handle.accepted()
    async for frame in client.inbox.watch(number):
        if frame.asked:
            await client.inbox.answer(number, frame.asked[0].question.id, "blue")
            break
    await handle.result()
    told = await trace_of(client, "talk")
    assert told[3:5] == [
        ("PARKED", AGENT, "asker", "Which colour?"),
        ("ANSWERED", PRINCIPAL, "local", "blue"),
    ]
    await client.conversations.compress("talk")
    block = await client.conversations.block("talk")
    assert [(each.text, each.answer, each.principal) for each in block.questions] == [
        ("Which colour?", "blue", "local")
    ]
    assert '"Which colour?" local answered: blue' in block.text


# --- memory ---------------------------------------------------------------------------------------


async def test_a_conversation_is_compressed_once_and_goes_on_from_there(client: Client) -> None:
    await write(client, "wind", "talk", delegate=True)
    bad = await write(client, "nothing", "talk")
    told = await trace_of(client, "talk")
    made = await client.conversations.compress("talk")
    ((block),) = made.blocks
    assert (block.number, block.contracts, block.attempts, made.has_more) == (1, 3, 3, False)
    assert (block.usage.input_tokens, block.usage.model) == (100, "scribe")
    assert block.last_contract_id == bad
    for line in ("Asked:", "Decided:", "verdict: accepted", "Produced:", "Went wrong:", "NO_TOPIC"):
        assert line in block.text
    whole = await client.conversations.block("talk", 1)
    assert [each.capability for each in whole.digests] == ["text.write", "text.check", "text.write"]
    assert not (await client.conversations.compress("talk")).blocks
    await write(client, "rain", "talk")
    ((second),) = (await client.conversations.compress("talk")).blocks
    assert (second.number, second.contracts) == (2, 1)
    assert [each.number async for each in client.conversations.memory("talk")] == [2, 1]
    assert (await client.conversations.get("talk")).memory_blocks == 2
    assert (await trace_of(client, "talk"))[: len(told)] == told


async def test_what_is_open_is_compressed_when_it_has_ended(client: Client) -> None:
    handle = await client.submit("ask.colour", {}, conversation_id="talk")
    number = await handle.accepted()
    await write(client, "wind", "talk")
    made = await client.conversations.compress("talk")
    assert (len(made.blocks), made.blocks[0].contracts, made.open) == (1, 1, 1)
    async for frame in client.inbox.watch(number):
        if frame.asked:
            await client.inbox.answer(number, frame.asked[0].question.id, "blue")
            break
    await handle.result()
    ((second),) = (await client.conversations.compress("talk")).blocks
    assert second.first_contract_id == second.last_contract_id == number
    assert not (await client.conversations.compress("talk")).blocks


async def test_long_conversations_become_several_blocks(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MEMORY_BLOCK_CONTRACTS_MAX", 3)
    monkeypatch.setattr(limits, "MEMORY_BLOCKS_PER_CALL_MAX", 2)
    for number in range(8):
        await write(client, f"wind {number}", "talk")
    told = await trace_of(client, "talk")
    made = await client.conversations.compress("talk")
    assert ([each.contracts for each in made.blocks], made.has_more) == ([3, 3], True)
    made = await client.conversations.compress("talk")
    assert ([each.contracts for each in made.blocks], made.has_more) == ([2], False)
    assert sorted(await trace_of(client, "talk")) == sorted(told)


async def test_a_capability_may_write_the_memory(client: Client) -> None:
    await write(client, "wind", "talk")
    made = await client.conversations.compress("talk", summarizer="text.summary")
    ((block),) = made.blocks
    assert (block.text, block.summarizer) == ("talk in short: 1 contracts", "text.summary")
    contract = await client.get(block.summarizer_contract_id)
    assert contract.request.labels["muster.memory"] == "talk"
    assert not contract.request.conversation_id  # it is no part of what it sums up


@pytest.mark.parametrize(
    ("summarizer", "why"), [("text.broken_summary", "neither a string"), ("no.such", "no.such")]
)
async def test_what_is_built_in_stands_in_and_says_why(
    client: Client, summarizer: str, why: str
) -> None:
    await write(client, "wind", "talk")
    ((block),) = (await client.conversations.compress("talk", summarizer=summarizer)).blocks
    assert block.summarizer == "extractive.v1"
    assert why in block.fallback_reason
    assert "All about wind" in block.text


async def test_memory_is_searched(client: Client) -> None:
    for topic, conversation in (("wind", "one"), ("rain", "two")):
        await write(client, topic, conversation)
        await client.conversations.compress(conversation)

    async def found(text: str, conversation: str = "") -> list[str]:
        pages = client.conversations.search_memory(text, conversation)
        return [each.block.conversation_id async for page in pages for each in page.matches]

    assert await found("all about") == ["two", "one"]
    assert await found("WIND") == ["one"]
    assert await found("wind", "two") == []


async def test_nothing_of_a_conversation_is_nothing_to_compress(client: Client) -> None:
    with pytest.raises(NotFound) as caught:
        await client.conversations.compress("nobody's")
    assert caught.value.reason == "CONVERSATION_UNKNOWN"
    with pytest.raises(MusterError) as missing:
        await client.conversations.block("nobody's")
    assert missing.value.reason == "MEMORY_UNKNOWN"


# --- looking back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["past.look", "past.look_in_worker", "past.look_in_thread"])
async def test_agents_find_memory_through_their_context(client: Client, where: str) -> None:
    assert await client.call(where) == {"memory": [], "contracts": []}
    await write(client, "wind", "talk")
    await client.conversations.compress("talk")
    await write(client, "rain", "talk")
    await client.conversations.compress("talk")
    seen = await client.call(where, conversation_id="talk")
    assert [each[:2] for each in seen["memory"]] == [[1, 1], [2, 1]]
    assert "All about wind" in seen["memory"][0][2]
    assert seen["contracts"] == [
        ["text.write", "SUCCEEDED", "topic: wind"],
        ["text.write", "SUCCEEDED", "topic: rain"],
    ]
    seen = await client.call(where, {"words": "about rain"}, conversation_id="talk")
    assert [each[0] for each in seen["memory"]] == [2]


# --- who may, and for how long --------------------------------------------------------------------


async def test_other_tenants_see_nothing_of_it(client: Client) -> None:
    await write(client, "wind", "talk")
    await client.conversations.compress("talk")
    async with connect(tenant="globex") as other:
        theirs = other.conversations
        assert [each async for each in theirs.list()] == []
        assert await found_by(other, "wind") == []
        assert [each async for each in theirs.memory("talk")] == []
        pages = theirs.search_memory("wind")
        assert [each async for page in pages for each in page.matches] == []
        for asked in (theirs.get("talk"), theirs.compress("talk"), theirs.block("talk")):
            with pytest.raises(NotFound):
                await asked
        with pytest.raises(NotFound):
            await trace_of(other, "talk")


async def test_memory_and_trace_outlive_a_restart_and_the_contracts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        all_in_one(tmp_path) as mesh,
        mesh.host(writer),
        connect(mesh.scheduler) as client,
    ):
        await write(client, "wind", "talk")
        await write(client, "rain", "talk")
        told = await trace_of(client, "talk")
        await client.conversations.compress("talk")
        await write(client, "snow", "talk")
    monkeypatch.setattr(limits, "RETENTION_SWEEP_SECONDS", 0.05)
    later = all_in_one(tmp_path, retention_seconds=0.0)
    async with later as mesh, connect(mesh.scheduler) as client:

        async def forgotten() -> bool:
            return not await found_by(client, conversation_id="talk")

        await until(forgotten, 10, "the contracts are forgotten")
        found = await client.conversations.get("talk")
        assert (found.contracts, found.memory_blocks) == (0, 1)
        assert [each.id async for each in client.conversations.list()] == ["talk"]
        block = await client.conversations.block("talk")
        assert "All about wind" in block.text
        assert await trace_of(client, "talk") == told
        assert not (await client.conversations.compress("talk")).blocks


async def test_what_is_quiet_is_compressed_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MEMORY_SWEEP_SECONDS", 0.05)
    quiet = all_in_one(tmp_path, memory_quiet_seconds=0.2)
    async with quiet as mesh, mesh.host(writer, asker), connect(mesh.scheduler) as client:
        handle = await client.submit("ask.colour", {}, conversation_id="open")
        for number in range(2):
            await write(client, f"wind {number}", "talk")

        async def compressed() -> bool:
            return (await client.conversations.get("talk")).memory_blocks > 0

        await until(compressed, 10, "the quiet conversation is compressed")
        assert [each.contracts async for each in client.conversations.memory("talk")] == [2]
        assert (await client.conversations.block("talk")).principal == ""
        # It has a contract that waits for somebody, so it is not quiet.
        assert (await client.conversations.get("open")).memory_blocks == 0
        opened = await handle.accepted()
        async for frame in client.inbox.watch(opened):
            if frame.asked:
                await client.inbox.answer(opened, frame.asked[0].question.id, "red")
                break

        async def both() -> bool:
            return (await client.conversations.get("open")).memory_blocks == 1

        await until(both, 10, "the other one is compressed when it has ended")
