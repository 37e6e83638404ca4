"""Publishes for the agents of a host, over whatever session it has."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from muster.agent.contents import fill_small, is_small
from muster.agent.session.core_outbox import Key
from muster.agent.topics.event import Publication
from muster.model import limits
from muster.model.errors import Code, InvalidArgument, MusterError, Unavailable
from muster.v1.topic_pb2 import Publish, PublishResult
from muster.wire.errors import error_of_status

if TYPE_CHECKING:
    from muster.agent.session.core import SessionCore

_PASSING = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})
_AT_ONCE = limits.PUBLISHES_UNACKED_MAX // 2  # what was given up may still count at the mesh


class Publisher:
    """What is under way, each until it was answered."""

    def __init__(self, core: SessionCore, wake: Callable[[], None]) -> None:
        self._core = core
        self._wake = wake
        self._answers: dict[str, asyncio.Future[PublishResult]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._prefix = secrets.token_hex(6)
        self._count = 0

    def next_id(self) -> str:
        """Names an event outside of attempts."""
        self._count += 1
        return f"{self._prefix}.{self._count}"

    async def publish(
        self,
        agent: str,
        publication: Publication,
        number: str,
        attempt: Key | None = None,
        traceparent: str = "",
    ) -> None:
        """Returns once the bus has it. Raises `MusterError`."""
        message = _message(agent, publication, number, attempt)
        if traceparent:
            message.trace_context.traceparent = traceparent
        key = f"{agent}/{message.attempt.contract_id}/{number}"
        if key in self._answers:
            text = f"{number!r} is being published already; give each event an id of its own"
            raise InvalidArgument(text)
        seconds = publication.timeout or limits.PUBLISH_SECONDS_DEFAULT
        error: MusterError = Unavailable(f"the mesh did not take it within {seconds:g} s")
        try:
            async with asyncio.timeout(seconds), self._room:
                while True:
                    said = await self._ask(key, message)
                    if said is None:
                        return
                    error = said
                    if said.code not in _PASSING and said.reason != "AGENT_UNKNOWN":
                        break
                    await asyncio.sleep(said.retry_after_seconds or limits.RECONNECT_SECONDS_MIN)
        except TimeoutError:
            pass
        raise error

    async def _ask(self, key: str, message: Publish) -> MusterError | None:
        answer: asyncio.Future[PublishResult] = asyncio.get_running_loop().create_future()
        self._answers[key] = answer
        self._core.publish(key, message, message.ByteSize())
        self._wake()
        try:
            result = await answer
        finally:
            del self._answers[key]
            self._core.published(key)
        return error_of_status(result.error) if result.HasField("error") else None

    def published(self, result: PublishResult) -> None:
        """The mesh has answered."""
        answer = self._answers.get(f"{result.agent}/{result.contract_id}/{result.id}")
        if answer is not None and not answer.done():
            answer.set_result(result)


def _message(agent: str, publication: Publication, number: str, attempt: Key | None) -> Publish:
    if len(number) > limits.NAME_CHARACTERS_MAX:
        text = f"an event's id has at most {limits.NAME_CHARACTERS_MAX} characters"
        raise InvalidArgument(text)
    message = Publish(
        id=number,
        agent=agent,
        topic=publication.topic,
        type=publication.type,
        subject=publication.about,
    )
    message.time.GetCurrentTime()
    if publication.content.kind:
        if not is_small(publication.content):
            most = limits.PUBLISHED_DATA_BYTES_MAX
            text = f"an event has at most {most} bytes of data; put a blob, and publish that"
            raise InvalidArgument(text)
        fill_small(message.data, publication.content)
    if attempt is not None:
        message.attempt.contract_id, message.attempt.epoch = attempt
    return message
