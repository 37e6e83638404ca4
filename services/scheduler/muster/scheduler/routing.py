"""Leads calls to the scheduler that owns what they are about: any of them answers any call.

A call is passed on once. Where two schedulers do not agree yet about who owns a shard, the second
one says UNAVAILABLE, and the caller tries again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import grpc

from muster.model.errors import Code, MusterError, NotAuthenticated, Unavailable
from muster.model.ids import shard_of_id, shard_of_scope
from muster.runtime.principal import FORWARDED_KEY, Principal, metadata_of
from muster.scheduler.admission import moving
from muster.scheduler.messages_in import id_of
from muster.scheduler.sharing import Sharing
from muster.v1.event_service_pb2_grpc import EventServiceStub
from muster.v1.inbox_service_pb2_grpc import InboxServiceStub
from muster.v1.request_pb2 import Request
from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from muster.wire.channel import Channels
from muster.wire.errors import error_of_rpc
from muster.wire.security import NO_TLS, Security

Metadata = tuple[tuple[str, str], ...]
_T = TypeVar("_T")


class Context(Protocol):
    """What is needed of a call's context."""

    def invocation_metadata(self) -> Any: ...

    def time_remaining(self) -> float | None: ...


class Peer:
    """Another scheduler, for one caller."""

    def __init__(self, name: str, channel: grpc.aio.Channel, caller: Principal) -> None:
        self.name = name
        self.stub = SchedulerServiceStub(channel)
        self.channel = channel
        self.metadata: Metadata = ((FORWARDED_KEY, "1"), *metadata_of(caller))

    @property
    def events(self) -> EventServiceStub:
        """Its bus."""
        return EventServiceStub(self.channel)

    @property
    def inbox(self) -> InboxServiceStub:
        """Its part of the inbox."""
        return InboxServiceStub(self.channel)

    @property
    def schedules(self) -> ScheduleServiceStub:
        """Its schedules."""
        return ScheduleServiceStub(self.channel)

    async def ask(
        self, method: Callable[..., Awaitable[_T]], request: object, context: Context
    ) -> _T:
        """The other's answer to a unary call; raises what it raised, as a `MusterError`."""
        try:
            return await method(request, metadata=self.metadata, timeout=context.time_remaining())
        except grpc.aio.AioRpcError as error:
            raise _said(error) from None


class Router:
    """Who is to be asked. Without `sharing` there is only one scheduler, and nobody else is."""

    def __init__(self, security: Security = NO_TLS) -> None:
        self.sharing: Sharing | None = None
        # Without retries: what a peer refuses is for the caller to try again.
        self._channels = Channels(security, retries=False)

    async def close(self) -> None:
        """Close the connections to the others."""
        await self._channels.close()

    @property
    def has_others(self) -> bool:
        """Whether other schedulers share the ledger."""
        return self.sharing is not None and len(self.sharing.addresses) > 1

    def shares(self, context: Context) -> bool:
        """Whether the call is for this scheduler to divide among all that share the ledger."""
        return self.sharing is not None and not is_forwarded(context)

    def of_request(self, request: Request, caller: Principal, context: Context) -> Peer | None:
        """Who takes a request; None: this scheduler."""
        if self.sharing is None:
            return None
        return self.of_shard(shard_of_request(request, caller), caller, context)

    def of_contract(self, contract_id: str, caller: Principal, context: Context) -> Peer | None:
        """Who knows best about a contract; None: this scheduler."""
        if self.sharing is None:
            return None
        return self.of_shard(shard_of_id(id_of(contract_id)), caller, context)

    def of_shard(self, shard: int, caller: Principal, context: Context) -> Peer | None:
        """Who owns a shard; None: this scheduler."""
        if self.sharing is None:
            return None
        name = self.owner_of(shard)
        if name is None:
            return None
        if is_forwarded(context):
            raise moving()
        return self.peer(name, caller)

    def owner_of(self, shard: int) -> str | None:
        """The name of the scheduler that owns a shard; None: this one. Raises `Unavailable`."""
        sharing = self.sharing
        if sharing is None or sharing.owns(shard):
            return None
        name = sharing.owners.get(shard, "")
        if name == sharing.name or name not in sharing.addresses:
            raise moving()
        return name

    def peers(self, caller: Principal) -> list[Peer]:
        """Every other scheduler that lives."""
        if self.sharing is None:
            return []
        others = (name for name in self.sharing.addresses if name != self.sharing.name)
        return [self.peer(name, caller) for name in sorted(others)]

    def peer(self, name: str, caller: Principal) -> Peer:
        """Another scheduler that lives. Raises `Unavailable` where it does not."""
        assert self.sharing is not None
        address = self.sharing.addresses.get(name)
        if address is None:
            raise moving()
        try:
            channel = self._channels.to(address)
        except NotAuthenticated:
            # Our own certificates are no use now, which is not the caller's fault.
            raise Unavailable("the scheduler cannot reach the others; try again") from None
        return Peer(name, channel, caller)


def is_forwarded(context: Context) -> bool:
    """Whether another scheduler has passed the call on."""
    metadata: Iterable[tuple[str, str | bytes]] = context.invocation_metadata() or ()
    return any(key == FORWARDED_KEY for key, _ in metadata)


def shard_of_request(request: Request, caller: Principal) -> int:
    """The shard that a request belongs to: its parent's, or that of its idempotency scope."""
    if request.HasField("parent"):
        # A malformed id is refused where the request is checked; any shard will do for that.
        with suppress(ValueError):
            return shard_of_id(int(request.parent.contract_id, 16))
        return 0
    return shard_of_scope(caller.tenant, caller.name, request.request_id)


async def relayed(
    call: grpc.aio.UnaryStreamCall[Any, _T] | grpc.aio.StreamStreamCall[Any, _T],
) -> AsyncIterator[_T]:
    """What a peer streams; raises what it raised, as a `MusterError`."""
    try:
        async for each in call:
            yield each
    except grpc.aio.AioRpcError as error:
        raise _said(error) from None
    finally:
        call.cancel()


def _said(error: grpc.aio.AioRpcError) -> MusterError:
    """What a peer said. What has no reason is nobody's word but gRPC's own: a peer that dies breaks
    off calls with whatever code fits the moment."""
    said = error_of_rpc(error)
    if said.reason or said.code in (Code.CANCELLED, Code.DEADLINE_EXCEEDED):
        return said
    return moving()
