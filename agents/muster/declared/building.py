"""Makes an agent of what was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from muster.agent import Agent, Context
from muster.agent.capability import Capability
from muster.agent.codec.annotations import Codec, Misfit
from muster.agent.modes.continuous import Bounds, Continuous, Mind
from muster.agent.modes.scheduled import schedule
from muster.declared.acting import Act, Surroundings, act_of
from muster.declared.durations import seconds_of
from muster.declared.hearing import hear
from muster.declared.making import Made
from muster.declared.models import provider_of
from muster.declared.source import Declared
from muster.model import limits
from muster.model.versions import VERSION_DEFAULT
from muster.v1.capability_pb2 import Schema
from muster.wire.jsontext import json_text
from muster.workflow.lookups import validator_of


def agent_of(declared: Declared) -> Agent:
    """The agent, ready to be run."""
    value = declared.value
    agent = Agent(
        value["name"],
        kind=value.get("kind", ""),
        version=value.get("version", ""),
        labels={**value.get("labels", {}), **dict.fromkeys(value.get("tags", ()), "true")},
        max_in_flight=value.get("max_in_flight", 1),
    )
    model = value.get("model")
    around = Surroundings(
        value.get("configuration", {}),
        agent.kind,
        None if model is None else provider_of(model),
        "" if model is None else model.get("system", ""),
    )
    running = _continuous(agent, value) if value.get("mode") == "continuous" else None
    for number, capability in enumerate(value.get("capabilities", ())):
        act = act_of(capability, f"capabilities[{number}]", around)
        agent.add(DeclaredCapability(capability, _function(act, around, running)))
    if running is not None:
        for number, subscription in enumerate(value["subscriptions"]):
            hear(running, subscription, f"subscriptions[{number}]", around)
    if "schedule" in value:
        _schedule(agent, value["schedule"], around)
    return agent


def _continuous(agent: Agent, value: dict[str, Any]) -> Continuous:
    said = value.get("limits", {})
    idle = said.get("idle_timeout")
    return Continuous(
        agent,
        value.get("state", {}),
        idle_seconds=limits.IDLE_SECONDS_DEFAULT if idle is None else seconds_of(idle),
        bounds=Bounds(
            history=said.get("history", limits.MIND_HISTORY_DEFAULT),
            remembered=said.get("remembered_events", limits.MIND_EVENTS_REMEMBERED),
        ),
    )


Function = Callable[..., Any]


def _function(act: Act, around: Surroundings, running: Continuous | None) -> Function:
    async def run(given: Any, ctx: Context) -> Any:
        variables = around.of_attempt(ctx, given)
        if running is not None:
            variables |= mind_variables(await running.read(ctx))
        return await act(ctx, variables)

    return run


def mind_variables(mind: Mind) -> dict[str, Any]:
    """What capabilities see of a continuous agent's mind."""
    history = [{"time": e.time, "topic": e.topic, "text": e.text} for e in mind.history]
    return {
        "state": mind.state,
        "history": history,
        "events": mind.events,
        "failed": mind.failed,
    }


_AS_THEY_ARE = ("cron", "time_zone", "overlap", "queue_max", "note")
_DURATIONS = ("every", "jitter", "catch_up_window", "timeout")


def _schedule(agent: Agent, spec: dict[str, Any], around: Surroundings) -> None:
    named = spec.get("capability") or next(name for name, _ in agent.capabilities)
    capability, _, version = named.partition("@")
    times: dict[str, Any] = {key: spec[key] for key in _AS_THEY_ARE if key in spec}
    times |= {key: seconds_of(spec[key]) for key in _DURATIONS if key in spec}
    if version:
        times["version"] = version
    given = Made(spec.get("input", {}), "schedule.input")
    value = given.value({"configuration": around.configuration})
    schedule(agent, capability, value, name=spec.get("name", ""), **times)


class DeclaredCapability(Capability):
    """A capability whose schemas were written down."""

    __slots__ = ("_given", "_gives")

    def __init__(self, spec: Mapping[str, Any], function: Function) -> None:
        self._given = spec.get("input", {})
        self._gives = spec.get("output", {})
        super().__init__(
            function,
            spec["name"],
            version=spec.get("version", VERSION_DEFAULT),
            description=spec.get("description", ""),
            idempotent=spec.get("idempotent", False),
        )

    def _read_input(self, hints: dict[str, Any]) -> None:
        self.context_parameter = "ctx"
        self.input_message = None
        self.input = self._given
        check = _check_of(self._given)
        self.decode = lambda value: {"given": check(value)}

    def _read_output(self, annotation: Any) -> None:
        self.output_message = self.yields = None
        self.returns_array = False
        check = _check_of(self._gives)
        self.output = Codec(self._gives, check, check)


def _check_of(schema: Any) -> Callable[[Any], Any]:
    validator = validator_of(Schema(json_schema=json_text(schema)))

    def check(value: Any) -> Any:
        error = next(validator.iter_errors(value), None)
        if error is not None:
            raise Misfit(str(error.message), ".".join(map(str, error.instance_path)))
        return value

    return check
