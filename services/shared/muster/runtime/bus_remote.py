"""`Bus` in another process: the one within a scheduler, for executors of a mesh without NATS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import grpc

from muster.backends.bus_base import NOW, BusUnavailable, Delivery, Message, Start
from muster.model import limits
from muster.model.errors import Code, NotAuthenticated
from muster.v1.bus_service_pb2 import (
    BusDelivery,
    JoinRequest,
    JoinResponse,
    PublishMessagesRequest,
    SubscribeRequest,
    SubscribeResponse,
)
from muster.v1.bus_service_pb2_grpc import BusServiceStub
from muster.wire.channel import Channels
from muster.wire.errors import error_of_rpc
from muster.wire.security import NO_TLS, Security
from muster.wire.times import timestamp_of_ms

ANSWER_SECONDS = 5.0
RECONNECT_SECONDS = 0.5
REQUEST_BYTES_MAX = limits.ITEM_BYTES_MAX

_JoinCall = grpc.aio.StreamStreamCall[JoinRequest, JoinResponse]
_AWAY = "the scheduler's bus does not answer; try again later"


class RemoteBus:
    """That of the scheduler at `target`."""

    keeps = False

    def __init__(self, target: str, security: Security = NO_TLS) -> None:
        self.wanted, self.unwanted = asyncio.Event(), asyncio.Event()
        self.wanted.set()  # whoever subscribes does so there
        self.fed = asyncio.Event()
        self.fed.set()
        self._target = target
        # Without retries: what fails is tried again here.
        self._channels = Channels(security, retries=False)

    async def run(self) -> None:
        """See `Bus.run`."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._channels.close()

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """See `Bus.publish`."""
        acknowledged: list[bool] = []
        for batch in _batches(messages):
            try:
                stub = self._stub()
                response = await stub.PublishMessages(batch, timeout=ANSWER_SECONDS)
                acknowledged += response.acknowledged
            except (grpc.RpcError, BusUnavailable):
                break
        return acknowledged + [False] * (len(messages) - len(acknowledged))

    def _stub(self) -> BusServiceStub:
        try:
            return BusServiceStub(self._channels.to(self._target))
        except NotAuthenticated:  # our certificates are no use now; others will come
            raise BusUnavailable(_AWAY) from None

    # --- subscribing ------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self, pattern: str, start: Start = NOW
    ) -> AsyncIterator[AsyncIterator[Sequence[Delivery]]]:
        """See `Bus.subscribe`."""
        began_ms = _wall_ms()
        call = await self._subscribe(pattern, start)
        calls = [call]
        if start == NOW:
            start = Start(since_ms=began_ms)  # for when it begins anew, and nothing has come
        try:
            yield self._deliveries(pattern, start, calls)
        finally:
            calls[0].cancel()

    async def _subscribe(
        self, pattern: str, start: Start
    ) -> grpc.aio.UnaryStreamCall[SubscribeRequest, SubscribeResponse]:
        stub = self._stub()
        call = stub.Subscribe(_request(pattern, start))
        await _first(call)
        return call

    async def _deliveries(
        self,
        pattern: str,
        start: Start,
        calls: list[grpc.aio.UnaryStreamCall[SubscribeRequest, SubscribeResponse]],
    ) -> AsyncIterator[Sequence[Delivery]]:
        while True:
            try:
                while isinstance(frame := await calls[0].read(), SubscribeResponse):
                    found = [_delivery(each) for each in frame.messages]
                    if found:
                        start = Start(from_sequence=found[-1].sequence + 1)
                    yield found
            except grpc.RpcError:
                pass
            await asyncio.sleep(RECONNECT_SECONDS)
            with suppress(BusUnavailable):
                calls[0] = await self._subscribe(pattern, start)

    # --- groups -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def join(self, pattern: str, name: str, start: Start = NOW) -> AsyncIterator[_Member]:
        """See `Bus.join`."""
        member = _Member(self._join, pattern, name, start)
        await member.begin()
        try:
            yield member
        finally:
            member.end()

    async def _join(self, request: JoinRequest) -> _JoinCall:
        stub = self._stub()
        call = stub.Join()
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # the read says what it was
            await call.write(request)
        await _first(call)
        return call


class _Member:
    """A member of a group, over a stream that is made again when it breaks."""

    def __init__(
        self,
        join: Callable[[JoinRequest], object],
        pattern: str,
        name: str,
        start: Start,
    ) -> None:
        self._join = join
        self._pattern = pattern
        self._name = name
        self._start = start
        self._call: _JoinCall | None = None
        self._writing = asyncio.Lock()

    async def begin(self) -> None:
        """Join. Raises `BusUnavailable`."""
        subscription = _request(self._pattern, self._start)
        request = JoinRequest(subscription=subscription, group=self._name)
        self._call = await self._join(request)  # type: ignore[misc]

    async def fetch(self, most: int) -> Sequence[Delivery]:
        """See `Group.fetch`."""
        try:
            if self._call is None:
                await self.begin()
            call = self._call
            assert call is not None
            await self._write(JoinRequest(fetch=most))
            response = await call.read()
            if isinstance(response, JoinResponse):
                return [_delivery(each) for each in response.messages]
        except (grpc.RpcError, BusUnavailable):
            pass
        self.end()
        # Another bus has not had this group.
        self._start = Start(since_ms=_wall_ms())
        await asyncio.sleep(RECONNECT_SECONDS)
        return ()

    async def acknowledge(self, sequences: Sequence[int]) -> None:
        """See `Group.acknowledge`."""
        await self._write(JoinRequest(acknowledged=sequences))

    async def give_back(self, sequences: Sequence[int]) -> None:
        """See `Group.give_back`."""
        await self._write(JoinRequest(returned=sequences))

    async def hold(self, sequences: Sequence[int]) -> None:
        """See `Group.hold`."""
        await self._write(JoinRequest(held=sequences))

    async def _write(self, request: JoinRequest) -> None:
        async with self._writing:
            if self._call is not None:
                with suppress(grpc.RpcError, asyncio.InvalidStateError):
                    await self._call.write(request)

    def end(self) -> None:
        """Leave."""
        if self._call is not None:
            self._call.cancel()
            self._call = None


async def _first(call: grpc.aio.UnaryStreamCall | _JoinCall) -> None:  # type: ignore[type-arg]
    """Waits for the frame that says that it has begun. Raises `BusUnavailable`."""
    why = _AWAY
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            if await call.read() is not grpc.aio.EOF:
                return
    except TimeoutError:
        pass
    except grpc.RpcError as error:
        said = error_of_rpc(error)
        why = said.message if said.code is Code.FAILED_PRECONDITION else _AWAY
    except BaseException:
        call.cancel()
        raise
    call.cancel()
    raise BusUnavailable(why)


def _request(pattern: str, start: Start) -> SubscribeRequest:
    request = SubscribeRequest(pattern=pattern)
    if start.from_sequence is not None:
        request.from_sequence = start.from_sequence
    elif start.since_ms is not None:
        request.since.CopyFrom(timestamp_of_ms(start.since_ms))
    return request


def _delivery(message: BusDelivery) -> Delivery:
    found = Message(message.subject, message.id, message.body)
    return Delivery(message.sequence, found, message.deliveries)


def _batches(messages: Sequence[Message]) -> Iterable[PublishMessagesRequest]:
    batch, size = PublishMessagesRequest(), 0
    for each in messages:
        if batch.messages and (
            size + len(each.body) > REQUEST_BYTES_MAX or len(batch.messages) == limits.BUS_BATCH_MAX
        ):
            yield batch
            batch, size = PublishMessagesRequest(), 0
        batch.messages.add(subject=each.subject, id=each.id, body=each.body)
        size += len(each.body)
    if batch.messages:
        yield batch


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
