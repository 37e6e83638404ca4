"""The planner of agents without code: tasks with rules, and questions where it is unclear.

A task without `when` and `words` is always done, one with them when they fit. A task comes after
those that it names; its own rule is looked at when they are done. What is not answered or done yet,
and what never will be, is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from muster.agent.modes.planning import UNSET, Answer, Case, Planner, Question, Step, Task
from muster.declared.durations import seconds_in
from muster.declared.making import Condition, Made, Words, text_maker

Variables = Mapping[str, Any]


class DeclaredPlanner:
    """A plan as it was written, ready to be gone through with many cases."""

    def __init__(self, spec: Mapping[str, Any], path: str) -> None:
        self._tasks = [
            _DeclaredTask(task, f"{path}.tasks[{number}]")
            for number, task in enumerate(spec["tasks"])
        ]
        self._questions = [
            _DeclaredQuestion(question, f"{path}.questions[{number}]")
            for number, question in enumerate(spec.get("questions", ()))
        ]
        self._answer = Made(spec.get("answer", "${results}"), f"{path}.answer")

    def bound(self, variables: Variables) -> Planner:
        """A planner for one attempt."""
        return lambda case: self._next(case, self._so_far(variables, case))

    def _known(self, case: Case) -> dict[str, Any]:
        tasks = [task.name for task in self._tasks]
        return {
            "answers": {q.id: case.answers.get(q.id) for q in self._questions},
            "results": {name: case.results.get(name) for name in tasks},
            "failures": {name: case.failures.get(name) for name in tasks},
        }

    def _so_far(self, variables: Variables, case: Case) -> dict[str, Any]:
        return {**variables, **self._known(case)}

    def _next(self, case: Case, variables: dict[str, Any]) -> Step:
        planned = self._planned(case, variables)
        names = [*case.ended, *(task.name for task in planned)]
        seen = {**variables, "planned": sorted(names)}
        for question in self._questions:
            if question.id not in case.answers and question.is_open(seen):
                return question.asked(seen)
        if planned:
            return [task.task(partial(self._so_far, variables)) for task in planned]
        return Answer(self._answer.value(variables))

    def _planned(self, case: Case, variables: Variables) -> Sequence[_DeclaredTask]:
        """The tasks to be done now, in one go, those after others included."""
        found: dict[str, _DeclaredTask] = {}
        while True:
            more = [
                task
                for task in self._tasks
                if task.name not in found
                and task.name not in case.ended
                and task.follows(case.ended, found.keys())
                and task.fits(variables)
            ]
            if not more:
                return list(found.values())
            found |= {task.name: task for task in more}


class _DeclaredTask:
    def __init__(self, spec: Mapping[str, Any], path: str) -> None:
        self.name = spec["name"]
        self._spec = spec
        self._capability, _, self._version = spec["capability"].partition("@")
        self._after = tuple(spec.get("after", ()))
        self._when = Condition(spec["when"], f"{path}.when") if "when" in spec else None
        self._words = Words(spec["words"]) if "words" in spec else None
        self._input = Made(spec.get("input", {}), f"{path}.input")

    def follows(self, ended: frozenset[str], planned: object) -> bool:
        """Whether what it comes after is done, or will be before it."""
        has_rule = self._when is not None or self._words is not None
        return all(
            name in ended or (not has_rule and name in planned)  # type: ignore[operator]
            for name in self._after
        )

    def fits(self, variables: Variables) -> bool:
        """Whether its rules say that it is to be done."""
        if self._words is not None and not self._words.within(variables["input"]):
            return False
        return self._when is None or self._when.holds(variables)

    def task(self, variables: Callable[[Case], Variables]) -> Task:
        """The task; its input is made when those before it are done."""
        return Task(
            self.name,
            self._capability,
            lambda case: self._input.value(variables(case)),
            self._after,
            self._spec.get("optional", False),
            self._version,
            seconds_in(dict(self._spec), "timeout"),
        )


class _DeclaredQuestion:
    def __init__(self, spec: Mapping[str, Any], path: str) -> None:
        self.id = spec["id"]
        self._spec = spec
        self._when = Condition(spec["when"], f"{path}.when") if "when" in spec else None
        self._text = text_maker(spec["text"], f"{path}.text")

    def is_open(self, variables: Variables) -> bool:
        """Whether it is to be asked."""
        return self._when is None or self._when.holds(variables)

    def asked(self, variables: Variables) -> Question:
        """The question."""
        return Question(
            self.id,
            self._text(variables),
            self._spec.get("choices", ()),
            self._spec.get("answer", UNSET),
            self._spec.get("default", UNSET),
            seconds_in(dict(self._spec), "deadline"),
        )
