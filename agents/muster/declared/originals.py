"""Takes the keys of the agent runner that Muster replaces: each has a place here, or a message.

    agent_type            kind
    execution_mode        mode
    llm_config            model; of it provider, and the rest for the provider
    system_prompt         model.system
    tags                  tags
    event_subscriptions   subscriptions; a text is a topic
    schedule_config       schedule; cron or interval (seconds), timezone

One that has no capabilities and a model offers one that asks it, called after the agent, and its
subscriptions do the same with each event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from muster.workflow.places import Problem, inside

_RENAMED = {
    "agent_type": "kind",
    "execution_mode": "mode",
    "llm_config": "model",
    "event_subscriptions": "subscriptions",
    "schedule_config": "schedule",
}
_SCHEDULE = {
    "cron": "cron",
    "cron_expression": "cron",
    "expression": "cron",
    "interval": "every",
    "interval_seconds": "every",
    "timezone": "time_zone",
}
_PROMPT = "${has(input.message) ? input.message : ''}"  # there is none where it is time for it
_SUBSCRIPTION = {"event_type": "topic", "event": "topic", "pattern": "topic"}


class Translation:
    """A document in the words of Muster, with the lines of its places."""

    def __init__(self, value: dict[str, Any], lines: dict[str, int]) -> None:
        self.value = dict(value)
        self.lines = dict(lines)
        self.problems: list[Problem] = []
        self._rename("", self.value, _RENAMED)
        self._system_prompt()
        if "schedule_config" in value:
            self._schedule()
        if "event_subscriptions" in value:
            self._subscriptions()
        if "capabilities" not in self.value and "model" in self.value:
            self._answer_prompts()

    def _rename(self, path: str, held: dict[str, Any], names: dict[str, str]) -> None:
        for old, new in names.items():
            if old == new or old not in held:
                continue
            here = inside(path, old)
            if new in held:
                text = f"this says the same as {new}, which is there too: leave one out"
                self.problems.append(Problem(here, text))
                del held[old]
                continue
            held[new] = held.pop(old)
            self._move(here, inside(path, new))

    def _move(self, old: str, new: str) -> None:
        for place in [each for each in self.lines if _is_within(each, old)]:
            self.lines[new + place[len(old) :]] = self.lines[place]

    def _system_prompt(self) -> None:
        if "system_prompt" not in self.value:
            return
        prompt = self.value.pop("system_prompt")
        model = self.value.setdefault("model", {})
        if not isinstance(model, dict):
            return
        self.lines.setdefault("model", self.lines["system_prompt"])
        self.lines["model.system"] = self.lines["system_prompt"]
        if "system" in model:
            text = "this says the same as model.system, which is there too: leave one out"
            self.problems.append(Problem("system_prompt", text))
        self.value["model"] = {**model, "system": prompt}

    def _schedule(self) -> None:
        schedule = self.value.get("schedule")
        if not isinstance(schedule, dict):
            return
        schedule = self.value["schedule"] = dict(schedule)
        kind = schedule.pop("type", None)
        if kind not in (None, "cron", "interval"):
            text = f"a schedule is by cron or interval, not by {kind!r}"
            self.problems.append(Problem("schedule.type", text))
        if schedule.pop("enabled", True) is not True:
            text = "a schedule here is one that runs: leave it out, or: muster schedule pause NAME"
            self.problems.append(Problem("schedule.enabled", text))
        self._rename("schedule", schedule, _SCHEDULE)
        every = schedule.get("every")
        if isinstance(every, int | float) and not isinstance(every, bool):
            schedule["every"] = f"{every:g}s"

    def _subscriptions(self) -> None:
        found = self.value.get("subscriptions")
        if not isinstance(found, list):
            return
        made: list[Any] = []
        for number, each in enumerate(found):
            if isinstance(each, str):
                made.append({"topic": each})
            elif isinstance(each, dict):
                renamed = dict(each)
                self._rename(f"subscriptions[{number}]", renamed, _SUBSCRIPTION)
                made.append(renamed)
            else:
                made.append(each)
        self.value["subscriptions"] = made
        if "model" in self.value:
            for each in made:
                if isinstance(each, dict) and not each.keys() - {"topic", "subject", "when"}:
                    each["model"] = {"prompt": "${event.data}"}
                    each["note"] = "${answer}"

    def _answer_prompts(self) -> None:
        name = _capability_name(str(self.value.get("name", "")))
        self.lines["capabilities"] = self.lines.get("model", 1)
        self.value["capabilities"] = [
            {
                "name": name,
                "description": str(self.value.get("description", "")),
                "input": {
                    "type": "object",
                    "properties": {"message": {"type": "string"}},
                },
                "output": {
                    "type": "object",
                    "properties": {"text": {"type": "string"}},
                    "required": ["text"],
                },
                "model": {"prompt": _PROMPT, "output": {"text": "${result}"}},
            }
        ]


def _is_within(place: str, path: str) -> bool:
    return place == path or place.startswith((f"{path}.", f"{path}["))


def _capability_name(agent: str) -> str:
    """A capability that is called after an agent: "My.Agent" offers "my.agent"."""
    return ".".join(_words(agent)) or "agent"


def _words(agent: str) -> Iterator[str]:
    for word in agent.lower().split("."):
        if cleaned := re.sub(r"[^a-z0-9_-]", "-", word).strip("-_"):
            yield cleaned
