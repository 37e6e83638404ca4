"""Follows contracts as they change, across restarts of the mesh."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from muster.agent.asking import state_name
from muster.agent.contents import fetch
from muster.agent.reopening import reopened
from muster.agent.values import value_of
from muster.model.errors import InvalidArgument, Violation
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.event_pb2 import Cursor, Event, EventType, LogLevel, StreamItem
from muster.v1.scheduler_service_pb2 import WatchContractsRequest, WatchContractsResponse
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.agent.services import Services
    from muster.v1.response_pb2 import Response


@dataclass(frozen=True, slots=True)
class Change:
    """A contract has changed its state; `type` and `state` are words such as LEASED and RUNNING."""

    contract_id: str
    sequence: int
    type: str
    state: str
    time: float
    capability: str
    agent: str
    code: str
    agent_kind: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Restarted:
    """Another attempt has begun to speak: what the one before put out does not count any more."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the attempt is, from 0 to 1; negative when it does not know."""

    fraction: float
    message: str


@dataclass(frozen=True, slots=True)
class Log:
    """A line of the attempt's log; `level` is DEBUG, INFO, WARNING or ERROR."""

    level: str
    message: str
    time: float


@dataclass(frozen=True, slots=True)
class Output:
    """A part of the attempt's output, counted from 0."""

    chunk: int
    value: Any


@dataclass(frozen=True, slots=True)
class Missing:
    """So many stream items are no longer kept, or an unknown number where it is 0."""

    items: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The contract has ended. The last update."""

    response: Response


Update = Change | Restarted | Progress | Log | Output | Missing | Ended


async def follow_contract(services: Services, contract_id: str) -> AsyncIterator[Update]:
    """One contract, from its beginning to its end; each thing once."""
    request = WatchContractsRequest(contract_id=contract_id)
    seen = Cursor()
    async for frame in _frames(services, request):
        for event in frame.events:
            if event.sequence > seen.sequence:
                seen.sequence = event.sequence
                yield _change(event)
        if frame.HasField("gap"):
            yield Missing(frame.gap.items_missing)
        for item in frame.items:
            if (item.epoch, item.index) <= (seen.epoch, seen.index):
                continue
            if item.epoch > seen.epoch and seen.epoch:
                yield Restarted(item.epoch)
            seen.epoch, seen.index = item.epoch, item.index
            yield await _said(item, services)
        if frame.HasField("response"):
            yield Ended(frame.response)
            return


async def watch_contracts(
    services: Services, chosen: ContractFilter, since: str | None
) -> AsyncIterator[Change]:
    """Every change of the contracts that fit, without end: from now on, or after a position.

    Raises `InvalidArgument` for what `position` has not made.
    """
    request = WatchContractsRequest(filter=chosen)
    if since is not None:
        request.cursor.CopyFrom(_cursor_of(since))
    async for frame in _frames(services, request):
        for change in _changes(frame):
            yield change


async def position(services: Services) -> str:
    """Where the stream of all changes stands now."""
    request = WatchContractsRequest(filter=ContractFilter())
    async with aclosing(_frames(services, request)) as frames:
        async for frame in frames:
            return urlsafe_b64encode(frame.cursor.SerializeToString()).decode()
    raise AssertionError("a watch does not end by itself")


def _cursor_of(position: str) -> Cursor:
    try:
        return Cursor.FromString(urlsafe_b64decode(position))
    except (ValueError, DecodeError):
        text = "must be what position() returned"
        raise InvalidArgument(f"since {text}", violations=[Violation("since", text)]) from None


def _changes(frame: WatchContractsResponse) -> Iterator[Change]:
    return (_change(event) for event in frame.events)


async def _frames(
    services: Services, request: WatchContractsRequest
) -> AsyncGenerator[WatchContractsResponse, None]:
    """Frames of a watch that goes on from its last cursor whenever its stream ends."""
    watch = reopened(
        lambda: services.scheduler.WatchContracts(request, metadata=services.targets.metadata)
    )
    async with aclosing(watch) as frames:
        async for frame in frames:
            if frame.HasField("cursor"):
                request.cursor.CopyFrom(frame.cursor)
            yield frame


def _change(event: Event) -> Change:
    return Change(
        contract_id=event.contract_id,
        sequence=event.sequence,
        type=EventType.Name(event.type).removeprefix("EVENT_TYPE_"),
        state=state_name(event.state),
        time=seconds_of_timestamp(event.time),
        capability=event.capability,
        agent=event.agent,
        code=event.code,
        agent_kind=event.agent_kind,
        epoch=event.epoch,
    )


async def _said(item: StreamItem, services: Services) -> Update:
    kind = item.WhichOneof("kind")
    if kind == "progress":
        return Progress(item.progress.fraction, item.progress.message)
    if kind == "log":
        level = LogLevel.Name(item.log.level).removeprefix("LOG_LEVEL_")
        return Log(level, item.log.message, seconds_of_timestamp(item.time))
    content = await fetch(item.output.payload, services.blobs)
    return Output(item.output.chunk, value_of(content))
