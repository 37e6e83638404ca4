"""Attempts at a host, without a session."""

import asyncio
from typing import Any, cast

from muster.agent import Agent
from muster.agent.session.core import SessionCore
from muster.agent.work import Work
from muster.v1.session_pb2 import Assignment

KEY = ("0" * 16, 1)


def assignment(capability: str = "demo.run", agent: str = "a") -> Assignment:
    made = Assignment(agent=agent, capability=capability, capability_version="1.0.0", attempt=1)
    made.key.contract_id, made.key.epoch = KEY
    made.payload.json = "{}"
    return made


def working(tasks: asyncio.TaskGroup, agent: Agent) -> tuple[Work, SessionCore]:
    core = SessionCore()
    core.open()
    core.welcome(1, now=0.0)
    services = cast(Any, None)
    return Work(core, {agent.name: agent}, tasks, services, lambda: None, 1), core


def runner(ran: list[str]) -> Agent:
    agent = Agent("a")

    @agent.capability("demo.run")
    async def run() -> None:
        ran.append("run")

    return agent


async def test_an_attempt_that_is_cancelled_before_its_first_step_says_that_it_stopped() -> None:
    ran: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        work, core = working(tasks, runner(ran))
        work.assign(assignment())
        assert core.cancel(KEY) is not None
        work.stop(KEY, "CANCELLED")
    frame = core.take(0.0)
    assert frame is not None
    assert (frame.stops, ran) == ([KEY], [])
    assert not core.leases


async def test_an_attempt_runs_and_reports() -> None:
    ran: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        work, core = working(tasks, runner(ran))
        work.assign(assignment())
    frame = core.take(0.0)
    assert frame is not None
    assert ran == ["run"]
    assert [report.payload.json for report in frame.reports] == ["null"]


async def test_a_host_that_leaves_gives_new_attempts_back() -> None:
    async with asyncio.TaskGroup() as tasks:
        work, core = working(tasks, runner([]))
        core.leave()
        work.assign(assignment())
    frame = core.take(0.0)
    assert frame is not None
    assert [key for key, _ in frame.returns] == [KEY]
