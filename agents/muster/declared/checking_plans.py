"""Checks plans: names, what comes after what, and what expressions in them may mention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from muster.declared.expressions import Checker, Roots
from muster.workflow.graph import ancestors, cycles
from muster.workflow.places import Problem
from muster.workflow.shapes import ANYTHING, NULL, STRING, Shape, list_of, object_with, union
from muster.workflow.template import Template, Text

_FAILURE = union((object_with({"code": STRING, "message": STRING}), NULL))


def plan_problems(spec: dict[str, Any], path: str, roots: Roots) -> tuple[list[Problem], Shape]:
    """What is wrong with a plan, and the shape of its answer."""
    checker = _PlanChecker(spec, path, roots)
    return checker.problems, checker.check()


class _PlanChecker(Checker):
    def __init__(self, spec: dict[str, Any], path: str, roots: Roots) -> None:
        super().__init__()
        self._spec = spec
        self._path = path
        self._tasks: dict[str, dict[str, Any]] = {}
        for number, task in enumerate(spec.get("tasks", ())):
            if task["name"] in self._tasks:
                text = f"another task is called {task['name']}: give this one another name"
                self.add(f"{path}.tasks[{number}].name", text)
            self._tasks.setdefault(task["name"], task)
        # What has not been answered or done yet is null.
        self._roots = {
            **roots,
            "results": _object(dict.fromkeys(self._tasks, ANYTHING)),
            "failures": _object(dict.fromkeys(self._tasks, _FAILURE)),
        }

    def check(self) -> Shape:
        spec, path = self._spec, self._path
        if "planner" in spec:
            for key in spec.keys() - {"planner"}:
                self.add(f"{path}.{key}", "the planner decides that: leave it out")
            return ANYTHING
        if "tasks" not in spec:
            self.add(path, "a plan has tasks, or a planner that makes them")
            return ANYTHING
        self._questions()
        self._after()
        for number, task in enumerate(spec["tasks"]):
            self._task(task, f"{path}.tasks[{number}]")
        if "answer" not in spec:
            return self._roots["results"]
        return self.template(f"{path}.answer", spec["answer"], self._roots)

    def _questions(self) -> None:
        answers: dict[str, Shape] = {}
        planned = {**self._roots, "planned": list_of(STRING)}
        questions = self._spec.get("questions", ())
        for number, question in enumerate(questions):
            here = f"{self._path}.questions[{number}]"
            if question["id"] in answers:
                self.add(f"{here}.id", f"another question is called {question['id']} already")
            seen = {**planned, "answers": _object(answers)}
            if "when" in question:
                self.condition(f"{here}.when", question["when"], seen)
            shape = self.question(question, here, seen)
            answers[question["id"]] = union((shape, NULL))
        self._roots["answers"] = _object(answers)

    def _after(self) -> None:
        graph: dict[str, list[str]] = {name: [] for name in self._tasks}
        for number, task in enumerate(self._spec["tasks"]):
            for nth, name in enumerate(task.get("after", ())):
                if name in self._tasks:
                    graph[task["name"]].append(name)
                else:
                    known = ", ".join(self._tasks)
                    here = f"{self._path}.tasks[{number}].after[{nth}]"
                    self.add(here, f"there is no task {name}; there are {known}")
        numbers = {task["name"]: number for number, task in enumerate(self._spec["tasks"])}
        for cycle in cycles(graph):
            way = " → ".join((*cycle, cycle[0]))
            here = f"{self._path}.tasks[{numbers[cycle[0]]}].after"
            self.add(here, f"tasks wait for each other: {way}; take one of these out")
        self._ancestors = ancestors(graph)

    def _task(self, task: dict[str, Any], path: str) -> None:
        if "when" in task:
            self.condition(f"{path}.when", task["when"], self._roots)
            self._done_before(task, {"": f"${{{_bare(task['when'])}}}"}, f"{path}.when")
        if "input" in task:
            self.template(f"{path}.input", task["input"], self._roots)
            self._done_before(task, task["input"], f"{path}.input")

    def _done_before(self, task: dict[str, Any], template: Any, path: str) -> None:
        """Results are mentioned of tasks that are done by then."""
        for name in _results_in(template):
            if name in self._tasks and name not in self._ancestors[task["name"]]:
                self.add(path, f"{name} need not be done by then: add {name} to after")


def _bare(text: str) -> str:
    text = text.strip()
    return text[2:-1] if text.startswith("${") else text


def _results_in(template: Any) -> Iterator[str]:
    from muster.wire.jsontext import json_text
    from muster.workflow.template import BadTemplate

    try:
        texts: list[Text] = [text for _, text in Template(json_text(template)).texts]
    except BadTemplate:
        return
    for text in texts:
        for expression in text.expressions:
            for path in expression.paths:
                if path[0] in ("results", "failures") and len(path) > 1:
                    yield str(path[1])


def _object(properties: Mapping[str, Shape]) -> Shape:
    return Shape({"type": "object", "properties": dict(properties), "additionalProperties": False})
