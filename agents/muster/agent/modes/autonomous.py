"""The autonomous mode: work through tasks round robin, with at most two retries each, and nobody
who is asked.

    @agent.capability("pages.check")
    async def check(ctx: Context, urls: list[str]) -> list[Report]:
        return await work_through(ctx, urls, ["page.check", "page.check_slowly"])

The first task goes to the first capability, the second to the second, and so on around; one that
failed goes to the next. Which agent of a capability gets it the mesh decides: one that has failed
it is avoided. Tasks have keys, so a coordinator that was killed finds the children again that it
has begun.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from muster.agent.failures import ChildFailed, Failed
from muster.model import limits
from muster.model.errors import Code, MusterError

if TYPE_CHECKING:
    from muster.agent.context import Context

RETRIES_DEFAULT = 2
AT_ONCE_DEFAULT = 8
_NOT_OURS = frozenset({Code.ABORTED, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a task."""

    number: int  # from 0, in the order of the tasks
    done: bool
    capability: str  # that had it last
    attempts: int  # that were begun, on all capabilities together
    output: Any = None
    code: str = ""  # of the last failure; empty when it is done
    message: str = ""


Told = Callable[[Report], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Turn:
    """So many attempts on one capability, one after the other."""

    capability: str
    attempts: int


def turns_of(number: int, capabilities: Sequence[str], retries: int) -> list[Turn]:
    """Who tries a task, in order: 1 + `retries` attempts in all.

    Attempts on the same capability are one turn, so that the mesh can choose another agent for it.
    """
    around = [capabilities[(number + nth) % len(capabilities)] for nth in range(retries + 1)]
    return [Turn(name, len(list(turn))) for name, turn in itertools.groupby(around)]


async def work_through(
    ctx: Context,
    tasks: Iterable[Any] | AsyncIterable[Any],
    capabilities: Sequence[str],
    *,
    retries: int = RETRIES_DEFAULT,
    at_once: int = AT_ONCE_DEFAULT,
    timeout: float | None = None,
    told: Told | None = None,
) -> list[Report]:
    """Has every task (an input) done, at most `at_once` at a time; reports in the tasks' order.

    A capability may name a version: "page.check@2".

    A failed task is no failure of the whole: its report says it. `timeout` is in seconds, of each
    turn. `told` gets each report when it is there; `ctx.output` makes it a part of the output. The
    tasks come in the same order each time that it runs. Raises `Failed` for more tasks than
    `limits.AUTONOMOUS_TASKS_MAX`, and whatever `tasks` and `told` raise.
    """
    if not capabilities:
        message = "name at least one capability that the tasks can go to"
        raise ValueError(message)
    if not 0 <= retries <= limits.AUTONOMOUS_RETRIES_MAX or at_once < 1:
        message = f"retries are from 0 to {limits.AUTONOMOUS_RETRIES_MAX}, and one is done at least"
        raise ValueError(message)
    worker = _Worker(ctx, capabilities, retries, timeout, told)
    source = _numbered(tasks)
    taking = asyncio.Lock()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker.work(source, taking))
    except BaseExceptionGroup as error:
        raise error.exceptions[0] from None
    return sorted(worker.reports, key=lambda report: report.number)


async def _numbered(tasks: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[tuple[int, Any]]:
    number = 0
    async for task in _each(tasks):
        if number >= limits.AUTONOMOUS_TASKS_MAX:
            most = limits.AUTONOMOUS_TASKS_MAX
            raise Failed("TOO_MANY_TASKS", f"{most:,} tasks at most, in one go", permanent=True)
        yield number, task
        number += 1


async def _each(tasks: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(tasks, AsyncIterable):
        async for task in tasks:
            yield task
    else:
        for task in tasks:
            yield task


class _Worker:
    def __init__(
        self,
        ctx: Context,
        capabilities: Sequence[str],
        retries: int,
        timeout: float | None,
        told: Told | None,
    ) -> None:
        self._ctx = ctx
        self._capabilities = capabilities
        self._retries = retries
        self._timeout = timeout
        self._told = told
        self.reports: list[Report] = []

    async def work(self, source: AsyncIterator[tuple[int, Any]], taking: asyncio.Lock) -> None:
        """Does one task after the other, while there are some. The body of a task."""
        while True:
            async with taking:
                taken = await anext(source, None)
            if taken is None:
                return
            report = await self._do(*taken)
            self.reports.append(report)
            failed = sum(not each.done for each in self.reports)
            self._ctx.progress(-1, f"{len(self.reports)} tasks have ended, {failed} of them failed")
            if not report.done:
                text = f"task {report.number} failed: {report.code}: {report.message}"
                self._ctx.log(text, "warning")
            if self._told is not None:
                await self._told(report)

    async def _do(self, number: int, given: Any) -> Report:
        attempts = 0
        hopeless: set[str] = set()  # what has said that another attempt would fail as well
        report = Report(number, False, "", 0)
        for nth, turn in enumerate(turns_of(number, self._capabilities, self._retries)):
            if turn.capability in hopeless:
                continue
            name, _, version = turn.capability.partition("@")
            handle = await self._ctx.submit(
                name,
                given,
                version=version,
                key=f"{number}.{nth}",
                attempts=turn.attempts,
                timeout=self._timeout,
            )
            try:
                output = await handle.result()
            except (ChildFailed, MusterError) as error:
                if isinstance(error, MusterError) and error.code in _NOT_OURS:
                    raise
                attempts += handle.attempts
                report = _failed(number, turn.capability, attempts, error)
                if isinstance(error, MusterError) or error.permanent:
                    hopeless.add(turn.capability)
            else:
                return Report(number, True, turn.capability, attempts + handle.attempts, output)
        return report


def _failed(
    number: int, capability: str, attempts: int, error: ChildFailed | MusterError
) -> Report:
    code = error.code if isinstance(error, ChildFailed) else error.reason
    return Report(number, False, capability, attempts, None, code, error.message)
