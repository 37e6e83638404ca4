"""The agent session as its host sees it: what happened goes in, what must be sent comes out.

Pure: no clock, no network, no protobuf; messages that only pass through (stream items, reports) are
opaque here. The rules:

- A lease is an attempt that this host holds. It is *live* while it is bound to the current session:
  from its assignment, or, after a reconnect, from the verdict KEEP. Nothing about a lease that is
  not live is sent, except that the host holds it: hello and heartbeat name every lease.
- What was told is a level. On KEEP the difference between what hello said and what is true now is
  told, and everything unacknowledged is sent again.
- A report is kept until it is acknowledged as committed, or as somebody else's (FENCED).
- No more stream items of an attempt are unacknowledged than the window allows.
- A lease that is cancelled stays held until its code has stopped, so that its slot stays taken.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Any

from muster.agent.session.core_outbox import Frame, Item, Key, Lease, LeaseState, Outbox
from muster.model import limits


class Decision(IntEnum):
    """What becomes of a lease. The numbers are those of `muster.v1.LeaseDecision`."""

    KEEP = 1
    DROP = 2
    PENDING = 3


class Verdict(IntEnum):
    """What became of a report. The numbers are those of `muster.v1.ReportVerdict`."""

    ACCEPTED = 1
    ACCEPTED_DUPLICATE = 2
    FENCED = 3
    REFUSED = 4


def reconnect_pause(failures: int, fraction: float) -> float:
    """Seconds to wait after so many failures in a row; `fraction` is the jitter, 0 to 1."""
    ceiling = limits.RECONNECT_SECONDS_MIN * 2.0 ** min(failures, 16)
    return min(ceiling, limits.RECONNECT_SECONDS_MAX) * fraction


class SessionCore:
    """Everything a host knows about its session and its leases."""

    def __init__(self) -> None:
        self.leases: dict[Key, Lease] = {}
        self.outbox = Outbox()
        self.welcomed = False
        self.leaving = False
        self.session_epoch = 0
        self.heartbeat_seconds = limits.HEARTBEAT_SECONDS
        self.lease_seconds = limits.LEASE_SECONDS
        self.heartbeat_due = 0.0
        self.items_dropped = 0
        self._publishes: dict[str, tuple[Any, int]] = {}  # by id, until they are answered
        self._items_unacked_max = limits.ITEMS_UNACKED_MAX
        self._items_unacked_bytes_max = limits.ITEMS_UNACKED_BYTES_MAX

    # --- the session ------------------------------------------------------------------------------

    def open(self) -> Frame:
        """A new stream is there; returns the frame that greets."""
        self.welcomed = False
        self.items_dropped = 0
        self.outbox.clear()
        for lease in self.leases.values():
            lease.live = False
            lease.items_queued = 0
            lease.told = lease.state
        frame = self.outbox.take([])
        assert frame is not None
        frame.heartbeat, frame.hello = None, list(self.leases.values())
        return frame

    def welcome(self, session_epoch: int, now: float) -> None:
        """The mesh has answered the hello."""
        self.welcomed = True
        self.session_epoch = session_epoch
        self.heartbeat_due = now + self.heartbeat_seconds
        for message, size_bytes in self._publishes.values():
            self.outbox.publish(message, size_bytes)
        if self.leaving:
            self.outbox.leave()

    # --- events -----------------------------------------------------------------------------------

    def publish(self, number: str, message: Any, size_bytes: int) -> None:
        """An agent publishes an event; it is sent on every session until `published`."""
        self._publishes[number] = (message, size_bytes)
        if self.welcomed:
            self.outbox.publish(message, size_bytes)

    def published(self, number: str) -> None:
        """The mesh has answered, or nobody waits any more."""
        self._publishes.pop(number, None)

    # --- the pace ---------------------------------------------------------------------------------

    def set_pace(self, heartbeat_seconds: float, lease_seconds: float, now: float) -> None:
        """The mesh has set its pace; 0 changes nothing."""
        if heartbeat_seconds > 0:
            self.heartbeat_seconds = heartbeat_seconds
            self.heartbeat_due = min(self.heartbeat_due, now + heartbeat_seconds)
        if lease_seconds > 0:
            self.lease_seconds = lease_seconds

    def set_limits(self, frame_items: int, frame_bytes: int, items: int, items_bytes: int) -> None:
        """The mesh has named its limits; 0 stands for the usual one. Frames only get smaller."""
        outbox = self.outbox
        outbox.frame_items_max = min(frame_items or limits.FRAME_ITEMS_MAX, limits.FRAME_ITEMS_MAX)
        outbox.frame_bytes_max = min(frame_bytes or limits.FRAME_BYTES_MAX, limits.FRAME_BYTES_MAX)
        self._items_unacked_max = items or limits.ITEMS_UNACKED_MAX
        self._items_unacked_bytes_max = items_bytes or limits.ITEMS_UNACKED_BYTES_MAX

    def seen(self, seq: int) -> None:
        """A frame of the mesh has been processed to its end."""
        self.outbox.seen_seq = max(self.outbox.seen_seq, seq)

    def leave(self) -> None:
        """The host takes nothing new, and goes when it holds nothing more."""
        self.leaving = True
        if self.welcomed:
            self.outbox.leave()

    def finished(self) -> bool:
        """Whether a host that leaves has nothing left to do or to say."""
        return self.leaving and not self.leases and (self.outbox.empty or not self.welcomed)

    def take(self, now: float) -> Frame | None:
        """The next frame, or None when there is nothing to say before `heartbeat_due`."""
        if not self.welcomed:
            return None
        held = None
        if now >= self.heartbeat_due:
            held = list(self.leases.values())
            self.heartbeat_due = now + self.heartbeat_seconds
        return self.outbox.take(held)

    # --- leases, as the mesh speaks of them -------------------------------------------------------

    def assign(self, key: Key, agent: str) -> Lease | None:
        """An attempt has been handed to this host; None when it is held already."""
        if key in self.leases:
            return None
        lease = self.leases[key] = Lease(key, agent)
        self.outbox.accept(key)
        return lease

    def acknowledge(self, key: Key, verdict: int) -> Lease | None:
        """The mesh has answered a report; returns the lease when another report is to follow."""
        lease = self.leases.get(key)
        if lease is None or lease.state is not LeaseState.REPORTED:
            return None
        if verdict == Verdict.REFUSED and not lease.refused:
            lease.refused = True
            return lease
        self._forget(lease)
        return None

    def acknowledge_items(self, key: Key, index: int) -> bool:
        """The mesh has recorded an attempt's items up to `index`; True when that made room."""
        lease = self.leases.get(key)
        if lease is None or not lease.unacked:
            return False
        while lease.unacked and lease.unacked[0].place <= index:
            lease.unacked_bytes -= lease.unacked.popleft().size_bytes
            lease.items_acked = index
        return True

    def cancel(self, key: Key) -> Lease | None:
        """The mesh wants an attempt stopped; returns the lease when there is code to stop.

        Otherwise the answer goes out at once, also for an attempt that is not held: the mesh may
        still count its slot.
        """
        lease = self.leases.get(key)
        if lease is None or lease.state is LeaseState.REPORTED:
            if lease is not None:
                self._forget(lease)
            self.outbox.stop(key)
            return None
        lease.cancelled = True
        return lease

    def decide(self, key: Key, decision: int) -> Lease | None:
        """The mesh has decided on a lease; returns it when its code is to stop."""
        lease = self.leases.get(key)
        if lease is None:
            return None
        if decision == Decision.KEEP and not lease.live:
            self._rebind(lease)
        if decision != Decision.DROP:
            return None
        self._forget(lease)
        return None if lease.state is LeaseState.REPORTED else lease

    def _rebind(self, lease: Lease) -> None:
        lease.live = True
        for item in lease.unacked or ():
            self.outbox.item(lease, item)
        state, told = lease.state, lease.told
        if state is LeaseState.REPORTED:
            self.outbox.report(lease)
            return
        if state is not told and told is LeaseState.ACCEPTED:
            self.outbox.start(lease.key)
        if state is not told and state is LeaseState.SUSPENDED:
            self.outbox.suspend(lease.key)
        if state is not told and told is LeaseState.SUSPENDED:
            self.outbox.resume(lease.key)

    def _forget(self, lease: Lease) -> None:
        del self.leases[lease.key]
        lease.live = False
        lease.unacked = lease.report = None
        self.outbox.forget(lease.key)

    # --- leases, as the host works on them --------------------------------------------------------

    def start(self, lease: Lease) -> None:
        """The attempt's code begins to run."""
        lease.state = LeaseState.STARTED
        if lease.live:
            self.outbox.start(lease.key)

    def suspend(self, lease: Lease) -> None:
        """The attempt begins to wait for children."""
        if lease.state is LeaseState.STARTED:
            lease.state = LeaseState.SUSPENDED
            if lease.live:
                self.outbox.suspend(lease.key)

    def resume(self, lease: Lease) -> None:
        """The attempt has stopped waiting for children."""
        if lease.state is LeaseState.SUSPENDED:
            lease.state = LeaseState.STARTED
            if lease.live:
                self.outbox.resume(lease.key)

    def has_room(self, lease: Lease, size_bytes: int) -> bool:
        """Whether the window takes another item. One item always fits into an empty window."""
        unacked = lease.unacked
        return not unacked or (
            len(unacked) < self._items_unacked_max
            and lease.unacked_bytes + size_bytes <= self._items_unacked_bytes_max
        )

    def emit(self, lease: Lease, message: Any, size_bytes: int) -> None:
        """Sends a stream item whose index is `lease.index + 1`; the window must have room.

        What code says after its attempt is over is heard by nobody.
        """
        if lease.state is LeaseState.REPORTED or lease.key not in self.leases:
            return
        lease.index += 1
        item = Item(lease.index, message, size_bytes)
        if lease.unacked is None:
            lease.unacked = deque()
        lease.unacked.append(item)
        lease.unacked_bytes += size_bytes
        if lease.live:
            self.outbox.item(lease, item)

    def report(self, lease: Lease, report: Any, size_bytes: int) -> None:
        """The attempt has ended; its report is kept until it is acknowledged."""
        if lease.key not in self.leases:
            return
        lease.report, lease.report_bytes = report, size_bytes
        lease.state = LeaseState.REPORTED
        if lease.live:
            self.outbox.report(lease)

    def stopped(self, lease: Lease) -> None:
        """The code of a cancelled attempt has ended. Of a dropped one nobody waits to hear."""
        if lease.key in self.leases:
            self._forget(lease)
            self.outbox.stop(lease.key)
