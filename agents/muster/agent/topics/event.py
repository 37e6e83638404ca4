"""What agents tell and are told, without protobuf: worker processes have it too."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muster.agent.values import Content

_TOPIC = "topic."
_is_traceparent = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as a handler gets it.

    An event may come more than once; it has the same `id` then. Handlers of one host share the
    object, so nobody changes its data.
    """

    subject: str  # where it was published, without "muster.<tenant>.", like topic.orders.created
    id: str
    type: str
    source: str
    data: Any  # a value of JSON, or bytes
    time: str = ""  # ISO 8601
    about: str = ""  # the CloudEvent's subject
    sequence: int = 0  # its number on the bus
    redelivered: bool = False  # it may have been delivered before
    traceparent: str = ""  # W3C trace context of whoever published it
    missed: int = 0  # events before it that the agent was too slow for

    @property
    def topic(self) -> str:
        """The topic that it was published to; empty for what the mesh itself has published."""
        return self.subject.removeprefix(_TOPIC) if self.subject.startswith(_TOPIC) else ""


def event_of(
    subject: str, cloud_event: dict[str, Any], sequence: int, *, redelivered: bool
) -> Event:
    """The event that a CloudEvent is."""
    traceparent = str(cloud_event.get("traceparent", ""))
    data = cloud_event.get("data")
    if "data_base64" in cloud_event:
        data = b64decode(cloud_event["data_base64"])
    return Event(
        subject.split(".", 2)[-1],
        str(cloud_event.get("id", "")),
        str(cloud_event.get("type", "")),
        str(cloud_event.get("source", "")),
        data,
        str(cloud_event.get("time", "")),
        str(cloud_event.get("subject", "")),
        sequence,
        redelivered,
        traceparent if _is_traceparent(traceparent) else "",
    )


@dataclass(frozen=True, slots=True)
class Publication:
    """An event that an agent publishes."""

    topic: str
    content: Content
    id: str = ""
    type: str = ""
    about: str = ""
    timeout: float = 0.0  # seconds; 0 means the default


def publication(
    topic: str, data: Any, id: str, type: str, about: str, timeout: float
) -> Publication:
    """One with this data. Raises `ValueError` for data that cannot be published."""
    from muster.agent.values import Content, content_of

    content = Content("") if data is None else content_of(data)
    if content.kind not in ("", "json", "binary"):
        message = f"publish a value of JSON or bytes, not {content.kind} content"
        raise ValueError(message)
    return Publication(topic, content, id, type, about, timeout)
