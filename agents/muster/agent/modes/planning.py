"""What a plan is made of, and in which order its tasks are done. Pure.

A planner looks at the case so far and says what comes next: a question to a person, tasks for other
agents, or the answer. It is asked again after each, and must say the same again for the same case:
after a question, and after a crash, everything is gone through from the beginning, and finds the
answers and results that are there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muster.agent.failures import Failed
from muster.model import limits

_NAME = re.compile(r"[A-Za-z0-9_.:=@+-]{1,56}")  # of a child's key, with room for what precedes it
UNSET: Any = object()


@dataclass(frozen=True, slots=True)
class Task:
    """A part of the work, for whoever has the capability.

    `name` is unique within the case. `input` is a value, or a function that makes one of the case
    once the tasks in `after` are done. An `optional` task may fail. `timeout` is in seconds.
    """

    name: str
    capability: str
    input: Any = None
    after: Sequence[str] = ()
    optional: bool = False
    version: str = ""
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked; for the options see `AskOptions`. `id` is unique within the case."""

    id: str
    text: str
    choices: Sequence[Any] = ()
    type: Any = UNSET
    default: Any = UNSET
    deadline: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What the whole work comes to."""

    value: Any = None


Step = Question | Answer | Sequence[Task]


@dataclass(frozen=True, slots=True)
class Case:
    """What is known so far: nothing but the goal at the beginning."""

    goal: Any
    answers: Mapping[str, Any] = field(default_factory=dict)  # of people, by the question's id
    results: Mapping[str, Any] = field(default_factory=dict)  # of tasks, by name
    failures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # Of optional tasks, by name: {"code", "message"}.

    @property
    def ended(self) -> frozenset[str]:
        """The tasks that need not be done any more."""
        return frozenset((*self.results, *self.failures))

    def as_json(self) -> dict[str, Any]:
        """For a planner that is a capability."""
        return {
            "goal": self.goal,
            "answers": dict(self.answers),
            "results": dict(self.results),
            "failures": {name: dict(failure) for name, failure in self.failures.items()},
        }


Planner = Callable[[Case], Step | Awaitable[Step]]


def in_order(tasks: Sequence[Task], case: Case) -> list[Task]:
    """The tasks that are still to be done, each after those that it waits for.

    Raises `Failed` with PLAN_INVALID for a plan that cannot be carried out.
    """
    if len(tasks) > limits.PLAN_TASKS_MAX:
        raise bad_plan(f"it has {len(tasks)} tasks, and {limits.PLAN_TASKS_MAX} is the most")
    waiting: dict[str, Task] = {}
    for task in tasks:
        if not _NAME.fullmatch(task.name):
            raise bad_plan(
                f"{task.name!r} is no task's name: 56 letters, digits and _.:=@+- at most"
            )
        if task.name in waiting:
            raise bad_plan(f"two tasks are called {task.name}")
        waiting[task.name] = task
    for task in tasks:
        for name in task.after:
            if name not in waiting and name not in case.ended:
                raise bad_plan(f"{task.name} comes after {name}, and there is no such task")
    ordered: list[Task] = []
    done = set(case.ended)
    left = [task for task in tasks if task.name not in done]
    while left:
        ready = [task for task in left if done.issuperset(task.after)]
        if not ready:
            names = ", ".join(task.name for task in left)
            raise bad_plan(f"its tasks wait for each other: {names}")
        ordered += ready
        done.update(task.name for task in ready)
        left = [task for task in left if task.name not in done]
    return ordered


def bad_plan(why: str) -> Failed:
    """How an attempt fails whose plan is none."""
    return Failed("PLAN_INVALID", f"the plan cannot be carried out: {why}", permanent=True)


def step_of_json(said: Any) -> Step:
    """What a planner that is a capability has said: {"ask": {"id", "text", …}}, {"tasks": [{"name",
    "capability", …}]} or {"answer": …}. Raises `Failed` with PLAN_INVALID."""
    try:
        match said:
            case {"answer": value, **rest} if not rest:
                return Answer(value)
            case {"ask": dict(question), **rest} if not rest:
                return Question(**question)
            case {"tasks": [*tasks], **rest} if not rest:
                return [Task(**task) for task in tasks]
    except TypeError as error:
        raise bad_plan(str(error).partition("__init__() ")[2] or str(error)) from None
    raise bad_plan("a planner says one of ask, tasks and answer")
