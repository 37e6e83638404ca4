"""What sessions are told, collected by session until their link's next frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from muster.failpoints import failpoint
from muster.model.errors import MusterError
from muster.model.ids import format_id
from muster.scheduler.core import Core
from muster.scheduler.link_peer import LinkPeer
from muster.scheduler.messages_out import Assignments
from muster.scheduler.records import Contract, Lease, Now
from muster.v1.link_pb2 import SessionItems
from muster.v1.session_pb2 import AttemptKey, ReportVerdict
from muster.wire.errors import status_of


class Outbound:
    """The way to the sessions. What is for one that is gone is dropped: its leases are lost too."""

    def __init__(self, core: Core, *, traced: bool = False) -> None:
        self._core = core
        self._assignments = Assignments(traced=traced)

    def items_for(self, session_id: str, size: int | None = None) -> SessionItems | None:
        """What is about to be sent to a session; None when it or its link is gone. `size`, in
        bytes, is that of an item which may be large."""
        host = self._core.fleet.hosts.get(session_id)
        if host is None or host.link is None:
            return None
        link: LinkPeer = host.link
        return link.items_for(session_id) if size is None else link.items_for(session_id, size)

    @failpoint("lease_unsent")
    def assign(self, contract: Contract, lease: Lease, now: Now) -> None:
        """Hand out an attempt, unless the lease is over meanwhile."""
        items = self.items_for(lease.session_id, contract.size)
        if items is not None and contract.lease is lease:
            self._assignments.add(items, contract, lease, now)

    @failpoint("report_unacked")
    def acknowledge(
        self,
        session_id: str,
        contract_id: int,
        epoch: int,
        verdict: str,
        error: MusterError | None = None,
    ) -> None:
        """Answer a report; `verdict` is a name of ReportVerdict without prefix."""
        items = self.items_for(session_id)
        if items is not None:
            ack = items.report_acks.add()
            ack.verdict = _VERDICTS[verdict]
            _set_key(ack.key, contract_id, epoch)
            if error is not None:
                ack.error.CopyFrom(status_of(error))

    def acknowledge_items(self, session_id: str, reached: Mapping[tuple[int, int], int]) -> None:
        """Say up to which index the items of each (contract, epoch) are kept."""
        items = self.items_for(session_id)
        if items is not None:
            for (contract_id, epoch), index in reached.items():
                _set_key(items.item_acks.add(index=index).key, contract_id, epoch)

    def decide(self, session_id: str, contract_id: int, epoch: int, *, keep: bool) -> None:
        """Say what becomes of a lease from an earlier session."""
        items = self.items_for(session_id)
        if items is not None:
            decision = "LEASE_DECISION_KEEP" if keep else "LEASE_DECISION_DROP"
            _set_key(items.verdicts.add(decision=decision).key, contract_id, epoch)

    def cancel(self, session_id: str, contract_id: int, epoch: int, code: str) -> None:
        """Have an attempt stopped."""
        items = self.items_for(session_id)
        if items is not None:
            _set_key(items.cancels.add(code=code).key, contract_id, epoch)

    def attached(self, session_id: str, agent: str, error: MusterError | None) -> None:
        """Say how an attach went, or that an agent is no longer attached."""
        items = self.items_for(session_id)
        if items is not None:
            result = items.attach_results.add(agent=agent)
            if error is not None:
                result.error.CopyFrom(status_of(error))


# Names on the wire without prefix; setting a number is faster than having a name looked up.
_VERDICTS: Final[dict[str, ReportVerdict.ValueType]] = {
    name.removeprefix("REPORT_VERDICT_"): number for name, number in ReportVerdict.items()
}


def _set_key(key: AttemptKey, contract_id: int, epoch: int) -> None:
    key.contract_id = format_id(contract_id)
    key.epoch = epoch
