"""What an attempt on a test bench says and asks, recorded."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn

from muster.agent.bench_past import BenchPast
from muster.agent.blob import Blob
from muster.agent.capability import Capability
from muster.agent.context import BINARY, LOG_LEVELS, Facts, Usage
from muster.agent.delegation import Call
from muster.agent.failures import ChildFailed, Failed
from muster.agent.inquiry import Inquiry
from muster.agent.remembering import Consulted
from muster.agent.topics.event import Publication
from muster.agent.values import EMPTY, Content, chunk_content, input_content, value_of
from muster.agent.workers import sync_desk
from muster.agent.workers.pipe import Message

_LEVEL_NAMES = {number: name for name, number in LOG_LEVELS.items()}

Answerer = Callable[[Call, Content, Facts], Awaitable[Content]]


class Progress(NamedTuple):
    """A word on how far the attempt was."""

    fraction: float
    message: str


class Log(NamedTuple):
    """A line of the attempt's log."""

    level: str
    message: str


@dataclass
class Run:
    """What an attempt did, in the order in which it did it."""

    content: Content = EMPTY
    failure: Failed | None = None
    progress: list[Progress] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    children: list[Call] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    published: list[Publication] = field(default_factory=list)
    suspensions: int = 0
    asked: list[Inquiry] = field(default_factory=list)  # what it asked a person
    parked: Inquiry | None = None  # the question that it ended with, as nobody answers

    @property
    def output(self) -> Any:
        """The output, as a client gets it. Raises the failure when there is none."""
        if self.failure is not None:
            raise self.failure
        return value_of(self.content)


def child_failed(failed: Failed, key: str) -> ChildFailed:
    """How a failed child looks to its parent."""
    error = ChildFailed(
        failed.code, failed.message, permanent=failed.permanent, details=failed.details
    )
    error.key = key
    return error


class BenchBlobs:
    """Blobs in memory."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    async def put(self, data: bytes, media_type: str = BINARY) -> Blob:
        """Keeps bytes."""
        digest = hashlib.sha256(data).hexdigest()
        self._contents[digest] = bytes(data)
        return Blob(digest, len(data), media_type)

    async def get(self, blob: Blob, offset: int = 0, length: int = 0) -> bytes:
        """A blob's content, or a range of it; a length of 0 means to the end."""
        data = self._contents[blob.sha256]
        return data[offset : offset + length] if length else data[offset:]


class BenchChild:
    """A child of an attempt on the bench; it is worked on when somebody waits for it."""

    def __init__(self, port: BenchPort, call: Call, content: Content, key: str) -> None:
        self._port = port
        self._call = call
        self._given = content
        self.key = key
        self.attempts = 0
        self._outcome: Content | ChildFailed | None = None

    async def content(self) -> Content:
        """Waits for its output. Raises `ChildFailed`."""
        if self._outcome is None:
            self.attempts = 1
            try:
                self._outcome = await self._port.answered(self._call, self._given)
            except ChildFailed as failed:
                self._outcome = failed
        if isinstance(self._outcome, ChildFailed):
            raise self._outcome
        return self._outcome

    async def result(self) -> Any:
        """Waits for its output. Raises `ChildFailed`."""
        return value_of(await self.content())


class BenchPort:
    """The port of an attempt on the bench."""

    def __init__(
        self,
        run: Run,
        capability: Capability,
        facts: Facts,
        answer: Answerer,
        blobs: BenchBlobs,
        park: Callable[[Inquiry], None],
        past: BenchPast,
    ) -> None:
        self._past = past
        self._park = park
        self._run = run
        self._capability = capability
        self._facts = facts
        self._answer = answer
        self._children: dict[str, BenchChild] = {}
        self.blobs = blobs
        self.cancel_code: str | None = None
        self.answers: dict[str, Content] = {}  # by the question's id

    def progress(self, fraction: float, message: str) -> None:
        self._run.progress.append(Progress(fraction, message))

    def log(self, level: int, message: str) -> None:
        self._run.logs.append(Log(_LEVEL_NAMES[level], message))

    def use(self, usage: Usage) -> None:
        self._run.usage = self._run.usage.plus(usage)

    async def output(self, value: Any) -> None:
        await self.output_content(chunk_content(self._capability, value))

    async def output_content(self, content: Content) -> None:
        self._run.chunks.append(value_of(content))

    async def submit(self, call: Call) -> BenchChild:
        content = input_content(call.input)
        return self._children[await self.submit_content(call, content)]

    async def submit_content(self, call: Call, content: Content, traceparent: str = "") -> str:
        key = call.key or f"1/{len(self._children) + 1}"
        if key not in self._children:
            self._run.children.append(replace(call, input=value_of(content)))
            self._children[key] = BenchChild(self, call, content, key)
        return key

    async def gather(self, handles: Sequence[BenchChild]) -> list[Any]:
        contents = await self.gather_contents([handle.key for handle in handles])
        return [value_of(content) for content in contents]

    async def gather_contents(self, keys: Sequence[str]) -> list[Content]:
        outcomes = await asyncio.gather(
            *(self._children[key].content() for key in keys), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Content)]

    async def ask(self, inquiry: Inquiry) -> Content:
        if inquiry.id in self.answers:
            return self.answers[inquiry.id]
        self._run.asked.append(inquiry)
        self._park(inquiry)
        never: asyncio.Future[Content] = asyncio.get_running_loop().create_future()
        return await never

    async def consult(
        self, what: str, args: Mapping[str, Any], contents: Sequence[Content] = ()
    ) -> Consulted:
        return self._past.consult(self._facts.agent, what, args, contents)

    def suspended(self) -> AbstractContextManager[None]:
        self._run.suspensions += 1
        return nullcontext()

    @property
    def client(self) -> NoReturn:
        message = "on a bench there is no mesh for a client to talk to"
        raise RuntimeError(message)

    def hold_state(self, name: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def publish(self, publication: Publication) -> None:
        self._run.published.append(publication)

    async def answered(self, call: Call, content: Content) -> Content:
        """What a child answers; the attempt is suspended meanwhile."""
        self._run.suspensions += 1
        return await self._answer(call, content, self._facts)

    def tell(self, message: Message) -> None:
        sync_desk.tell(self, message)

    async def serve(self, message: Message) -> sync_desk.Answer:
        return await sync_desk.serve(self, message)
