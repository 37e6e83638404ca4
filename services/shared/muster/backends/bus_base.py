"""The bus: fan-out of what has happened, to whoever subscribes. Never the record.

Messages are CloudEvents 1.0 in structured JSON, on the subjects of `muster.model.subjects`. The bus
may be away, or lose what it has; whoever publishes has it from the ledger, and publishes again what
was not acknowledged. So messages can come twice: for a while the bus drops what it has had by its
`id`, and what comes later than that is told by the sequence that lifecycle events carry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from muster.model.errors import MusterError

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


class BusUnavailable(MusterError):
    """The bus does not answer; try again later."""

    reason = "NOT_READY"


class Message(NamedTuple):
    """What is published; `body` is a CloudEvent in JSON whose id is `id`."""

    subject: str
    id: str
    body: bytes


class Delivery(NamedTuple):
    """A message that was published, with its number on the bus; numbers only grow."""

    sequence: int
    message: Message
    deliveries: int = 1  # to a group, this one included


class Start(NamedTuple):
    """Where a subscription begins: with what is published from now on, unless one of these says
    otherwise. What the bus no longer has is left out."""

    since_ms: int | None = None
    from_sequence: int | None = None  # beyond all that the bus has: the beginning of another bus


NOW = Start()


class Group(Protocol):
    """One of several members, maybe in other processes, among which messages are divided.

    A message that was fetched is this member's until it is acknowledged or given back, or until
    nothing was said of it for `EVENT_HOLD_SECONDS`; then another gets it. After
    `EVENT_DELIVERIES_MAX` it is dropped. What is said of messages is sent and not waited for, and
    nothing happens where it comes too late.
    """

    async def fetch(self, most: int) -> Sequence[Delivery]:
        """Some of the next ones, after waiting for the first; now and then none."""
        ...

    async def acknowledge(self, sequences: Sequence[int]) -> None:
        """These are done."""
        ...

    async def give_back(self, sequences: Sequence[int]) -> None:
        """Somebody else may have these, at once."""
        ...

    async def hold(self, sequences: Sequence[int]) -> None:
        """These are still being worked on."""
        ...


class Bus(Protocol):
    """Use it while `run` runs. Nothing here blocks the event loop."""

    keeps: bool
    # Whether it has its messages after a restart of this process. One that has not needs them only
    # while somebody subscribes, which `wanted` tells; `unwanted` is the opposite.

    wanted: asyncio.Event
    unwanted: asyncio.Event

    fed: asyncio.Event
    # Set, unless somebody who feeds it while it is wanted has cleared it and not begun yet.

    async def run(self) -> None:
        """Be connected, as far as possible, until cancelled. A bus that is away is no error."""
        ...

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """For each of the messages whether the bus has acknowledged it.

        Waits a few seconds at most for a bus that does not answer. What is not acknowledged may be
        there all the same, and come after what was acknowledged beside it: messages whose order
        matters go in several calls.
        """
        ...

    def subscribe(
        self, pattern: str, start: Start = NOW
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Delivery]]]:
        """What is published while the block runs, on subjects that fit, in order and without end;
        and before that, what `start` asks for. An empty sequence comes when everything has been
        delivered that was there, once at least.

        What comes while nobody reads is kept by the bus: who is slower than that loses the oldest.
        Outlives a bus that goes away and comes back. Entering raises `BusUnavailable` where it does
        not answer.
        """
        ...

    def join(
        self, pattern: str, name: str, start: Start = NOW
    ) -> AbstractAsyncContextManager[Group]:
        """A member of the group of that name and pattern while the block runs. `name` holds the
        tenant, because patterns may resemble each other and groups be called alike.

        The first member makes the group, which begins at `start`; it is there for a week without
        any, or as long as the bus keeps anything. What a member holds when it leaves somebody else
        gets. Outlives a bus as `subscribe` does, and raises the same.
        """
        ...
