"""Checks an agent: everything that can be known to be wrong before it runs.

Its value fits the schema. Each problem has its place and says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from muster.declared.checking_plans import plan_problems
from muster.declared.checking_times import schedule_problems
from muster.declared.expressions import Checker
from muster.declared.models import BadModel, problem_of, provider_of
from muster.declared.schema import ACTIONS
from muster.model.subjects import TOPIC, is_pattern, is_topic
from muster.v1.capability_pb2 import Schema
from muster.wire.jsontext import json_text
from muster.workflow.fitting import mismatches
from muster.workflow.lookups import BadSchema, validator_of
from muster.workflow.places import Problem, inside, joined
from muster.workflow.shapes import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Shape,
    constant,
    list_of,
    list_with,
    object_with,
    shape_of_schema,
)

_LABEL = re.compile(r"[A-Za-z0-9_./-]{1,63}")
_SECRET = re.compile(r"(^|_)(key|token|secret|password)s?$", re.IGNORECASE)
_REFERENCE = re.compile(r"(env|file):.+")

_EVENT = object_with(
    {
        **dict.fromkeys(("subject", "topic", "id", "type", "source", "about", "time"), STRING),
        "data": ANYTHING,
    }
)
_CONTRACT = object_with({"id": STRING, "attempt": INTEGER, "conversation_id": STRING})
_ENTRY = object_with({"time": NUMBER, "topic": STRING, "text": STRING})
_REPORT = object_with(
    {
        "number": INTEGER,
        "done": BOOLEAN,
        "capability": STRING,
        "attempts": INTEGER,
        "output": ANYTHING,
        "code": STRING,
        "message": STRING,
    }
)


def check(value: dict[str, Any]) -> list[Problem]:
    """Every problem, in no order; none when the agent can be built."""
    checker = _AgentChecker(value)
    checker.check()
    return list(dict.fromkeys(checker.problems))


class _AgentChecker(Checker):
    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__()
        self._value = value
        self._everywhere = {
            "configuration": _shape_of_value(value.get("configuration", {})),
            "agent": object_with({"name": STRING, "kind": STRING}),
        }
        self._mind: dict[str, Shape] = {}
        if value.get("mode") == "continuous":
            self._mind = {
                "state": self._state(),
                "history": list_of(_ENTRY),
                "events": INTEGER,
                "failed": INTEGER,
            }

    def _state(self) -> Shape:
        keys = dict.fromkeys(self._value.get("state", {}), ANYTHING)
        for subscription in self._value.get("subscriptions", ()):
            keys |= dict.fromkeys(subscription.get("set", {}), ANYTHING)
        return Shape({"type": "object", "properties": keys, "additionalProperties": False})

    def check(self) -> None:
        self._mode()
        self._labels()
        if "model" in self._value:
            self._model(self._value["model"])
        for number, capability in enumerate(self._value.get("capabilities", ())):
            self._capability(capability, f"capabilities[{number}]")
        self._names()
        for number, subscription in enumerate(self._value.get("subscriptions", ())):
            self._subscription(subscription, f"subscriptions[{number}]")
        if "schedule" in self._value:
            self._schedule(self._value["schedule"])

    # --- the whole --------------------------------------------------------------------------------

    def _mode(self) -> None:
        value, mode = self._value, self._value.get("mode")
        actions = {
            name for each in value.get("capabilities", ()) for name in ACTIONS if name in each
        }
        if mode == "collaborative" and not actions & {"plan", "ask"}:
            self.add("mode", "a collaborative agent plans: give one of its capabilities a plan")
        if mode == "autonomous" and "work" not in actions:
            self.add("mode", "an autonomous agent works through tasks: give a capability work")
        if mode == "continuous" and "subscriptions" not in value:
            self.add("mode", "a continuous agent hears events: say which in subscriptions")
        if mode == "scheduled" and "schedule" not in value:
            self.add("mode", "a scheduled agent is called on time: say when in schedule")
        if mode != "continuous":
            for key in ("subscriptions", "state", "limits"):
                if key in value:
                    self.add(key, "only a continuous agent has that: say mode: continuous")
        if not {"capabilities", "subscriptions"} & value.keys():
            self.add("", "it offers nothing and hears nothing: give it capabilities, or a model")

    def _labels(self) -> None:
        for name in self._value.get("labels", {}):
            if not _LABEL.fullmatch(name):
                self.add(inside("labels", name), "a label is made of letters, digits and _./-")
        for number, tag in enumerate(self._value.get("tags", ())):
            if not _LABEL.fullmatch(tag):
                self.add(f"tags[{number}]", "a tag is made of letters, digits and _./-")

    def _model(self, settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            secret = _SECRET.search(name) and isinstance(value, str)
            if secret and not _REFERENCE.fullmatch(value):
                text = "a secret does not stand in a file like this: write env:NAME or file:PATH"
                self.add(inside("model", name), text)
                return
        try:
            provider_of(settings)
        except BadModel as error:
            self.problems.append(problem_of(error))

    def _names(self) -> None:
        first: dict[tuple[str, str], int] = {}
        for number, capability in enumerate(self._value.get("capabilities", ())):
            key = (capability["name"], capability.get("version", ""))
            if key in first:
                text = f"capabilities[{first[key]}] is called {key[0]} already"
                self.add(f"capabilities[{number}].name", f"{text}: give this one another name")
            first.setdefault(key, number)

    # --- capabilities -----------------------------------------------------------------------------

    def _schema(self, value: Any, path: str) -> Shape:
        text = json_text(value)
        try:
            validator_of(Schema(json_schema=text))
        except BadSchema as error:
            self.add(path, f"this is no usable JSON Schema: {error}")
            return ANYTHING
        return shape_of_schema(text)

    def _capability(self, capability: dict[str, Any], path: str) -> None:
        given = ANYTHING
        if "input" in capability:
            given = self._schema(capability["input"], f"{path}.input")
        roots = {"input": given, "contract": _CONTRACT, **self._mind, **self._everywhere}
        action = next(name for name in ACTIONS if name in capability)
        comes = self._action(action, capability[action], f"{path}.{action}", roots)
        if "output" not in capability:
            return
        wanted = self._schema(capability["output"], f"{path}.output")
        place = f"{path}.{action}"
        spec = capability[action]
        if action != "template" and isinstance(spec, dict) and "output" in spec:
            place += ".output"
        for found in mismatches(comes, wanted):
            self.add(joined(place, found.path), f"it does not fit output: {found.message}")

    def _action(self, action: str, spec: Any, path: str, roots: dict[str, Shape]) -> Shape:
        """What it gives back, as far as that is known."""
        match action:
            case "template":
                return self.template(path, spec, roots)
            case "plan":
                if self._value.get("mode") == "autonomous" and "questions" in spec:
                    self.add(f"{path}.questions", _ALONE)
                problems, answer = plan_problems(spec, path, roots)
                self.problems += problems
                return answer
            case "work":
                self.items(f"{path}.tasks", spec["tasks"], roots)
                result = list_of(_REPORT)
            case "ask":
                if self._value.get("mode") == "autonomous":
                    self.add(path, _ALONE)
                result = self.question(spec, path, roots)
            case "model":
                self._prompt(spec, path, roots)
                result = STRING
            case _:
                if "input" in spec:
                    self.template(f"{path}.input", spec["input"], roots)
                result = ANYTHING
        if "output" not in spec:
            return result
        return self.template(f"{path}.output", spec["output"], {**roots, "result": result})

    def _prompt(self, spec: dict[str, Any], path: str, roots: dict[str, Shape]) -> None:
        self.text(f"{path}.prompt", spec["prompt"], roots)
        if "model" not in self._value:
            self.add(path, "the agent has no model: say model: {provider: …}")

    # --- subscriptions and schedule ---------------------------------------------------------------

    def _subscription(self, each: dict[str, Any], path: str) -> None:
        pattern = f"{TOPIC}.{each['topic']}" if "topic" in each else each["subject"]
        key = "topic" if "topic" in each else "subject"
        if not is_pattern(pattern):
            text = "lower-case words with dots between them, of which * is any and > all beneath"
            self.add(f"{path}.{key}", f"this is no {key}: {text}")
        if any(_pattern(other) == pattern for other in self._before(path)):
            self.add(f"{path}.{key}", "it hears of that already: put both into one")
        roots = {"event": _EVENT, **self._mind, **self._everywhere}
        if "when" in each:
            self.condition(f"{path}.when", each["when"], roots)
        if "model" in each:
            self._prompt(each["model"], f"{path}.model", roots)
            answer = STRING
            if "output" in each["model"]:
                shown = {**roots, "result": STRING}
                answer = self.template(f"{path}.model.output", each["model"]["output"], shown)
            roots["answer"] = answer
        for name, value in each.get("set", {}).items():
            self.template(inside(f"{path}.set", name), value, roots)
        if "note" in each:
            self.text(f"{path}.note", each["note"], roots)
        if "publish" in each:
            self._publish(each["publish"], f"{path}.publish", roots)
        if "call" in each and "input" in each["call"]:
            self.template(f"{path}.call.input", each["call"]["input"], roots)
        if not {"set", "note", "publish", "call"} & each.keys():
            self.add(path, "nothing is done with the event: say set, note, publish or call")

    def _before(self, path: str) -> Iterable[dict[str, Any]]:
        number = int(path[len("subscriptions[") : -1])
        found: list[dict[str, Any]] = self._value["subscriptions"][:number]
        return found

    def _publish(self, spec: dict[str, Any], path: str, roots: dict[str, Shape]) -> None:
        if not is_topic(spec["topic"]):
            text = "this is no topic: lower-case words with dots between them"
            self.add(f"{path}.topic", text)
        if "data" in spec:
            self.template(f"{path}.data", spec["data"], roots)

    def _schedule(self, spec: dict[str, Any]) -> None:
        own = {each["name"]: each for each in self._value.get("capabilities", ())}
        self.problems += schedule_problems(spec, tuple(own))
        roots = {"configuration": self._everywhere["configuration"]}
        comes = self.template("schedule.input", spec.get("input", {}), roots)
        name = spec.get("capability", next(iter(own), ""))
        if name in own and "input" in own[name]:
            wanted = shape_of_schema(json_text(own[name]["input"]))
            for found in mismatches(comes, wanted):
                self.add(joined("schedule.input", found.path), f"{name}: {found.message}")


_ALONE = "an autonomous agent asks nobody: leave it out, or say mode: collaborative"


def _shape_of_value(value: Any) -> Shape:
    """What is known of a value is all of it."""
    if isinstance(value, dict):
        return object_with({name: _shape_of_value(each) for name, each in value.items()})
    if isinstance(value, list):
        return list_with([_shape_of_value(each) for each in value])
    return constant(value)


def _pattern(subscription: dict[str, Any]) -> str:
    topic = subscription.get("topic")
    return f"{TOPIC}.{topic}" if topic else str(subscription["subject"])
