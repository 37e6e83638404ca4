"""The four modes of agents, as the examples show them: real hosts, on a real mesh."""

from __future__ import annotations

import asyncio
import gc
import signal
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muster.agent import Agent, Client, Context, ContractFailed, Event, Failed, connect
from muster.agent.modes.autonomous import Report, work_through
from muster.agent.modes.continuous import Continuous, Mind
from muster.servers.server import ServerProcess
from muster.v1.inbox_service_pb2 import InboxEntry
from tests.sources import ROOT
from tests.support.meshes import Mesh, all_in_one
from tests.support.mode_hosts import hosts, offered, shop
from tests.support.processes import free_port, until


@pytest.fixture(params=["embedded"])
def bus_url(request: pytest.FixtureRequest) -> str:
    if request.param == "embedded":
        return ""
    server: ServerProcess = request.getfixturevalue("nats_process")
    return server.server.url


@pytest.fixture
async def mesh(
    tmp_path: Path, bus_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Mesh]:
    async with all_in_one(tmp_path / "mesh", bus=bus_url) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


# --- collaborative --------------------------------------------------------------------------------


async def test_the_planning_example_asks_a_person_and_goes_on(mesh: Mesh, tmp_path: Path) -> None:
    async with hosts(tmp_path, mesh) as started, connect() as client:
        await started.run("collaborative.yaml")
        await started.run("parts.yaml")
        await offered(client, "letter.write", "letter.join")
        handle = await client.submit(
            "letter.write", {"to": "Ada", "about": "the new opening hours"}
        )
        number = await handle.accepted()
        entry = await asked(client, number)
        assert entry.question.text == "In which tone shall Ada be told about the new opening hours?"
        assert [choice.json for choice in entry.question.choices] == ['"formal"', '"friendly"']
        parked = await client.get(number)
        assert not [each async for each in client.list(parent_id=number)], parked
        await client.inbox.answer(number, entry.question.id, "friendly")
        result = await handle.result()
        assert result["tone"] == "friendly"
        assert result["letter"].splitlines() == [
            "Hi Ada,",
            "",
            "a word about when we are there: the new opening hours.",
            "",
            "The shop around the corner",
        ]
        children = [each async for each in client.list(parent_id=number)]
        assert sorted(each.request.capability.name for each in children) == [
            *("letter.body", "letter.join", "letter.opening")
        ]


async def asked(client: Client, number: str) -> InboxEntry:
    async for frame in client.inbox.watch(number):
        for entry in frame.asked:
            return entry
    raise AssertionError(number)


async def test_a_plan_leaves_out_what_is_clear_and_takes_what_fits(
    mesh: Mesh, tmp_path: Path
) -> None:
    async with hosts(tmp_path, mesh) as started, connect() as client:
        await started.run("collaborative.yaml", "parts.yaml")
        await offered(client, "letter.write", "letter.join")
        given = {"to": "Mr Babbage", "about": "our being closed on Friday", "tone": "formal"}
        result = await client.call("letter.write", given, timeout=30)
        assert result["letter"].startswith("Dear Mr Babbage,\n")
        assert result["letter"].endswith("P.S. We are sorry for the trouble.")


# --- autonomous -----------------------------------------------------------------------------------


async def test_the_autonomous_example_finds_out_which_ports_are_open(
    mesh: Mesh, tmp_path: Path
) -> None:
    closed = f"127.0.0.1:{free_port()}"
    async with hosts(tmp_path, mesh) as started, connect() as client:
        await started.run("autonomous.yaml", "checkers.py")
        await offered(client, "ports.check_all", "port.check", "port.check_patiently")
        addresses = [mesh.scheduler, closed, "nowhere", mesh.executor]
        found = await client.call("ports.check_all", {"addresses": addresses}, timeout=60)
        assert found["open"] == [mesh.scheduler, mesh.executor]
        assert [(each["address"], each["attempts"]) for each in found["closed"]] == [
            (closed, 3),
            ("nowhere", 2),  # both said that another attempt would fail as well
        ]
        assert found["closed"][0]["why"] == f"nothing listens at {closed}"


async def test_each_task_gets_three_attempts_at_most_wherever_they_are(mesh: Mesh) -> None:
    tried: Counter[str] = Counter()
    where: list[tuple[str, str]] = []
    boss, hand = Agent("boss"), Agent("hand", max_in_flight=8)

    def do(task: str, capability: str) -> str:
        tried[task] += 1
        where.append((task, capability))
        kind = task.partition("-")[0]
        if kind == "bad" or (kind == "flaky" and tried[task] == 1):
            raise Failed("BROKEN", f"{task} broke")
        if kind == "hopeless":
            raise Failed("HOPELESS", "it never will", permanent=True)
        return task.upper()

    @hand.capability("do.here")
    async def here(task: str) -> str:
        return do(task, "do.here")

    @hand.capability("do.there")
    async def there(task: str) -> str:
        return do(task, "do.there")

    @boss.capability("work.all")
    async def all_of_them(ctx: Context, tasks: list[str], by: list[str]) -> list[Report]:
        return await work_through(ctx, [{"task": each} for each in tasks], by, at_once=3)

    async with mesh.host(boss, hand), connect() as client:
        for by in (["do.here"], ["do.here", "do.there"], ["do.here", "no.one"]):
            tried.clear()
            where.clear()
            tasks = ["good-1", "flaky-1", "bad-1", "hopeless-1", "good-2", "bad-2"]
            reports = await client.call("work.all", {"tasks": tasks, "by": by}, timeout=60)
            assert [each["number"] for each in reports] == list(range(6))
            done = dict(zip(tasks, reports, strict=True))
            if "no.one" not in by:
                assert [task for task in tasks if done[task]["done"]] == [
                    *("good-1", "flaky-1", "good-2")
                ]
                assert tried["bad-1"] == tried["bad-2"] == 3, by
                assert tried["flaky-1"] == 2
                assert tried["hopeless-1"] == len(by)
                assert all(done[task]["attempts"] == tried[task] for task in tasks), reports
            assert max(tried.values()) <= 3
            assert done["bad-1"]["code"] in ("BROKEN", "CAPABILITY_UNKNOWN")
        first = dict(reversed(where))
        assert first["good-1"] == "do.here"


async def test_a_killed_coordinator_finds_what_it_has_begun(mesh: Mesh) -> None:
    tried: Counter[str] = Counter()
    began, go_on = asyncio.Event(), asyncio.Event()
    boss, hand = Agent("boss"), Agent("hand", max_in_flight=8)

    @hand.capability("do.here")
    async def here(task: str) -> str:
        tried[task] += 1
        return task

    @boss.capability("work.all")
    async def all_of_them(ctx: Context) -> list[Report]:
        async def told(report: Report) -> None:
            if ctx.attempt == 1 and report.number == 1:
                began.set()
                await go_on.wait()
                raise Failed("CRASHED", "in the middle")

        return await work_through(ctx, [{"task": str(n)} for n in range(4)], ["do.here"], told=told)

    async with mesh.host(boss, hand), connect() as client:
        handle = await client.submit("work.all", {}, timeout=60)
        await began.wait()
        await until(lambda: len(tried) == 4, 10, "the others are done")
        go_on.set()
        reports = await handle.result()
        assert [each["output"] for each in reports] == ["0", "1", "2", "3"]
        assert set(tried.values()) == {1}


# --- continuous -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bus_url", ["embedded", "nats"], indirect=True)
@pytest.mark.parametrize("example", ["continuous.yaml", "continuous.py"])
async def test_each_event_counts_once_however_often_the_host_is_killed(
    mesh: Mesh, tmp_path: Path, example: str
) -> None:
    items = ["tea" if number % 3 == 0 else "jam" for number in range(150)]
    async with (
        hosts(tmp_path, mesh) as started,
        mesh.host(shop, name="shop"),
        connect() as client,
    ):
        process = await started.run(example)
        await offered(client, "till.report")
        placing = await client.submit("orders.place_many", {"items": items}, timeout=60)
        for _ in range(3):
            so_far = (await client.call("till.report", timeout=30))["orders"]

            async def has_gone_on(before: int = so_far) -> bool:
                report = await client.call("till.report", timeout=30)
                return bool(report["orders"] >= min(before + 10, len(items)))

            await until(has_gone_on, 30, "some orders more are counted")
            await process.kill()
            process = await started.run(example)
        await placing.result()

        async def all_are_counted() -> bool:
            return bool((await client.call("till.report", timeout=30))["orders"] >= len(items))

        await until(all_are_counted, 60, "all are counted")
        report = await client.call("till.report", timeout=30)
        lately = [f"order {n + 1}: {items[n]}" for n in range(130, 150)]
        assert report["orders"] == len(items)
        assert report["drinks"] == items.count("tea")
        assert [each.split(":")[0] for each in report["lately"]] == [
            each.split(":")[0] for each in lately
        ]


@pytest.mark.parametrize("bus_url", ["embedded", "nats"], indirect=True)
async def test_an_event_that_was_kept_and_not_acknowledged_counts_once(
    mesh: Mesh, tmp_path: Path
) -> None:
    async with (
        hosts(tmp_path, mesh) as started,
        mesh.host(shop, name="shop"),
        connect() as client,
    ):
        file = ROOT / "tests/support/dying_till.py"
        process = await started.run(file)
        await offered(client, "till.report")
        items = ["tea", "death", "jam", "death", "jam"]
        await client.call("orders.place_many", {"items": items}, timeout=30)
        for _ in range(2):
            assert await process.wait(30) == -signal.SIGKILL
            process = await started.run(file)

        async def all_are_counted() -> bool:
            return bool((await client.call("till.report", timeout=30))["orders"] == items)

        await until(all_are_counted, 30, "each is counted once, in order")
        assert (await client.call("till.report"))["events"] == len(items)


async def test_orders_that_come_while_nobody_is_there_wait(mesh: Mesh, tmp_path: Path) -> None:
    async with (
        hosts(tmp_path, mesh) as started,
        mesh.host(shop, name="shop"),
        connect() as client,
    ):
        process = await started.run("continuous.yaml")
        await offered(client, "till.report")
        await process.kill()
        await client.call("orders.place_many", {"items": ["tea", "jam"]}, timeout=30)
        await started.run("continuous.yaml")

        async def both_are_counted() -> bool:
            return bool((await client.call("till.report", timeout=60))["orders"] == 2)

        await until(both_are_counted, 30, "both are counted")


async def test_an_idle_agent_lets_go_of_its_mind_and_the_next_event_wakes_it(mesh: Mesh) -> None:
    till, let_go = Agent("till"), list[str]()
    running = Continuous(till, {"orders": 0}, idle_seconds=0.3)
    minds: list[weakref.ref[Mind]] = []

    @running.on("orders.placed")
    async def count(event: Event, mind: Mind) -> None:
        mind.state["orders"] += 1
        minds.append(weakref.ref(mind))

    @running.when_idle
    def close(agent: str) -> None:
        let_go.append(agent)

    @till.capability("till.orders")
    async def orders(ctx: Context) -> int:
        return int((await running.read(ctx)).state["orders"])

    @till.capability("till.forget")
    async def forget(ctx: Context) -> None:
        async with running.update(ctx) as mind:
            mind.state["orders"] = 100

    async with mesh.host(till), mesh.host(shop, name="shop"), connect() as client:
        assert running.awake == frozenset()
        await client.call("orders.place_many", {"items": ["tea"]})
        await until(lambda: running.awake == {"till"}, 5, "the event has woken it")
        await until(lambda: let_go == ["till"], 5, "it sleeps")
        assert running.awake == frozenset()
        gc.collect()
        assert minds[0]() is None, "nothing holds what it had in mind"
        assert await client.call("till.orders") == 1
        assert running.awake == frozenset(), "who only asks does not wake it"
        await client.call("till.forget")
        await client.call("orders.place_many", {"items": ["jam"]})

        async def has_counted() -> bool:
            return bool(await client.call("till.orders") == 101)

        await until(has_counted, 5, "it goes on from its state")
        await until(lambda: let_go == ["till", "till"], 5, "it sleeps again")


async def test_an_event_that_cannot_be_dealt_with_is_passed_over_and_said_so(mesh: Mesh) -> None:
    till, calls = Agent("till"), Counter[str]()
    running = Continuous(till, {"orders": 0})

    @running.on("orders.placed")
    async def count(event: Event, mind: Mind) -> None:
        calls[event.data["item"]] += 1
        mind.state["orders"] += 1
        if event.data["item"] == "poison":
            raise ValueError("it is poison")

    @till.capability("till.mind")
    async def look(ctx: Context) -> dict[str, object]:
        mind = await running.read(ctx)
        notes = [each.text for each in mind.history]
        return {"orders": mind.state["orders"], "failed": mind.failed, "notes": notes}

    async with mesh.host(till), mesh.host(shop, name="shop"), connect() as client:
        await client.call("orders.place_many", {"items": ["tea", "poison", "jam"]})
        await until(lambda: calls["jam"] == 1, 20, "the last one is heard")

        async def is_kept() -> bool:
            return bool((await client.call("till.mind"))["orders"] == 2)

        await until(is_kept, 5, "the last one is kept")
        mind = await client.call("till.mind")
        assert calls == {"tea": 1, "poison": 3, "jam": 1}
        assert mind == {"orders": 2, "failed": 1, "notes": ["failed: ValueError: it is poison"]}


# --- a workflow, and what cannot be done ----------------------------------------------------------


async def test_a_failed_part_fails_the_whole(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "lonely.yaml"
    file.write_text(
        "name: lonely\nmode: collaborative\ncapabilities:\n"
        "- name: lonely.plan\n  plan: {tasks: [{name: a, capability: no.one}]}\n"
    )
    async with hosts(tmp_path, mesh) as started, connect() as client:
        await started.run(file)
        await offered(client, "lonely.plan")
        with pytest.raises(ContractFailed, match=r"no\.one"):
            await client.call("lonely.plan", {}, timeout=30)
