"""A submit stream whose requests belong to several schedulers.

Each scheduler gets a stream of its own, with its part of the requests; what they answer goes to the
client as it comes. When one of them breaks off, so does the client's stream: it resubmits what is
unanswered, as after any break, and is led to whoever owns it then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from muster.runtime.lifetime import background
from muster.runtime.principal import Principal
from muster.scheduler.admission import moving
from muster.scheduler.routing import Router, relayed, shard_of_request
from muster.scheduler.streams import SubmitStream
from muster.v1.scheduler_service_pb2 import SubmitStreamRequest, SubmitStreamResponse

FRAMES_MAX = 64  # that wait on the way to a scheduler, or to the client: at most 64 MiB of each

Owner = str | None  # a scheduler's name; None: this one


async def divided(
    router: Router,
    caller: Principal,
    ours: SubmitStream,
    frames: AsyncIterator[SubmitStreamRequest],
) -> AsyncIterator[SubmitStreamResponse]:
    """The answers of all of them. `ours` serves what belongs to this scheduler."""
    dividing = _Dividing(router, caller, ours)
    async with background(lambda: dividing.run(frames)):
        while (answer := await dividing.answers.get()) is not None:
            yield answer


class _Dividing:
    """The way there and back."""

    def __init__(self, router: Router, caller: Principal, ours: SubmitStream) -> None:
        # None: there are no more.
        self.answers: asyncio.Queue[SubmitStreamResponse | None] = asyncio.Queue(FRAMES_MAX)
        self._parts: dict[Owner, asyncio.Queue[SubmitStreamRequest | None]] = {}
        self._router = router
        self._caller = caller
        self._ours = ours
        self._half_closed = False

    async def run(self, frames: AsyncIterator[SubmitStreamRequest]) -> None:
        """Until the client has closed its side and everybody has answered everything."""
        try:
            async with asyncio.TaskGroup() as group:
                async for frame in frames:
                    for owner, part in self._divide(frame).items():
                        if owner not in self._parts:
                            self._parts[owner] = asyncio.Queue(FRAMES_MAX)
                            group.create_task(self._relay(owner))
                        await self._parts[owner].put(part)
                self._half_closed = True
                for queue in self._parts.values():
                    await queue.put(None)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # one is enough to end the client's stream
        await self.answers.put(None)

    def _divide(self, frame: SubmitStreamRequest) -> dict[Owner, SubmitStreamRequest]:
        parts: dict[Owner, SubmitStreamRequest] = {}
        for request in frame.requests:
            owner = self._router.owner_of(shard_of_request(request, self._caller))
            part = parts.get(owner)
            if part is None:
                part = parts[owner] = SubmitStreamRequest()
            part.requests.append(request)
        if len(parts) == 1:
            return dict.fromkeys(parts, frame)
        return parts

    async def _relay(self, owner: Owner) -> None:
        requests = self._requests(owner)
        if owner is None:
            answers = self._ours.run(requests)
        else:
            peer = self._router.peer(owner, self._caller)
            answers = relayed(peer.stub.SubmitStream(requests, metadata=peer.metadata))
        async for answer in answers:
            await self.answers.put(answer)
        if not self._half_closed:
            raise moving()  # it went away in good order, and its requests with it

    async def _requests(self, owner: Owner) -> AsyncIterator[SubmitStreamRequest]:
        while (part := await self._parts[owner].get()) is not None:
            yield part
