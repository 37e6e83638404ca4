"""Turns what the core decided into rows, and after their commit into words to those concerned.

The order is always: rows, commit, then tell. Only the lease of a contract whose acceptance is
durable is told at once: it goes through the same writer in order, and nobody waits for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

from muster.backends.ledger_base import LedgerBroken
from muster.failpoints import failpoint
from muster.model.errors import AlreadyExists, MusterError
from muster.model.ids import format_id, shard_of_id
from muster.model.ledger import (
    CONTRACT_BODY,
    CONTRACT_EPOCH,
    CONTRACT_REQUEST_ID,
    CommitResult,
    Refused,
)
from muster.scheduler import effects as fx
from muster.scheduler.admission import reused_message
from muster.scheduler.committer import Committer, Pending
from muster.scheduler.core import Core
from muster.scheduler.events import events_of_change
from muster.scheduler.housekeeping import EndedCounts
from muster.scheduler.hub import Hub, Listener
from muster.scheduler.messages_out import response_of
from muster.scheduler.outbound import Outbound
from muster.scheduler.questions import Questions
from muster.scheduler.records import Contract, Lease, Now
from muster.scheduler.rows import (
    answer_row,
    contract_row,
    ending_row,
    lease_row,
    question_row,
    response_row,
)
from muster.v1.response_pb2 import Response

WITHDRAWN_KEPT_MAX = 10_000


class Applying:
    """Applies effects to the next batch, and what follows from a commit."""

    def __init__(
        self,
        core: Core,
        committer: Committer,
        hub: Hub,
        outbound: Outbound,
        questions: Questions,
        listen: Callable[[int, Listener], None],
        look_up: Callable[[fx.LookUpReport], None],
        counts: EndedCounts,
        observe: Callable[[list[fx.Change], Collection[int]], None],
    ) -> None:
        self._counts = counts
        self.ending: dict[int, str] = {}  # id -> tenant: ended, and not committed yet
        self.submitters: dict[int, Listener] = {}  # of contracts that are not durable yet
        self._core = core
        self._committer = committer
        self._hub = hub
        self._outbound = outbound
        self._questions = questions
        self._listen = listen
        self._observe = observe
        # Submissions that the ledger did not take: what was decided on them meanwhile is void.
        self._withdrawn: OrderedDict[int, MusterError | int] = OrderedDict()
        self._now = Now(0.0, 0)  # of the call that is under way
        self._before: dict[type, Callable[[Any], None]] = {
            fx.Accept: self._accept,
            fx.Assign: self._assign,
            fx.RecordStart: self._record_start,
            fx.EndAttempt: self._end_attempt,
            fx.Answered: self._answered,
            fx.End: self._end,
            fx.LookUpReport: look_up,
            fx.Acknowledge: self._then(self._acknowledge),
            fx.Decide: self._then(self._decide),
            fx.Cancel: self._then(self._cancel),
            fx.Detach: self._then(self._detach),
        }

    # --- before the commit ------------------------------------------------------------------------

    def apply(self, effects: list[fx.Effect], now: Now) -> None:
        """Turn effects into rows; keep for after the commit what must wait for it."""
        self._now = now
        before = self._before
        for effect in effects:
            before[type(effect)](effect)

    def found(self, contract: Contract, listener: Listener) -> None:
        """A resend of an open contract: its listener is told after the commit under way."""
        self._committer.after.append((self._found, contract, listener))

    def _then(self, tell: Callable[[Any, Any], None]) -> Callable[[Any], None]:
        """For effects that are only words: they wait for what came before them to be durable."""

        def keep(effect: Any) -> None:
            self._committer.after.append((tell, effect, None))

        return keep

    def _accept(self, effect: fx.Accept) -> None:
        contract, committer = effect.contract, self._committer
        number = contract.id
        row = committer.fresh[number] = contract_row(contract)
        contract.body_bytes = b""
        batch = committer.batch
        batch.segments[-1].contracts.append(row)
        batch.bytes += contract.size
        batch.events.extend((number, 1))
        batch.empty = False
        committer.changes.append(effect)
        committer.after.append((self._accepted, contract, None))

    def _assign(self, effect: fx.Assign) -> None:
        """Record a lease. It is sent at once, unless the contract's acceptance is not durable."""
        contract, lease, sequence = effect
        committer = self._committer
        batch = committer.batch
        row = committer.fresh.get(contract.id)
        if row is not None and lease.attempt == 1 and not row[CONTRACT_EPOCH]:
            row[CONTRACT_EPOCH:] = (lease.epoch, lease.agent, lease.agent_kind, lease.host)
        else:
            batch.for_lease_of(contract.id).leases.append(lease_row(contract, lease))
        batch.events.extend((contract.id, sequence))
        batch.empty = False
        committer.changes.append(effect)
        if contract.durable:
            self._outbound.assign(contract, lease, self._now)
        else:
            committer.after.append((self._assigned, contract, lease))

    def _record_start(self, effect: fx.RecordStart) -> None:
        contract, lease, sequence = effect
        batch = self._committer.batch
        batch.segments[-1].starts.append([contract.id, lease.epoch, lease.started_ms])
        batch.events.extend((contract.id, sequence))
        batch.empty = False
        self._committer.changes.append(effect)

    def _end_attempt(self, effect: fx.EndAttempt) -> None:
        segment = self._committer.batch.segments[-1]
        segment.endings.append(ending_row(effect))
        segment.freed.add(effect.contract.id)
        self._change(effect)
        if effect.asked is not None:
            segment.questions.append(question_row(effect.contract, effect.asked))
            self._committer.batch.bytes += effect.asked.size
            self._questions.parked(effect.contract)

    def _answered(self, effect: fx.Answered) -> None:
        number, batch = effect.contract.id, self._committer.batch
        segment = batch.segments[-1]
        segment.answers.append(answer_row(number, effect.given))
        segment.freed.add(number)
        batch.bytes += effect.given.size
        batch.events.extend((number, effect.sequence))
        batch.empty = False
        self._committer.changes.append(effect)
        self._questions.answered(effect)

    def _end(self, effect: fx.End) -> None:
        contract = effect.contract
        response = response_of(effect)
        batch, row = self._committer.batch, response_row(effect, response)
        batch.segments[-1].responses.append(row)
        batch.bytes += len(row[-1])
        self.ending[contract.id] = contract.tenant
        self._questions.ended(contract)
        self._change(effect)
        self._committer.after.append((self._ended, effect, response))

    def _change(self, effect: fx.End | fx.EndAttempt) -> None:
        batch, number, sequence = self._committer.batch, effect.contract.id, effect.sequence
        if effect.started:
            batch.events.extend((number, sequence - 1, number, sequence))
        else:
            batch.events.extend((number, sequence))
        batch.empty = False
        self._committer.changes.append(effect)

    # --- after the commit -------------------------------------------------------------------------

    def committed(self, pending: Pending, result: CommitResult, now: Now) -> None:
        """A batch is durable: tell everybody whom it concerns, in the order of what happened."""
        self._now = now
        for refused in result.refused:
            self._refused(refused)
        for tell, what, more in pending.after:
            tell(what, more)
        self._observe(pending.changes, self._withdrawn)
        self._publish(result.position, pending.changes)

    @failpoint("events_unpublished")
    def _publish(self, position: int, changes: list[fx.Change]) -> None:
        if self._hub.is_watched:
            withdrawn = self._withdrawn
            events = [
                event
                for change in changes
                if change.contract.id not in withdrawn
                for event in events_of_change(change)
            ]
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

    def _found(self, contract: Contract, listener: Listener) -> None:
        if contract.id not in self._withdrawn:
            listener.on_accepted(contract.request_id, contract.id, duplicate=True)

    @failpoint("submit_committed")
    def _accepted(self, contract: Contract, _: None) -> None:
        contract.durable = True
        submitter = self.submitters.pop(contract.id)
        withdrawn = self._withdrawn.get(contract.id) if self._withdrawn else None
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

    def _assigned(self, contract: Contract, lease: Lease) -> None:
        if contract.id not in self._withdrawn:
            self._outbound.assign(contract, lease, self._now)

    def _ended(self, effect: fx.End, response: Response) -> None:
        contract = effect.contract
        self.ending.pop(contract.id, None)
        if contract.id not in self._withdrawn:
            self._counts.add(shard_of_id(contract.id), contract.tenant, effect.state)
            self._hub.ended(contract.id, response)

    def _acknowledge(self, effect: fx.Acknowledge, _: None) -> None:
        session_id, contract_id, epoch, verdict, reason, message = effect
        error = MusterError(message, reason=reason) if reason else None
        self._outbound.acknowledge(session_id, contract_id, epoch, verdict, error)

    def _decide(self, effect: fx.Decide, _: None) -> None:
        session_id, contract_id, epoch, keep = effect
        self._outbound.decide(session_id, contract_id, epoch, keep=keep)

    def _cancel(self, effect: fx.Cancel, _: None) -> None:
        self._outbound.cancel(*effect)

    def _detach(self, effect: fx.Detach, _: None) -> None:
        message = f"another host has attached an agent named {effect.agent}"
        self._outbound.attached(
            effect.session_id, effect.agent, MusterError(message, reason="SUPERSEDED")
        )
