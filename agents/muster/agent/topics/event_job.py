"""One call of an event's handler, in the terms of those who run sync code and of contexts."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

from muster.agent.context import LOG_LEVELS, Context, Facts, Usage
from muster.agent.inquiry import Inquiry
from muster.agent.remembering import Consulted
from muster.agent.topics.event import Event, Publication
from muster.agent.topics.handler import Handler, as_json
from muster.agent.values import Content
from muster.agent.workers import sync_desk
from muster.agent.workers.pipe import Message
from muster.wire.jsontext import json_text

if TYPE_CHECKING:
    from muster.agent.blobs import Blobs
    from muster.agent.client import Client
    from muster.agent.delegation import Call
    from muster.agent.topics.hearing import Topics

logger = logging.getLogger("muster.agent")

_NUMBERS = itertools.count(1)
_NO_ATTEMPT = (
    "a handler of events works on no contract, so it has no {}; submit one with ctx.client"
)
_LEVELS = {
    LOG_LEVELS["debug"]: logging.DEBUG,
    LOG_LEVELS["info"]: logging.INFO,
    LOG_LEVELS["warning"]: logging.WARNING,
    LOG_LEVELS["error"]: logging.ERROR,
}


class EventJob:
    """A call, and the port of its context."""

    cancel_code: str | None = None

    def __init__(self, topics: Topics, agent: str, handler: Handler, event: Event) -> None:
        self._topics = topics
        self._agent = agent
        self._event = event
        self.key = ("event", next(_NUMBERS))
        self.capability = handler
        self.facts = Facts("", 0, agent=agent, capability=handler.name, version=handler.version)

    def arguments(self) -> dict[str, Any]:
        """What an async handler is called with."""
        handler = self.capability
        arguments: dict[str, Any] = {handler.event_parameter: self._event}
        if handler.context_parameter:
            arguments[handler.context_parameter] = Context(self.facts, self)
        return arguments

    def content(self) -> Content:
        """The event, for a handler that runs elsewhere."""
        return Content("json", json_text(as_json(self._event)))

    def started(self) -> None:
        """See `Job.started`. Nobody waits to hear of it."""

    def tell(self, message: Message) -> None:
        sync_desk.tell(self, message)

    async def serve(self, message: Message) -> tuple[dict[str, Any], Sequence[Content]]:
        return await sync_desk.serve(self, message)

    # --- the port ---------------------------------------------------------------------------------

    def progress(self, fraction: float, message: str) -> None:
        """Nobody follows a handler."""

    def log(self, level: int, message: str) -> None:
        logger.log(_LEVELS.get(level, logging.INFO), "%s: %s", self._agent, message)

    def use(self, usage: Usage) -> None:
        """Nobody pays for a handler."""

    async def publish(self, publication: Publication) -> None:
        publisher = self._topics.publisher
        number, traceparent = publication.id or publisher.next_id(), self._event.traceparent
        await publisher.publish(self._agent, publication, number, None, traceparent)

    async def consult(
        self, what: str, args: Mapping[str, Any], contents: Sequence[Content] = ()
    ) -> Consulted:
        consultant = self._topics.work.consultant
        return await consultant.consult(self._agent, "", what, args, contents)

    def suspended(self) -> AbstractContextManager[None]:
        return nullcontext()

    @property
    def client(self) -> Client:
        return self._topics.work.client

    def hold_state(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._topics.work.consultant.hold(self._agent, name)

    @property
    def blobs(self) -> Blobs:
        return self._topics.work.blobs

    async def output(self, value: Any) -> None:
        _refuse("output")

    async def output_content(self, content: Content) -> None:
        _refuse("output")

    async def submit(self, call: Call) -> NoReturn:
        _refuse("children")

    async def submit_content(self, call: Call, content: Content, traceparent: str) -> NoReturn:
        _refuse("children")

    async def gather(self, handles: Sequence[Any]) -> NoReturn:
        _refuse("children")

    async def ask(self, inquiry: Inquiry) -> NoReturn:
        _refuse("questions")

    async def gather_contents(self, keys: Sequence[str]) -> NoReturn:
        _refuse("children")


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(_NO_ATTEMPT.format(what))
