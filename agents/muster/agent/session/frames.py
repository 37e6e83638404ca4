"""Frames of the agent session on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from muster.agent.session.core_outbox import Frame, Key, Lease
from muster.v1.executor_service_pb2 import ConnectRequest
from muster.v1.session_pb2 import AttemptKey, HeldLease

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    from muster.v1.agent_pb2 import AgentSpec

    Keys = RepeatedCompositeFieldContainer[AttemptKey]
    Held = RepeatedCompositeFieldContainer[HeldLease]


def request_of(
    frame: Frame, spec_of: Callable[[str], AgentSpec], items_dropped: int
) -> ConnectRequest:
    """The frame as a message, but for its hello; never changed once it is written."""
    request = ConnectRequest(frame_seq=frame.seq, seen_seq=frame.seen_seq, leaving=frame.leaving)
    for name in frame.attaches:
        request.attaches.add(spec=spec_of(name))
    for name in frame.detaches:
        request.detaches.add(name=name)
    if frame.accepts:
        _fill_keys(request.accepts, frame.accepts)
    if frame.starts:
        _fill_keys(request.starts, frame.starts)
    if frame.items:
        request.items.extend(frame.items)
    if frame.suspends:
        _fill_keys(request.suspends, frame.suspends)
    if frame.resumes:
        _fill_keys(request.resumes, frame.resumes)
    for key, reason in frame.returns:
        returned = request.returns.add(reason=reason)
        returned.key.contract_id, returned.key.epoch = key
    if frame.reports:
        request.reports.extend(frame.reports)
    for key in frame.stops:
        stopped = request.stops.add()
        stopped.key.contract_id, stopped.key.epoch = key
    for (pattern, sequence, failed), agents in frame.event_acks:
        request.event_acks.add(pattern=pattern, agents=agents, sequences=(sequence,), failed=failed)
    if frame.publishes:
        request.publishes.extend(frame.publishes)
    if frame.heartbeat is not None:
        request.heartbeat.items_dropped = items_dropped
        fill_held(request.heartbeat.held, frame.heartbeat)
    return request


def _fill_keys(field: Keys, keys: Iterable[Key]) -> None:
    for contract_id, epoch in keys:
        field.add(contract_id=contract_id, epoch=epoch)


def fill_held(field: Held, leases: Iterable[Lease]) -> None:
    """Names leases as hello and heartbeat do."""
    for lease in leases:
        held = field.add(
            agent=lease.agent,
            state=lease.state.value,
            items_acked=lease.items_acked,
        )
        held.key.contract_id, held.key.epoch = lease.key
