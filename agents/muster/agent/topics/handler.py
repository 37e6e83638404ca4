"""A function as the handler of a subscription."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from muster.agent.capability import Capability, find_context_parameter
from muster.agent.codec.annotations import Codec
from muster.agent.topics.event import Event
from muster.model.subjects import TOPIC, is_pattern

_OWN = ".own"
_STANDS_FOR = str.maketrans({"*": "any", ">": "rest"})


class Handler(Capability):
    """A function of an event, and maybe a context, with what it is called for."""

    __slots__ = ("competing", "concurrency", "event_parameter", "group", "own", "pattern", "since")

    def __init__(
        self,
        function: Callable[..., Any],
        pattern: str,
        *,
        group: str | None,
        since: float | None,
        concurrency: int,
        threads: bool,
        names: Mapping[str, Any] | None,
        own: bool = False,
    ) -> None:
        """`pattern` without the tenant; `group` is None unless others compete for the events. With
        `own` each agent is a group of itself."""
        if not is_pattern(pattern):
            message = (
                f"{pattern!r} is no pattern: lower-case words with dots between them, of which * "
                "stands for any, and > at the end for one or more"
            )
            raise ValueError(message)
        if concurrency < 1:
            message = "at least one event is handled at a time"
            raise ValueError(message)
        self.pattern = pattern
        if own and group is not None:
            message = "what is an agent's own is not shared: leave out own, or competing and group"
            raise ValueError(message)
        self.own = own
        self.competing = own or group is not None
        self.group = group or ""
        self.since = since
        self.concurrency = concurrency
        name = f"on.{pattern}".translate(_STANDS_FOR)
        super().__init__(function, name[:128].rstrip("."), threads=threads, names=names)
        if self.is_generator:
            message = f"{function.__qualname__} handles events, so it yields nothing"
            raise TypeError(message)

    def _read_input(self, hints: dict[str, Any]) -> None:
        parameters = dict(inspect.signature(self.function).parameters)
        self.context_parameter = find_context_parameter(parameters, hints, self.runs)
        parameters.pop(self.context_parameter or "", None)
        if len(parameters) != 1:
            message = f"{self.function.__qualname__} handles events: it takes one, and a context"
            raise TypeError(message)
        (self.event_parameter,) = parameters
        self.input_message = None
        self.input = {}
        self.decode = lambda value: {self.event_parameter: _event(value)}

    def _read_output(self, annotation: Any) -> None:
        # Whatever it returns, nobody waits for it.
        self.output_message = self.yields = None
        self.returns_array = False
        self.output = Codec({}, _nothing, _nothing)


def pattern_of(topic: str, subject: str) -> str:
    """The pattern for a topic, or for anything. Raises `ValueError` unless one is named."""
    if bool(topic) == bool(subject):
        message = 'name a topic, like "orders.>", or a subject, like subject="contract.ended.>"'
        raise ValueError(message)
    return f"{TOPIC}.{topic}" if topic else subject


def group_of(handler: Handler, agent: str) -> str:
    """The group in which an agent shares the events. Of its own is one that no kind is called, for
    kinds are groups too."""
    return f"{agent}{_OWN}" if handler.own else handler.group


def as_json(event: Event) -> dict[str, Any]:
    """An event on its way to a worker process, as an object of JSON."""
    from base64 import b64encode

    is_bytes = isinstance(event.data, bytes)
    data = b64encode(event.data).decode() if is_bytes else event.data
    fields = {name: getattr(event, name) for name in Event.__slots__}
    return {**fields, "data": data, "is_bytes": is_bytes}


def _event(fields: dict[str, Any]) -> Event:
    from base64 import b64decode

    is_bytes = fields.pop("is_bytes")
    data = b64decode(fields["data"]) if is_bytes else fields["data"]
    return Event(**{**fields, "data": data})


def _nothing(value: Any) -> None:
    del value
