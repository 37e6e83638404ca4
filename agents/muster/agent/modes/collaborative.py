"""The collaborative mode: plan, have others do the parts, ask a person where something is unclear.

    def plan(case: Case) -> Step:
        if "tone" not in case.answers:
            return Question("tone", "Which tone?", choices=["formal", "friendly"])
        if not case.results:
            return [Task("draft", "text.draft", {"tone": case.answers["tone"]})]
        return Answer(case.results["draft"])

    @agent.capability("letter.write")
    async def write(ctx: Context, about: str) -> str:
        return await collaborate(ctx, plan, {"about": about})

What `planning` says of planners holds. One that does not say the same each time, as a language
model does not, belongs into a capability: name that instead of the function, and what it has said
is recorded as the response of a child, and found again.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from muster.agent.failures import ChildFailed
from muster.agent.modes.planning import (
    UNSET,
    Answer,
    Case,
    Planner,
    Question,
    Step,
    Task,
    bad_plan,
    in_order,
    step_of_json,
)
from muster.model import limits
from muster.model.errors import MusterError

if TYPE_CHECKING:
    from muster.agent.context import Context
    from muster.agent.inquiry import AskOptions

__all__ = ["Answer", "Case", "Planner", "Question", "Step", "Task", "collaborate"]


async def collaborate(ctx: Context, planner: Planner | str, goal: Any) -> Any:
    """Does what the planner says, until that is an answer; returns its value.

    `planner` is a function, or the name of a capability that takes a case and gives a step as JSON
    (`Case.as_json`, `step_of_json`). Tasks that do not wait for each other are done at once; what
    comes after one that failed is not begun. Raises `ChildFailed` (or the `MusterError` that
    refused it) for the first task that failed and was not optional, once all have ended, and
    `Failed` with PLAN_INVALID.
    """
    case = Case(goal)
    for number in range(1, limits.PLAN_STEPS_MAX + 1):
        step = await _next_step(ctx, planner, case, number)
        if isinstance(step, Answer):
            return step.value
        if isinstance(step, Question):
            case = await _asked(ctx, step, case)
        else:
            case = await _carried_out(ctx, step, case)
    raise bad_plan(f"after {limits.PLAN_STEPS_MAX} steps there is no answer")


async def _next_step(ctx: Context, planner: Planner | str, case: Case, number: int) -> Step:
    if isinstance(planner, str):
        return step_of_json(await ctx.call(planner, case.as_json(), key=f"plan.{number}"))
    step = planner(case)
    return await step if inspect.isawaitable(step) else step


async def _asked(ctx: Context, question: Question, case: Case) -> Case:
    if question.id in case.answers:
        raise bad_plan(f"{question.id} has been asked, and is asked again")
    options: AskOptions = {"id": question.id, "choices": question.choices}
    if question.type is not UNSET:
        options["type"] = question.type
    if question.default is not UNSET:
        options["default"] = question.default
    if question.deadline is not None:
        options["deadline"] = question.deadline
    answer = await ctx.ask(question.text, **options)
    return Case(case.goal, {**case.answers, question.id: answer}, case.results, case.failures)


async def _carried_out(ctx: Context, tasks: Sequence[Task], case: Case) -> Case:
    ordered = in_order(tasks, case)
    if not ordered:
        raise bad_plan("it has no task that is still to be done, and no answer")
    return await _Round(ctx, ordered, case).run()


class _Round:
    """Tasks that are done together, each as soon as those are done that it waits for."""

    def __init__(self, ctx: Context, ordered: Sequence[Task], case: Case) -> None:
        self._ctx = ctx
        self._ordered = ordered
        self._case = case
        self._results = dict(case.results)
        self._failures = {name: dict(failure) for name, failure in case.failures.items()}
        self._errors: dict[str, ChildFailed | MusterError] = {}
        self._begun: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> Case:
        """The case after it. Raises `ChildFailed`, and what making an input raises."""
        try:
            async with asyncio.TaskGroup() as group:
                for task in self._ordered:  # those that it waits for are there already
                    self._begun[task.name] = group.create_task(self._do(task))
        except BaseExceptionGroup as error:
            raise error.exceptions[0] from None
        for task in self._ordered:
            if task.name in self._errors and not task.optional:
                raise self._errors[task.name]
        return self._so_far()

    def _so_far(self) -> Case:
        case = self._case
        return Case(case.goal, case.answers, dict(self._results), dict(self._failures))

    async def _do(self, task: Task) -> None:
        for name in task.after:
            if name in self._begun:
                await asyncio.wait([self._begun[name]])
        missing = [name for name in task.after if name not in self._results]
        if missing:
            text = f"{missing[0]}, which it comes after, has failed"
            self._failures[task.name] = {"code": "NOT_BEGUN", "message": text}
            return
        given = task.input(self._so_far()) if callable(task.input) else task.input
        try:
            self._results[task.name] = await self._ctx.call(
                task.capability,
                given,
                version=task.version,
                key=f"task.{task.name}",
                timeout=task.timeout,
            )
        except (ChildFailed, MusterError) as error:
            self._errors[task.name] = error
            code = error.code if isinstance(error, ChildFailed) else error.reason
            self._failures[task.name] = {"code": code, "message": error.message}
            self._ctx.log(f"{task.name} failed: {error}", "warning")
        self._ctx.progress(-1, f"{task.name} is done")
