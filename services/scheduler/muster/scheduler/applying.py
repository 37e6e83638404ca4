"""Turns what the core decided into rows, and after their commit into words to those concerned.

The order is always: rows, commit, then tell. Only the lease of a contract whose acceptance is
durable is told at once: it goes through the same writer in order, and nobody waits for it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from muster.backends.ledger_base import LedgerBroken
from muster.failpoints import failpoint
from muster.model.errors import AlreadyExists, MusterError
from muster.model.ids import format_id
from muster.model.ledger import (
    CONTRACT_BODY,
    CONTRACT_EPOCH,
    CONTRACT_REQUEST_ID,
    CommitResult,
    LifecycleEvent,
    Refused,
)
from muster.model.states import ContractState
from muster.scheduler import effects as fx
from muster.scheduler.committer import After, Committer
from muster.scheduler.core import Core, reused_message
from muster.scheduler.hub import Hub, Listener
from muster.scheduler.messages_out import response_of
from muster.scheduler.outbound import Outbound
from muster.scheduler.records import Contract, Lease
from muster.scheduler.rows import contract_row, ending_row, lease_row, response_row

WITHDRAWN_KEPT_MAX = 10_000


class Found(NamedTuple):
    """A resend of an open contract: its listener is told after the commit that is under way."""

    contract: Contract
    listener: Listener


class Applying:
    """Applies effects to the next batch, and what follows from a commit."""

    def __init__(
        self,
        core: Core,
        committer: Committer,
        hub: Hub,
        outbound: Outbound,
        listen: Callable[[int, Listener], None],
        look_up: Callable[[fx.LookUpReport], None],
    ) -> None:
        self.ended: Counter[tuple[str, ContractState]] = Counter()  # by tenant and state
        self.ending: dict[int, str] = {}  # id -> tenant: ended, and not committed yet
        self.submitters: dict[int, Listener] = {}  # of contracts that are not durable yet
        self._core = core
        self._committer = committer
        self._hub = hub
        self._outbound = outbound
        self._listen = listen
        self._look_up = look_up
        # Submissions that the ledger did not take: what was decided on them meanwhile is void.
        self._withdrawn: OrderedDict[int, MusterError | int] = OrderedDict()

    # --- before the commit ------------------------------------------------------------------------

    def apply(self, effect: fx.Effect) -> None:
        """Turn an effect into rows; keep for after the commit what must wait for it."""
        batch = self._committer.batch
        match effect:
            case fx.Publish(event):
                batch.events.append(event.contract_id)
                batch.events.append(event.sequence)
                self._committer.after.append((effect, None))
                return
            case fx.Accept(contract):
                row = self._committer.fresh[contract.id] = contract_row(contract)
                contract.body_bytes = b""
                batch.segments[-1].contracts.append(row)
                self._committer.after.append((effect, None))
            case fx.Assign(contract, lease):
                self._assign(contract, lease)
            case fx.End(contract):
                response = response_of(effect)
                batch.segments[-1].responses.append(response_row(effect, response))
                self.ending[contract.id] = contract.tenant
                self._committer.after.append((effect, response))
            case fx.EndAttempt(contract):
                segment = batch.segments[-1]
                segment.endings.append(ending_row(effect))
                segment.ended_attempts.add(contract.id)
            case fx.RecordStart(contract, lease):
                row = [contract.id, lease.epoch, lease.started_ms]
                batch.segments[-1].starts.append(row)
            case fx.LookUpReport():
                self._look_up(effect)
                return
            case _:
                self._committer.after.append((effect, None))
                return
        batch.empty = False

    def _assign(self, contract: Contract, lease: Lease) -> None:
        """Record a lease. It is sent at once, unless the contract's acceptance is not durable."""
        row = self._committer.fresh.get(contract.id)
        if row is not None and lease.attempt == 1 and not row[CONTRACT_EPOCH]:
            row[CONTRACT_EPOCH:] = [lease.epoch, lease.agent, lease.agent_kind, lease.host]
        else:
            segment = self._committer.batch.for_lease_of(contract.id)
            segment.leases.append(lease_row(contract, lease))
        if contract.durable:
            self._outbound.assign(contract, lease)
        else:
            self._committer.after.append((fx.Assign(contract, lease), None))

    # --- after the commit -------------------------------------------------------------------------

    def committed(self, after: list[After], result: CommitResult) -> None:
        """A batch is durable: tell everybody whom it concerns, in the order of what happened."""
        for refused in result.refused:
            self._refused(refused)
        events: list[LifecycleEvent] = []
        for effect, extra in after:
            self._after(effect, extra, events)
        self._publish(result.position, events)

    @failpoint("events_unpublished")
    def _publish(self, position: int, events: list[LifecycleEvent]) -> None:
        self._hub.publish(position, events)

    def _refused(self, refused: Refused) -> None:
        number = refused.row[0]
        if refused.kind == "contracts":
            same = refused.existing_sha256 == refused.row[CONTRACT_BODY]
            request_id = refused.row[CONTRACT_REQUEST_ID]
            self._withdrawn[number] = (
                refused.existing_id if same else AlreadyExists(reused_message(request_id))
            )
            if len(self._withdrawn) > WITHDRAWN_KEPT_MAX:
                self._withdrawn.popitem(last=False)
        elif number not in self._withdrawn:
            # The core decided something that the record contradicts. Nothing that follows from it
            # may get out: the process ends, and starts again from the record.
            raise LedgerBroken(f"the ledger fenced a row of {refused.kind} ({format_id(number)})")

    def _after(self, effect: Any, extra: Any, events: list[LifecycleEvent]) -> None:
        match effect:
            case fx.Publish(event):
                if event.contract_id not in self._withdrawn:
                    events.append(event)
            case fx.Accept(contract):
                self._accepted(contract, self._withdrawn.get(contract.id))
            case fx.Assign(contract, lease):
                if contract.id not in self._withdrawn:
                    self._outbound.assign(contract, lease)
            case fx.End(contract, state):
                self.ending.pop(contract.id, None)
                if contract.id not in self._withdrawn:
                    self.ended[contract.tenant, state] += 1
                    self._hub.ended(contract.id, extra)
            case fx.Acknowledge(session_id, contract_id, epoch, verdict, reason, message):
                error = MusterError(message, reason=reason) if reason else None
                self._outbound.acknowledge(session_id, contract_id, epoch, verdict, error)
            case fx.Decide(session_id, contract_id, epoch, keep):
                self._outbound.decide(session_id, contract_id, epoch, keep=keep)
            case fx.Cancel(session_id, contract_id, epoch, code):
                self._outbound.cancel(session_id, contract_id, epoch, code)
            case fx.Detach(session_id, agent):
                message = f"another host has attached an agent named {agent}"
                self._outbound.attached(
                    session_id, agent, MusterError(message, reason="SUPERSEDED")
                )
            case Found(contract, listener):
                if contract.id not in self._withdrawn:
                    listener.on_accepted(contract.request_id, contract.id, duplicate=True)
            case _:
                effect()

    @failpoint("submit_committed")
    def _accepted(self, contract: Contract, withdrawn: MusterError | int | None) -> None:
        contract.durable = True
        submitter = self.submitters.pop(contract.id)
        if withdrawn is None:
            submitter.on_accepted(contract.request_id, contract.id, duplicate=False)
            return
        self._core.withdraw(contract)
        for listener in self._hub.listeners(contract.id):
            self._hub.unlisten(contract.id, listener)
            if isinstance(withdrawn, MusterError):
                listener.on_refused(contract.request_id, withdrawn)
            else:
                listener.on_accepted(contract.request_id, withdrawn, duplicate=True)
                self._listen(withdrawn, listener)
