"""A request that was submitted, and what can be asked about it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from muster.agent.asking import output_of
from muster.agent.submitting import Submission, SubmitPipe

if TYPE_CHECKING:
    from muster.agent.client import Ask, Client
    from muster.agent.watching import Update
    from muster.v1.response_pb2 import Response

EXPIRY_GRACE_SECONDS = 1.0  # past a deadline, for the mesh to say itself that it has passed


class Handle:
    """A request on its way to its response."""

    __slots__ = ("_client", "_pipe", "ask", "submission")

    def __init__(self, client: Client, pipe: SubmitPipe, submission: Submission) -> None:
        self._client = client
        self._pipe = pipe
        self.submission = submission
        self.ask: Ask | None = None  # what it was made from, by `gather` and `stream`

    @property
    def request_id(self) -> str:
        """The id under which it was submitted."""
        return self.submission.request_id

    @property
    def ended(self) -> bool:
        """Whether there is a response, or never will be."""
        return self.submission.response.done()

    async def accepted(self) -> str:
        """Waits until the mesh has recorded it, and returns the contract's id.

        Raises the `MusterError` with which the mesh refused it.
        """
        return await self._pipe.accepted(self.submission)

    async def response(self) -> Response:
        """Waits for the response, whatever it says."""
        future = self.submission.response
        return future.result() if future.done() else await asyncio.shield(future)

    async def result(self, returns: Any = None) -> Any:
        """Waits for the output, as `returns` (any annotated type) if that is given.

        Raises `ContractFailed` when the contract ended without one.
        """
        return await output_of(await self.response(), self._client.blobs, returns)

    async def cancel(self, reason: str = "") -> Response:
        """Cancels the contract and its children. Raises `FailedPrecondition` when it has ended."""
        return await self._client.cancel(await self.accepted(), reason)

    async def watch(self) -> AsyncIterator[Update]:
        """What happens to the contract from its beginning to its end; see `Client.follow`."""
        async for update in self._client.follow(await self.accepted()):
            yield update

    def when_ended(self, ended: deque[Handle], wake: asyncio.Event) -> None:
        """Puts the handle into `ended` when it has, and sets `wake`."""

        def note(_future: asyncio.Future[Response]) -> None:
            ended.append(self)
            wake.set()

        self.submission.response.add_done_callback(note)
