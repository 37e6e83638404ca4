"""What agents without code do with events."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from muster.agent.context import Context
from muster.agent.modes.continuous import Continuous, Event, Mind
from muster.agent.modes.mind import id_for
from muster.declared.acting import Surroundings, of_prompt
from muster.declared.durations import seconds_in
from muster.declared.making import Condition, Made, text_maker
from muster.model.errors import AlreadyExists

if TYPE_CHECKING:
    from muster.agent.asking import RequestOptions

Variables = dict[str, Any]
Part = Callable[[Event, Mind, Context, Variables], Awaitable[None]]


def hear(running: Continuous, spec: Mapping[str, Any], path: str, around: Surroundings) -> None:
    """Has an agent hear what a subscription says: the state first, then what follows from it."""
    when = Condition(spec["when"], f"{path}.when") if "when" in spec else None
    parts = [
        make(spec[key], f"{path}.{key}", around) for key, make in _PARTS.items() if key in spec
    ]

    async def handle(event: Event, mind: Mind, ctx: Context) -> None:
        variables = {
            **around.everywhere(ctx.facts.agent),
            "event": event_variables(event),
            "state": mind.state,
            "history": [{"time": e.time, "topic": e.topic, "text": e.text} for e in mind.history],
            "events": mind.events,
            "failed": mind.failed,
        }
        if when is not None and not when.holds(variables):
            return
        for part in parts:
            await part(event, mind, ctx, variables)

    running.on(spec.get("topic", ""), subject=spec.get("subject", ""))(handle)


def event_variables(event: Event) -> Variables:
    """What expressions see of an event; bytes are base64."""
    names = ("subject", "topic", "id", "type", "source", "about", "time")
    data = event.data
    return {
        **{name: getattr(event, name) for name in names},
        "data": b64encode(data).decode() if isinstance(data, bytes) else data,
    }


def _model(spec: Any, path: str, around: Surroundings) -> Part:
    act = of_prompt(spec, path, around)
    output = Made(spec.get("output", "${result}"), f"{path}.output")

    async def part(_: Event, _mind: Mind, ctx: Context, variables: Variables) -> None:
        said = await act(ctx, variables)
        variables["answer"] = output.value({**variables, "result": said})

    return part


def _set(spec: Any, path: str, _: Surroundings) -> Part:
    made = {name: Made(template, f"{path}.{name}") for name, template in spec.items()}

    async def part(_: Event, mind: Mind, _ctx: Context, variables: Variables) -> None:
        mind.state.update({name: each.value(variables) for name, each in made.items()})

    return part


def _note(spec: str, path: str, _: Surroundings) -> Part:
    text = text_maker(spec, path)

    async def part(_: Event, mind: Mind, _ctx: Context, variables: Variables) -> None:
        mind.note(text(variables))

    return part


def _publish(spec: Any, path: str, _: Surroundings) -> Part:
    data = Made(spec.get("data"), f"{path}.data")

    async def part(event: Event, _: Mind, ctx: Context, variables: Variables) -> None:
        # The same event again publishes under the same id, which the bus takes once.
        number = id_for(event, _number(path))
        await ctx.publish(spec["topic"], data.value(variables), id=number)

    return part


def _call(spec: Any, path: str, _: Surroundings) -> Part:
    given = Made(spec.get("input", {}), f"{path}.input")
    name, _at, version = spec["capability"].partition("@")

    async def part(event: Event, _: Mind, ctx: Context, variables: Variables) -> None:
        options: RequestOptions = {"version": version}
        timeout = seconds_in(spec, "timeout")
        if timeout is not None:
            options["timeout"] = timeout
        # The same event again asks under the same id, which the mesh takes once.
        options["request_id"] = f"{ctx.facts.agent}.{id_for(event, _number(path))}"
        handle = await ctx.client.submit(name, given.value(variables), **options)
        try:
            await handle.accepted()
        except AlreadyExists:  # with another deadline
            ctx.log(f"{name} was asked about {event.id} already")

    return part


def _number(path: str) -> str:
    return path[len("subscriptions[") :].partition("]")[0]


# In the order in which they are done.
_PARTS: Mapping[str, Callable[[Any, str, Surroundings], Part]] = {
    "model": _model,
    "set": _set,
    "note": _note,
    "publish": _publish,
    "call": _call,
}
