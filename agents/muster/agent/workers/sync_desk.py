"""Serves what sync code says and asks over its channel, with the port of its attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from muster.agent.blob import Blob
from muster.agent.context import Blobs, Port, Usage
from muster.agent.delegation import Call
from muster.agent.inquiry import Inquiry
from muster.agent.remembering import Consulted
from muster.agent.topics.event import Publication
from muster.agent.values import Content
from muster.agent.workers.pipe import Message
from muster.agent.workers.sync_port import error_answer

Answer = tuple[dict[str, Any], Sequence[Content]]


class DeskPort(Port, Protocol):
    """An attempt's port, in terms of contents: what comes over a channel is encoded already."""

    @property
    def blobs(self) -> Blobs: ...

    async def output_content(self, content: Content) -> None:
        """Delivers a part of the output."""

    async def submit_content(self, call: Call, content: Content, traceparent: str) -> str:
        """Delegates; returns the child's key. `traceparent` names the span that the code is in."""

    async def gather_contents(self, keys: Sequence[str]) -> list[Content]:
        """Waits for children's outputs. Raises `ChildFailed`."""

    async def ask(self, inquiry: Inquiry) -> Content:
        """The answer of a person."""

    async def consult(
        self, what: str, args: Mapping[str, Any], contents: Sequence[Content] = ()
    ) -> Consulted:
        """Answers what is asked about the past."""

    async def publish(self, publication: Publication) -> None:
        """Publishes an event."""


def tell(port: Port, message: Message) -> None:
    """Sync code has said something."""
    match message.said["op"], message.said["args"]:
        case "progress", (fraction, text):
            port.progress(fraction, text)
        case "log", (level, text):
            port.log(level, text)
        case "use", (usage,):
            port.use(Usage(**usage))


async def serve(port: DeskPort, message: Message) -> Answer:
    """Sync code has asked something; the answer may be an error."""
    try:
        return await _answer(port, message)
    except Exception as error:  # noqa: BLE001 - whatever it is, the code that asked gets it
        return error_answer(error)


async def _answer(port: DeskPort, message: Message) -> Answer:
    contents = message.contents
    match message.said["op"], message.said["args"]:
        case "output", _:
            await port.output_content(contents[0])
        case "submit", (options, traceparent):
            call = Call(**options)
            return {"key": await port.submit_content(call, contents[0], traceparent)}, ()
        case "gather", (keys,):
            return {}, await port.gather_contents(keys)
        case "publish", (options,):
            await port.publish(Publication(**{**options, "content": contents[0]}))
        case "ask", (options,):
            return {}, [
                await port.ask(Inquiry(**{**options, "choices": tuple(options["choices"])}))
            ]
        case "consult", (what, args):
            said, answers = await port.consult(what, args, contents)
            return {"answer": said}, answers
        case "put_blob", _:
            return asdict(await port.blobs.put(contents[0].data, contents[0].name)), ()
        case "get_blob", (blob, offset, length):
            data = await port.blobs.get(Blob(**blob), offset, length)
            return {}, [Content("binary", data)]
    return {}, ()
