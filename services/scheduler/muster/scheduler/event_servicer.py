"""EventService on gRPC: the bus, confined to the caller's tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from muster.backends.bus_base import Bus, Message, Start
from muster.model.errors import FailedPrecondition, InvalidArgument, Violation
from muster.model.subjects import is_pattern, matches, tenant_subject
from muster.runtime.principal import current_principal
from muster.scheduler.cloud_events import message_of
from muster.scheduler.event_merging import merged
from muster.scheduler.publishing import Publisher
from muster.scheduler.replaying import happened_since, replay
from muster.scheduler.routing import Router
from muster.scheduler.service import Scheduler
from muster.v1 import event_service_pb2_grpc
from muster.v1.event_service_pb2 import (
    ReplayEventsRequest,
    ReplayEventsResponse,
    WatchEventsRequest,
    WatchEventsResponse,
)
from muster.wire.times import ms_of_timestamp

_Context = grpc.aio.ServicerContext[Any, Any]
MESSAGES_PER_FRAME = 256  # of about 0.7 KB each


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """What subscribers without access to the bus call."""

    def __init__(
        self, scheduler: Scheduler, bus: Bus, publisher: Publisher, router: Router
    ) -> None:
        self._scheduler = scheduler
        self._bus = bus
        self._publisher = publisher
        self._router = router

    async def WatchEvents(
        self, request: WatchEventsRequest, context: _Context
    ) -> AsyncIterator[WatchEventsResponse]:
        caller = current_principal()
        subject = tenant_subject(caller.tenant, _pattern_of(request))
        frames = self._watch(caller.tenant, subject, _start_of(request))
        if not self._bus.keeps and self._router.has_others and self._router.shares(context):
            if request.from_sequence:
                text = "numbers are of one bus, and here each scheduler has its own; say since"
                raise FailedPrecondition(f"from_sequence: {text}, or use NATS (MUSTER_BUS)")
            frames = merged(self._router, caller, request, frames)
        async for frame in frames:
            yield frame

    async def _watch(
        self, tenant: str, subject: str, start: Start
    ) -> AsyncIterator[WatchEventsResponse]:
        """From the bus; what has happened to contracts and never was on a bus in this process,
        because nobody listened, from the ledger."""
        async with self._bus.subscribe(subject, start) as deliveries:
            await self._publisher.feeding.wait()
            yield WatchEventsResponse()
            if start.since_ms is not None and not self._bus.keeps:
                ledger = self._scheduler.ledger
                async for of_each in happened_since(ledger, tenant, start.since_ms):
                    stored = (message_of(event) for events in of_each for event in events)
                    fitting = [(0, each) for each in stored if matches(subject, each.subject)]
                    for first in range(0, len(fitting), MESSAGES_PER_FRAME):
                        yield _frame(fitting[first : first + MESSAGES_PER_FRAME])
            async for found in deliveries:
                if found:
                    yield _frame((each.sequence, each.message) for each in found)

    async def ReplayEvents(
        self, request: ReplayEventsRequest, context: _Context
    ) -> AsyncIterator[ReplayEventsResponse]:
        """From the ledger, which every scheduler can read all of."""
        self._require_one_bus()
        tenant, since_ms = current_principal().tenant, ms_of_timestamp(request.since)
        async for reached in replay(self._scheduler.ledger, self._bus, tenant, since_ms):
            yield ReplayEventsResponse(contracts=reached.contracts, events=reached.events)

    def _require_one_bus(self) -> None:
        """Raises `FailedPrecondition` where each of several schedulers has a bus of its own."""
        if not self._bus.keeps and self._router.has_others:
            raise FailedPrecondition(
                "several schedulers have no bus in common that could be refilled; whoever watches "
                "them since a time gets it from the ledger anyway"
            )


def _pattern_of(request: WatchEventsRequest) -> str:
    pattern = request.pattern or ">"
    if not is_pattern(pattern):
        message = (
            'must be lower-case words with dots between them, of which "*" stands for any, and '
            '">" at the end for one or more, such as contract.ended.>'
        )
        raise InvalidArgument(f"pattern {message}", violations=[Violation("pattern", message)])
    return pattern


def _start_of(request: WatchEventsRequest) -> Start:
    if request.HasField("since") and request.from_sequence:
        text = "cannot be told by both since and from_sequence"
        violation = Violation("from_sequence", text)
        raise InvalidArgument(f"where to begin {text}", violations=[violation])
    since_ms = ms_of_timestamp(request.since) if request.HasField("since") else None
    return Start(since_ms, request.from_sequence or None)


def _frame(messages: Iterable[tuple[int, Message]]) -> WatchEventsResponse:
    frame = WatchEventsResponse()
    for sequence, message in messages:
        frame.messages.add(
            sequence=sequence,
            subject=message.subject,
            id=message.id,
            event=message.body.decode(errors="replace"),
        )
    return frame
