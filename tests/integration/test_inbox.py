"""Questions to people through the whole mesh: asked, listed, answered, and gone on from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from muster.agent import Client, ContractFailed, connect
from muster.model.errors import FailedPrecondition, InvalidArgument, NotFound
from muster.v1.inbox_service_pb2 import SUBJECT_KIND_CONTRACT, InboxEntry, ListQuestionsRequest
from muster.v1.response_pb2 import CONTRACT_STATE_PARKED as PARKED
from muster.v1.response_pb2 import RESPONSE_AUTHOR_MESH
from muster.wire.times import seconds_of_timestamp
from tests.support.asking_agents import asker, runs
from tests.support.meshes import Mesh


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[Client]:
    """A client of a mesh with an agent that asks."""
    async with mesh.host(asker), connect() as client:
        yield client


async def question_of(client: Client, contract_id: str) -> InboxEntry:
    """What a contract asks, as soon as it does."""
    async for frame in client.inbox.watch(contract_id):
        for entry in frame.asked:
            return entry
    raise AssertionError(contract_id)


async def test_a_question_is_asked_answered_and_gone_on_from(client: Client) -> None:
    handle = await client.submit("ask.colour", {})
    number = await handle.accepted()
    entry = await question_of(client, number)
    assert (entry.subject_id, entry.kind) == (number, SUBJECT_KIND_CONTRACT)
    assert (entry.capability, entry.agent) == ("ask.colour", "asker")
    assert (entry.question.text, len(entry.question.choices)) == ("Which colour?", 2)
    assert [each.subject_id async for each in client.inbox.list()] == [number]
    parked = await client.get(number)
    assert parked.state == PARKED
    assert parked.question.id == entry.question.id
    answer = await client.inbox.answer(number, entry.question.id, "blue")
    assert (answer.value.json, answer.principal) == ('"blue"', "local")
    assert await handle.result() == "painted blue"
    assert [attempt for contract, attempt in runs if contract == number] == [1, 2]
    assert not [each async for each in client.inbox.list()]
    contract = await client.get(number)
    assert [each.answer.value.json for each in contract.questions] == ['"blue"']
    assert (await client.inbox.get(number)).answer == answer


async def test_events_tell_of_the_question_and_of_the_answer(client: Client) -> None:
    handle = await client.submit("ask.colour", {})
    number = await handle.accepted()
    entry = await question_of(client, number)
    await client.inbox.answer(number, entry.question.id, "red")
    await handle.result()
    changes = [each.type async for each in client.follow(number) if hasattr(each, "type")]
    assert changes == [
        *("ACCEPTED", "LEASED", "STARTED", "PARKED", "ANSWERED"),
        *("LEASED", "STARTED", "ENDED"),
    ]


@pytest.mark.parametrize("capability", ["ask.in_worker", "ask.in_thread"])
async def test_sync_code_asks_too(client: Client, capability: str) -> None:
    handle = await client.submit(capability, {"number": 40})
    number = await handle.accepted()
    entry = await question_of(client, number)
    await client.inbox.answer(number, entry.question.id, 2)
    assert await handle.result() == 42


async def test_several_questions_are_asked_one_after_the_other(client: Client) -> None:
    handle = await client.submit("ask.several", {})
    number = await handle.accepted()
    for text, value in (("Whose?", "Ann"), ("How many?", 3), ("Which size?", "large")):
        entry = await question_of(client, number)
        assert entry.question.text == text
        await client.inbox.answer(number, entry.question.id, value)
        await answered(client, number, entry.question.id)
    entry = await question_of(client, number)
    await client.inbox.answer(number, entry.question.id, "Bob")
    assert await handle.result() == ["Ann", "4", "LARGE", "Bob"]


async def answered(client: Client, number: str, question_id: str) -> None:
    """The inbox no longer shows a question."""
    async for frame in client.inbox.watch(number):
        if frame.caught_up or any(each.question_id == question_id for each in frame.closed):
            return


async def test_questions_of_a_task_group_are_asked_in_turn(client: Client) -> None:
    handle = await client.submit("ask.in_a_group", {})
    number = await handle.accepted()
    for name in ("a", "b"):
        entry = await question_of(client, number)
        assert entry.question.id == name
        await client.inbox.answer(number, name, name.upper())
    assert await handle.result() == ["A", "B"]


async def test_an_answer_is_given_once(client: Client) -> None:
    handle = await client.submit("ask.colour", {})
    number = await handle.accepted()
    name = (await question_of(client, number)).question.id
    first = await client.inbox.answer(number, name, "red")
    assert await client.inbox.answer(number, name, "red") == first
    with pytest.raises(FailedPrecondition) as refused:
        await client.inbox.answer(number, name, "blue")
    assert refused.value.reason == "ALREADY_ANSWERED"
    async with connect(principal="bob") as other:
        with pytest.raises(FailedPrecondition, match="local"):
            await other.inbox.answer(number, name, "red")
    assert await handle.result() == "painted red"


async def test_an_answer_that_does_not_fit_is_refused_and_says_why(client: Client) -> None:
    handle = await client.submit("ask.colour", {})
    number = await handle.accepted()
    name = (await question_of(client, number)).question.id
    with pytest.raises(InvalidArgument, match='none of the choices: "red", "blue"') as refused:
        await client.inbox.answer(number, name, "green")
    assert refused.value.reason == "ANSWER_MISMATCH"
    await client.inbox.answer(number, name, "red")
    await handle.result()
    handle = await client.submit("ask.in_thread", {"number": 1})
    number = await handle.accepted()
    name = (await question_of(client, number)).question.id
    with pytest.raises(InvalidArgument, match="is not of type"):
        await client.inbox.answer(number, name, "two")
    await client.cancel(number)


async def test_the_default_is_taken_at_the_deadline(client: Client) -> None:
    handle = await client.submit("ask.colour", {"deadline": 0.2, "default": "red"})
    number = await handle.accepted()
    assert await handle.result() == "painted red"
    (asked,) = (await client.get(number)).questions
    assert (asked.answer.value.json, asked.answer.principal) == ('"red"', "")


async def test_without_a_default_nobody_answering_fails_the_contract(client: Client) -> None:
    handle = await client.submit("ask.colour", {"deadline": 0.2})
    number = await handle.accepted()
    with pytest.raises(ContractFailed, match="INPUT_TIMEOUT"):
        await handle.result()
    contract = await client.get(number)
    assert contract.response.author == RESPONSE_AUTHOR_MESH
    name = contract.questions[0].question.id
    with pytest.raises(FailedPrecondition) as refused:
        await client.inbox.answer(number, name, "red")
    assert refused.value.reason == "QUESTION_CLOSED"


async def test_a_parked_contract_is_cancelled_and_expires(client: Client) -> None:
    handle = await client.submit("ask.colour", {})
    number = await handle.accepted()
    await question_of(client, number)
    await client.cancel(number)
    with pytest.raises(ContractFailed, match="CANCELLED"):
        await handle.result()
    assert not [each async for each in client.inbox.list()]
    handle = await client.submit("ask.colour", {}, timeout=0.7)
    number = await handle.accepted()
    entry = await question_of(client, number)
    contract = await client.get(number)
    deadline = seconds_of_timestamp(contract.request.deadline)
    assert seconds_of_timestamp(entry.deadline) == pytest.approx(deadline)
    with pytest.raises(ContractFailed, match="DEADLINE_EXCEEDED"):
        await handle.result()


async def test_a_parked_contract_takes_no_slot(client: Client) -> None:
    handles = [await client.submit("ask.colour", {}) for _ in range(25)]
    numbers = [await handle.accepted() for handle in handles]
    for number in numbers:
        await question_of(client, number)
    # The agent has ten slots, and 25 contracts of it wait.
    found = [each async for each in client.inbox.list()]
    assert sorted(each.subject_id for each in found) == sorted(numbers)
    assert [each.ask_time.ToNanoseconds() for each in found] == sorted(
        each.ask_time.ToNanoseconds() for each in found
    )
    statistics = await client.statistics()
    assert [each.contracts for each in statistics.states if each.state == PARKED] == [25]
    assert not any(row.queued or row.active for row in statistics.capabilities)
    for each in found:
        await client.inbox.answer(each.subject_id, each.question.id, "red")
    assert await client.gather(handles) == ["painted red"] * 25


async def test_nobody_sees_or_answers_what_another_tenant_is_asked(client: Client) -> None:
    handle = await client.submit("ask.colour", {})
    number = await handle.accepted()
    name = (await question_of(client, number)).question.id
    async with connect(tenant="other") as other:
        assert not [each async for each in other.inbox.list()]
        with pytest.raises(NotFound) as unknown:
            await other.inbox.answer(number, name, "red")
        assert unknown.value.reason == "QUESTION_UNKNOWN"
        with pytest.raises(NotFound):
            await other.inbox.get(number, name)
    await client.cancel(number)


async def test_a_watch_tells_what_waits_and_what_changes(client: Client) -> None:
    first = await client.submit("ask.colour", {})
    one = await first.accepted()
    name = (await question_of(client, one)).question.id
    seen: list[str] = []
    two = ""
    async for frame in client.inbox.watch():
        seen += [f"asked {each.subject_id}" for each in frame.asked]
        seen += [f"closed {each.subject_id} {each.answer.value.json}" for each in frame.closed]
        if frame.caught_up:
            assert seen == [f"asked {one}"]
            second = await client.submit("ask.colour", {})
            two = await second.accepted()
        elif len(seen) == 2:
            assert seen[1] == f"asked {two}"
            await client.inbox.answer(one, name, "blue")
            await client.cancel(two)
        elif len(seen) == 4:
            break
    assert sorted(seen[2:]) == sorted([f'closed {one} "blue"', f"closed {two} "])
    assert await first.result() == "painted blue"


async def test_pages_of_the_inbox_have_each_question_once(client: Client) -> None:
    handles = [await client.submit("ask.colour", {}) for _ in range(7)]
    numbers = [await handle.accepted() for handle in handles]
    await asyncio.gather(*(question_of(client, number) for number in numbers))
    found: list[str] = []
    token = ""
    while True:
        request = ListQuestionsRequest(page_size=3, page_token=token)
        page = await client.inbox._ask(client._services.inbox.ListQuestions, request)
        assert len(page.entries) <= 3
        found += [each.subject_id for each in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert sorted(found) == sorted(numbers)
    for number in numbers:
        await client.cancel(number)
