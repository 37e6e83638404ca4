"""BusService on gRPC: the bus of this process, for executors without one of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc

from muster.backends.bus_base import Bus, Delivery, Message, Start
from muster.model.errors import FailedPrecondition, InvalidArgument
from muster.runtime.lifetime import background
from muster.v1.bus_service_pb2 import (
    BusDelivery,
    JoinRequest,
    JoinResponse,
    PublishMessagesRequest,
    PublishMessagesResponse,
    SubscribeRequest,
    SubscribeResponse,
)
from muster.v1.bus_service_pb2_grpc import BusServiceServicer
from muster.wire.times import ms_of_timestamp

_Context = grpc.aio.ServicerContext[Any, Any]
FETCHES_MAX = 4  # that a member has asked for and not been answered


class BusServicer(BusServiceServicer):
    """`is_alone` says whether this is the only bus of the mesh."""

    def __init__(self, bus: Bus, is_alone: Callable[[], bool]) -> None:
        self._bus = bus
        self._is_alone = is_alone

    async def PublishMessages(
        self, request: PublishMessagesRequest, context: _Context
    ) -> PublishMessagesResponse:
        self._require_alone()
        messages = [Message(each.subject, each.id, each.body) for each in request.messages]
        return PublishMessagesResponse(acknowledged=await self._bus.publish(messages))

    async def Subscribe(
        self, request: SubscribeRequest, context: _Context
    ) -> AsyncIterator[SubscribeResponse]:
        self._require_alone()
        async with self._bus.subscribe(request.pattern, _start_of(request)) as deliveries:
            yield SubscribeResponse()
            async for found in deliveries:
                frame = SubscribeResponse(at_end=not found)
                _fill(frame.messages, found)
                yield frame

    async def Join(
        self, request_iterator: AsyncIterator[JoinRequest], context: _Context
    ) -> AsyncIterator[JoinResponse]:
        self._require_alone()
        first = await anext(request_iterator, None)
        if first is None or not first.HasField("subscription") or not first.group:
            raise InvalidArgument("the first frame must name a subscription and a group")
        wanted = first.subscription
        fetches: asyncio.Queue[int] = asyncio.Queue(FETCHES_MAX)
        async with self._bus.join(wanted.pattern, first.group, _start_of(wanted)) as member:

            async def read() -> None:
                async for request in request_iterator:
                    await member.acknowledge(request.acknowledged)
                    await member.give_back(request.returned)
                    await member.hold(request.held)
                    if request.fetch:
                        await fetches.put(request.fetch)
                await fetches.put(0)

            async with background(read):
                yield JoinResponse()
                while most := await fetches.get():
                    response = JoinResponse()
                    _fill(response.messages, await member.fetch(most))
                    yield response

    def _require_alone(self) -> None:
        if not self._is_alone():
            raise FailedPrecondition(
                "the schedulers have no bus in common that executors could use through one of "
                "them; tell executors of NATS as well (MUSTER_BUS)"
            )


def _start_of(request: SubscribeRequest) -> Start:
    kind = request.WhichOneof("start")
    return Start(
        ms_of_timestamp(request.since) if kind == "since" else None,
        request.from_sequence if kind == "from_sequence" else None,
    )


def _fill(field: Any, deliveries: Iterable[Delivery]) -> None:
    for each in deliveries:
        message = each.message
        field.append(
            BusDelivery(
                subject=message.subject,
                id=message.id,
                body=message.body,
                sequence=each.sequence,
                deliveries=each.deliveries,
            )
        )
