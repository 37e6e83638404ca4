"""Writes down what a host says to the mesh and hears from it, frame by frame.

`tap` puts itself between the SDK and gRPC in this process: every frame passes unchanged, and what
matters of it goes into the journal, before it is sent, and before the SDK acts on it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

import grpc

import muster.agent.host
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.session_pb2 import (
    HELD_STATE_REPORTED,
    HELD_STATE_SUSPENDED,
    Assignment,
    AttemptKey,
    LeaseDecision,
)
from muster.wire.times import seconds_of_duration, seconds_of_timestamp
from tests.support.history.journal import Journal
from tests.support.history.messages import item_sent, report_of, verdict_name
from tests.support.history.records import (
    Assigned,
    Beat,
    Decision,
    Offered,
    Record,
    Released,
    SessionClosed,
    Verdict,
    Welcomed,
)

Key = tuple[str, int]

_WITHOUT_SLOT = frozenset((HELD_STATE_SUSPENDED, HELD_STATE_REPORTED))


class Writer(Protocol):
    """What takes records down, as a journal does."""

    def write(self, record: Record) -> None:
        """Takes down a record."""


class Wire:
    """What one host's frames say. One for all its sessions, for leases outlive sessions."""

    def __init__(self, journal: Writer) -> None:
        self._journal = journal
        self._host = ""
        self._tenant = "default"
        self._session = ""
        self._specs: dict[str, AgentSpec] = {}
        self._agent_of: dict[Key, str] = {}  # of attempts that take a slot
        self._active: Counter[str] = Counter()  # by agent, how many those are

    # --- to the mesh ------------------------------------------------------------------------------

    def sent(self, frame: ConnectRequest) -> None:
        """A frame is about to be sent."""
        if frame.HasField("hello"):
            self._host = frame.hello.host
            for spec in frame.hello.agents:
                self._specs[spec.name] = spec
            still = {_pair(each.key) for each in frame.hello.held}
            for gone in [each for each in self._agent_of if each not in still]:
                self._free(gone)
                self._journal.write(Released(*gone, self._session, "gone"))
        for attach in frame.attaches:
            self._specs[attach.spec.name] = attach.spec
            if self._session:
                self._offer(attach.spec)
        for held in (*frame.hello.held, *frame.heartbeat.held):
            if held.state in _WITHOUT_SLOT:  # the mesh hears it here first
                self._free(_pair(held.key))
        for item in frame.items:
            self._journal.write(item_sent(item, self._session))
        for key in frame.suspends:
            self._release(key, "suspended")
        for returned in frame.returns:
            self._release(returned.key, "returned")
        for report in frame.reports:
            self._free(_pair(report.key))
            self._journal.write(report_of(report, self._session))
        for stop in frame.stops:
            self._release(stop.key, "stopped")
        if frame.HasField("heartbeat"):
            self._journal.write(Beat(self._session, len(frame.heartbeat.held)))

    def _release(self, key: AttemptKey, how: str) -> None:
        self._free(_pair(key))
        self._journal.write(Released(key.contract_id, key.epoch, self._session, how))

    def _free(self, key: Key) -> None:
        agent = self._agent_of.pop(key, None)
        if agent is not None:
            self._active[agent] -= 1

    def _offer(self, spec: AgentSpec) -> None:
        for each in spec.capabilities:
            offer = Offered(spec.name, self._host, each.name, spec.max_in_flight, self._tenant)
            self._journal.write(offer)

    # --- from the mesh ----------------------------------------------------------------------------

    def came(self, frame: ConnectResponse) -> None:
        """A frame has come."""
        if frame.HasField("welcome"):
            welcome = frame.welcome
            self._session, self._tenant = welcome.session_id, welcome.tenant or self._tenant
            lease = seconds_of_duration(welcome.lease_duration)
            self._journal.write(Welcomed(self._host, self._session, welcome.session_epoch, lease))
            for spec in self._specs.values():
                self._offer(spec)
        for verdict in frame.verdicts:
            name = LeaseDecision.Name(verdict.decision).removeprefix("LEASE_DECISION_")
            if name == "DROP":
                self._free(_pair(verdict.key))
            self._journal.write(Decision(*_pair(verdict.key), self._session, name))
        for ack in frame.report_acks:
            name = verdict_name(ack.verdict)
            self._journal.write(Verdict(*_pair(ack.key), self._session, name))
        for cancel in frame.cancels:
            self._free(_pair(cancel.key))
            decision = Decision(*_pair(cancel.key), self._session, "CANCEL", cancel.code)
            self._journal.write(decision)
        for assignment in frame.assignments:
            self._assigned(assignment)

    def _assigned(self, assignment: Assignment) -> None:
        if _pair(assignment.key) not in self._agent_of:
            self._agent_of[_pair(assignment.key)] = assignment.agent
            self._active[assignment.agent] += 1
        self._journal.write(
            Assigned(
                *_pair(assignment.key),
                assignment.attempt,
                assignment.agent,
                self._host,
                self._session,
                assignment.capability,
                assignment.tenant,
                seconds_of_timestamp(assignment.deadline),
                seconds_of_duration(assignment.time_left),
                self._active[assignment.agent],
            )
        )

    def closed(self, reason: str) -> None:
        """The stream has ended."""
        if self._session:
            self._journal.write(SessionClosed(self._host, self._session, reason))


def _pair(key: AttemptKey) -> Key:
    return key.contract_id, key.epoch


class TappedCall:
    """A stream that a host talks on, as far as the SDK uses it."""

    def __init__(self, call: Any, wire: Wire) -> None:
        self._call = call
        self._wire = wire

    async def write(self, frame: ConnectRequest) -> None:
        """Sends a frame."""
        self._wire.sent(frame)
        await self._call.write(frame)

    async def read(self) -> Any:
        """The next frame, or gRPC's mark of the end."""
        try:
            frame = await self._call.read()
        except grpc.RpcError as error:
            self._wire.closed(str(error.code()))
            raise
        if frame is grpc.aio.EOF:
            self._wire.closed("its end")
        else:
            self._wire.came(frame)
        return frame

    async def done_writing(self) -> None:
        """Sends nothing more."""
        await self._call.done_writing()

    def cancel(self) -> bool:
        """Ends the stream."""
        return bool(self._call.cancel())


def tap(journal: Journal) -> None:
    """From now on every host of this process writes down what passes."""
    wire = Wire(journal)

    class TappedStub:
        def __init__(self, channel: grpc.aio.Channel) -> None:
            self._stub = ExecutorServiceStub(channel)

        def Connect(self, **options: Any) -> TappedCall:
            """Opens a stream."""
            return TappedCall(self._stub.Connect(**options), wire)

    setattr(muster.agent.host, "ExecutorServiceStub", TappedStub)  # noqa: B010 - not exported
