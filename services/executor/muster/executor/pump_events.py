"""Events in the frames of a session: what hosts say about them, and what goes to hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from muster.backends.bus_base import Bus, Message
from muster.executor.agent_events import AgentEvents
from muster.executor.core import Core
from muster.executor.core_rings import Taken
from muster.executor.core_state import Session
from muster.executor.core_topics import Wish
from muster.executor.publishing import Publishing, answer
from muster.executor.subscribing import Subscribing
from muster.model import limits
from muster.model.errors import (
    FailedPrecondition,
    Fenced,
    InvalidArgument,
    MusterError,
    NotFound,
    Violation,
)
from muster.model.subjects import TOPIC, topic_subject
from muster.runtime.lifetime import background
from muster.runtime.validation import check
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.executor_service_pb2 import ConnectResponse
from muster.v1.session_pb2 import ItemRefusal
from muster.v1.subscription_pb2 import SUBSCRIPTION_MODE_COMPETING, EventSubscription
from muster.v1.topic_pb2 import EventAck, Publish
from muster.wire.cloud_event import TYPE, cloud_event
from muster.wire.errors import status_of
from muster.wire.jsontext import json_value
from muster.wire.payload import BINARY_MEDIA_TYPE
from muster.wire.times import ms_of_timestamp

NO_BUS: Final = (
    "several schedulers without NATS have no bus in common, so agents hear no events and publish "
    "none; start the mesh with it (MUSTER_BUS, or muster up --with nats)"
)


class Events:
    """What agents subscribe to and publish, on the bus; without one it is refused."""

    def __init__(
        self,
        core: Core,
        executor: str,
        bus: Bus | None,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        flush: Callable[[], None],
    ) -> None:
        self._core = core
        self._bus = bus
        self._clock = clock
        self._wall_ms = wall_ms
        self._flush = flush
        self.subscribing = Subscribing(core, bus, clock, flush) if bus is not None else None
        self.publishing = Publishing(core.book, bus) if bus is not None else None
        self._agents = None
        if bus is not None and self.publishing is not None:
            self._agents = AgentEvents(core.book, bus, self.publishing, executor, wall_ms)

    async def run(self) -> None:
        """Read and write the bus, until cancelled."""
        if self.subscribing is None or self.publishing is None or self._agents is None:
            return
        publishing = self.publishing
        async with background(
            self.subscribing.run, lambda: publishing.run(self._flush), self._agents.run
        ):
            await asyncio.Event().wait()

    def sweep(self) -> None:
        """See `Subscribing.sweep`."""
        if self.subscribing is not None:
            self.subscribing.sweep()

    # --- subscriptions ----------------------------------------------------------------------------

    def admit(self, session: Session, spec: AgentSpec) -> list[Wish]:
        """What the agent subscribes to. Raises `MusterError` where it cannot."""
        if not spec.event_subscriptions:
            return []
        if self._bus is None:
            raise FailedPrecondition(NO_BUS)
        wishes = [_wish(each, spec) for each in spec.event_subscriptions]
        self._core.topics.admit(session, spec.name, wishes, self._clock())
        return wishes

    def subscribe(self, session: Session, name: str, wishes: list[Wish]) -> None:
        """The agent, which is attached, has these subscriptions from now on."""
        agent = session.agents[name]
        sources = self._core.topics.subscribe(agent, wishes)
        if self.subscribing is not None and sources:
            self.subscribing.begin(agent, sources)

    def acknowledge(self, session: Session, acks: Iterable[EventAck]) -> None:
        """A host has dealt with events."""
        topics, cost = self._core.topics, 0
        for ack in acks:
            cost += len(ack.agents) * len(ack.sequences)
            try:
                check(ack)
                if cost > limits.EVENT_ACKS_PER_FRAME_MAX:
                    most = limits.EVENT_ACKS_PER_FRAME_MAX
                    raise InvalidArgument(f"a frame acknowledges at most {most} events of agents")
            except InvalidArgument as error:
                self._refuse(session, "event_acks", error)
                continue
            for agent in ack.agents:
                topics.acknowledge(session, agent, ack.pattern, ack.sequences, failed=ack.failed)

    def _refuse(self, session: Session, field: str, error: MusterError) -> None:
        self._core.book.counts.refusals += 1
        session.outbox.refusals.append(ItemRefusal(field=field, error=status_of(error)))
        self._core.book.wake(session)

    # --- publishing -------------------------------------------------------------------------------

    def publish(self, session: Session, publishes: Iterable[Publish]) -> None:
        """A host publishes events; each is answered by its id."""
        for publish in publishes:
            try:
                check(publish)
                if self.publishing is None:
                    raise FailedPrecondition(NO_BUS)
                self._require_publisher(session, publish)
                message = _message(session.tenant, publish, self._wall_ms())
                self.publishing.offer(message, session, publish)
            except MusterError as error:
                answer(self._core.book, session, publish, error)

    def _require_publisher(self, session: Session, publish: Publish) -> None:
        session.caller.require_publish(publish.topic)
        agent = session.agents.get(publish.agent)
        if publish.HasField("attempt"):
            key = (publish.attempt.contract_id, publish.attempt.epoch)
            lease = session.leases.get(key)
            if lease is None or lease.agent.name != publish.agent:
                raise Fenced("this session does not hold that attempt")
        elif agent is None or not agent.attached:
            message = f"there is no agent {publish.agent} on this session"
            raise NotFound(message, reason="AGENT_UNKNOWN")


def _wish(subscription: EventSubscription, spec: AgentSpec) -> Wish:
    competing = subscription.mode == SUBSCRIPTION_MODE_COMPETING
    if subscription.group and not competing:
        text = "is for COMPETING subscriptions only; in BROADCAST each agent gets every event"
        violation = Violation("spec.event_subscriptions.group", text)
        raise InvalidArgument(f"group {text}", violations=[violation])
    window = subscription.unacked_max or (
        limits.EVENTS_UNACKED_COMPETING_DEFAULT
        if competing
        else limits.EVENTS_UNACKED_BROADCAST_DEFAULT
    )
    start = subscription.WhichOneof("start")
    return Wish(
        subscription.pattern,
        (subscription.group or spec.kind or spec.name) if competing else None,
        ms_of_timestamp(subscription.since) if start == "since" else None,
        subscription.from_sequence if start == "from_sequence" else None,
        window,
    )


def _message(tenant: str, publish: Publish, now_ms: int) -> Message:
    """What goes to the bus. Raises `InvalidArgument` for data that cannot."""
    by_contract = publish.HasField("attempt")
    contract_id = publish.attempt.contract_id if by_contract else ""
    of = f"contracts/{contract_id}" if by_contract else f"agents/{publish.agent}"
    number = f"{TOPIC}/{tenant}/{of}/{publish.id}"
    body = cloud_event(
        number,
        f"/tenants/{tenant}/agents/{publish.agent}",
        publish.type or TYPE + TOPIC,
        ms_of_timestamp(publish.time) if publish.HasField("time") else now_ms,
        _data(publish),
        subject=publish.subject,
        contractid=contract_id,
        traceparent=publish.trace_context.traceparent,
        tracestate=publish.trace_context.tracestate,
    )
    return Message(topic_subject(tenant, publish.topic), number, body)


def _data(publish: Publish) -> str | tuple[str, bytes] | None:
    kind = publish.data.WhichOneof("content")
    if kind is None:
        return None
    if kind == "json":
        try:
            json_value(publish.data.json)
        except ValueError as error:
            raise _wrong_data(f"is no JSON: {error}") from None
        return publish.data.json
    if kind == "binary":
        binary = publish.data.binary
        return binary.media_type or BINARY_MEDIA_TYPE, binary.data
    raise _wrong_data("must be JSON or bytes; of a blob, publish the reference as JSON")


def _wrong_data(why: str) -> InvalidArgument:
    return InvalidArgument(f"the data {why}", violations=[Violation("data", why)])


# --- to hosts -------------------------------------------------------------------------------------


def fill_events(frame: ConnectResponse, taken: Taken) -> None:
    """Adds what was taken of a session's feed."""
    for gap in taken.gaps:
        frame.event_gaps.add(pattern=gap.pattern, agents=gap.agents, events_missing=gap.missing)
    for event in taken.events:
        message = event.item.message
        frame.events.add(
            pattern=event.pattern,
            agents=event.agents,
            sequence=event.item.sequence,
            subject=message.subject,
            id=message.id,
            # Anybody can publish to NATS; what is no text must not break the stream.
            event=message.body.decode(errors="replace"),
            redelivered=event.again,
        )
