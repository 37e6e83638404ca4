"""What sessions say about attempts, and what time does to them.

The second half of the core: `Attempts` works on the same `Core`, and holds nothing of its own but
what it needs to judge.
"""

from __future__ import annotations

from collections import deque

from muster.model import limits
from muster.model.states import Outcome, Trigger, step
from muster.scheduler.core import Core
from muster.scheduler.core_asking import Asking, note_reported
from muster.scheduler.effects import Acknowledge, Cancel, LookUpReport
from muster.scheduler.records import Asked, Contract, Lease, Now

RECORD_START_SECONDS = 0.4  # an attempt that runs longer gets its start recorded while it runs


class Attempts:
    """Applies what hosts report."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.asking = Asking(core)
        self._running: deque[tuple[float, Contract, Lease]] = deque()  # by start

    def held(self, session_id: str, contract_id: int, epoch: int) -> Contract | None:
        """The open contract whose current lease this session holds at this epoch."""
        contract = self._core.contracts.get(contract_id)
        if contract is None:
            return None
        lease = contract.lease
        if lease is None or lease.epoch != epoch or lease.session_id != session_id:
            return None
        return contract

    def accept(self, session_id: str, contract_id: int, epoch: int) -> None:
        """The host has the attempt."""
        contract = self.held(session_id, contract_id, epoch)
        if contract is not None and contract.lease is not None:
            self.mark_accepted(contract.lease)

    def start(self, now: Now, session_id: str, contract_id: int, epoch: int) -> None:
        """The attempt runs."""
        contract = self.held(session_id, contract_id, epoch)
        if contract is not None:
            self.mark_started(now, contract)

    def mark_started(self, now: Now, contract: Contract) -> None:
        """Count the attempt as started, once."""
        lease = contract.lease
        if lease is None or lease.started_ms:
            return
        self._begin(now, contract, lease)
        self._running.append((now.mono, contract, lease))
        self._core.arm(contract)

    def _begin(self, now: Now, contract: Contract, lease: Lease) -> None:
        self.mark_accepted(lease)
        lease.started_ms = now.wall_ms
        lease.running_since = lease.last_item = now.mono
        contract.state = step(contract.state, Trigger.START)

    def mark_accepted(self, lease: Lease) -> None:
        """The lease's host has what it was offered."""
        lease.accepted = True
        if lease.offered:
            self._core.placing.taken(lease)

    def suspend(self, now: Now, session_id: str, contract_id: int, epoch: int) -> bool:
        """The attempt waits for children: its slot is free, its run time stands still."""
        contract = self.held(session_id, contract_id, epoch)
        if contract is None or contract.lease is None or contract.lease.suspended:
            return False
        self.mark_started(now, contract)
        lease = contract.lease
        lease.suspended = True
        lease.ran_seconds += now.mono - lease.running_since
        if lease.slots is not None:
            self._core.placing.suspend(contract, lease.slots)
            self._core.placing.give_back(lease.slots)
        self._core.arm(contract)
        return True

    def resume(self, now: Now, session_id: str, contract_id: int, epoch: int) -> bool:
        """The attempt goes on. That needs no free slot; the window may be exceeded for a while."""
        contract = self.held(session_id, contract_id, epoch)
        if contract is None or contract.lease is None or not contract.lease.suspended:
            return False
        lease = contract.lease
        if lease.slots is not None:
            self._core.placing.take(lease.slots)
            self._core.placing.end_suspension(contract, lease.slots)
        lease.suspended = False
        lease.running_since = lease.last_item = now.mono
        self._core.arm(contract)
        return True

    def give_back(self, now: Now, session_id: str, contract_id: int, epoch: int) -> None:
        """The host does not want it: back to the head of its key, no attempt counted."""
        contract = self.held(session_id, contract_id, epoch)
        if contract is not None:
            contract.attempts -= 1
            self._core.requeue(now, contract, Outcome.RETURNED, "RETURNED")
        else:
            self.stopped(session_id, contract_id, epoch)

    def lose(self, now: Now, session_id: str, contract_id: int, epoch: int, why: str) -> None:
        """The session no longer holds the attempt, and nobody reported on it."""
        contract = self.held(session_id, contract_id, epoch)
        if contract is not None:
            self.lose_lease(now, contract, why)
        else:
            self.stopped(session_id, contract_id, epoch)

    def lose_lease(self, now: Now, contract: Contract, why: str) -> None:
        """An agent was lost. Only a started attempt counts against the contract."""
        lease = contract.lease
        assert lease is not None
        self._core.counts["losses"] += 1
        if not lease.started_ms:
            contract.attempts -= 1
            self._core.requeue(now, contract, Outcome.LOST, "AGENT_LOST", why)
            return
        contract.losses += 1
        if contract.losses >= limits.LOST_AGENTS_MAX:
            message = f"{contract.losses} agents were lost while they ran it; the last: {why}"
            self._core.end_by_mesh(now, contract, Trigger.BURY, "AGENT_LOST", message, Outcome.LOST)
        else:
            self._core.requeue(now, contract, Outcome.LOST, "AGENT_LOST", why)

    def stopped(self, session_id: str, contract_id: int, epoch: int) -> None:
        """The host confirms that a cancelled attempt has stopped: its slot is free."""
        host = self._core.fleet.hosts.get(session_id)
        slots = host.stopping.pop((contract_id, epoch), None) if host is not None else None
        if slots is not None:
            self._core.placing.give_back(slots)

    # --- reports ----------------------------------------------------------------------------------

    def report(
        self,
        now: Now,
        session_id: str,
        contract_id: int,
        epoch: int,
        report: object,
        *,
        failure: object = None,
        code: str = "",
        permanent: bool = False,
        retry_after: float = 0.0,
        output_chunks: int = 0,
        asked: Asked | None = None,
    ) -> None:
        """An agent's terminal word. `failure` and `asked` are None for a success."""
        contract = self.held(session_id, contract_id, epoch)
        if contract is None:
            self._report_of_nobody(session_id, contract_id, epoch)
            return
        lease = contract.lease
        assert lease is not None
        wrong = self.asking.why_not(contract, asked) if asked is not None else None
        if output_chunks > lease.chunks:
            what = f"the report counts {output_chunks} output chunks, and {lease.chunks} came; "
            wrong = "INVALID_FIELD", what + "send the missing ones first"
        if wrong is not None:
            refusal = Acknowledge(session_id, contract_id, epoch, "REFUSED", *wrong)
            self._core.effects.append(refusal)
            return
        if not lease.started_ms:
            # It is over: its start is recorded with its end, and no timer is needed.
            self._begin(now, contract, lease)
        if asked is not None:
            self.asking.park(now, contract, asked)
        elif failure is None:
            self._core.end_by_agent(now, contract, Trigger.SUCCEED, "", report)
        else:
            self._failed(now, contract, report, failure, code, permanent, retry_after)
        self._core.effects.append(Acknowledge(session_id, contract_id, epoch, "ACCEPTED"))

    def _failed(
        self,
        now: Now,
        contract: Contract,
        report: object,
        failure: object,
        code: str,
        permanent: bool,
        retry_after: float,
    ) -> None:
        lease = contract.lease
        assert lease is not None
        contract.failures += 1
        if not contract.retry.allows(contract.failures, code, permanent=permanent):
            self._core.end_by_agent(now, contract, Trigger.FAIL, code, report)
            return
        self._exclude(contract, lease)
        self._core.counts["retries"] += 1
        contract.last_failure = failure
        note_reported(contract, lease.epoch)
        pause = contract.retry.pause_seconds(contract.failures, retry_after)
        self._core.requeue(now, contract, Outcome.FAILED, code, failure=failure, pause=pause)

    def _exclude(self, contract: Contract, lease: Lease) -> None:
        if contract.excluded is None:
            contract.excluded = set()
        contract.excluded.add(lease.agent)

    def _report_of_nobody(self, session_id: str, contract_id: int, epoch: int) -> None:
        """A resend, or the word of a zombie."""
        core = self._core
        self.stopped(session_id, contract_id, epoch)
        if not core.owns(contract_id):
            return  # its executor keeps the report, and tells the owner
        contract = core.contracts.get(contract_id)
        if contract is None and contract_id not in core.recent:
            core.effects.append(LookUpReport(session_id, contract_id, epoch))
            return
        if contract is not None:
            duplicate = contract.reported is not None and epoch in contract.reported
        else:
            duplicate = core.recent[contract_id] == epoch
        if not duplicate:
            core.counts["fenced"] += 1
        verdict = "ACCEPTED_DUPLICATE" if duplicate else "FENCED"
        core.effects.append(Acknowledge(session_id, contract_id, epoch, verdict))

    # --- time -------------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Do what is due: expiry, timeouts, retries, starts that become durable."""
        core = self._core
        for contract in core.timers.due(now.mono):
            if contract.id in core.contracts:
                self._due(now, contract)
        while self._running and self._running[0][0] + RECORD_START_SECONDS <= now.mono:
            _, contract, lease = self._running.popleft()
            if contract.lease is lease and contract.id in core.contracts:
                core.record_start(contract, lease)

    def _due(self, now: Now, contract: Contract) -> None:
        core = self._core
        lease = contract.lease
        if now.mono >= contract.deadline:
            core.end_by_mesh(
                now, contract, Trigger.EXPIRE, "DEADLINE_EXCEEDED", "the deadline passed"
            )
        elif contract.asked is not None and now.mono >= contract.asked.deadline:
            self.asking.expire(now, contract)
        elif lease is None:
            if contract.start_by and now.mono >= contract.start_by:
                core.end_by_mesh(
                    now,
                    contract,
                    Trigger.EXPIRE,
                    "SCHEDULE_TO_START_TIMEOUT",
                    "no agent took it within schedule_to_start",
                )
                return
            if contract.ready_at and now.mono >= contract.ready_at:
                core.placing.enqueue(contract)
            core.arm(contract)
        else:
            self._due_running(now, contract, lease)

    def _due_running(self, now: Now, contract: Contract, lease: Lease) -> None:
        if lease.started_ms and not lease.suspended:
            ran = lease.ran_seconds + now.mono - lease.running_since
            silent = now.mono - lease.last_item
            if ran >= contract.start_to_close:
                self._time_out(now, contract, "ATTEMPT_TIMEOUT", "it ran past start_to_close")
                return
            if contract.heartbeat and silent >= contract.heartbeat:
                message = "it was silent past the heartbeat timeout"
                self._time_out(now, contract, "HEARTBEAT_TIMEOUT", message)
                return
        self._core.arm(contract)

    def _time_out(self, now: Now, contract: Contract, code: str, message: str) -> None:
        lease = contract.lease
        assert lease is not None
        contract.failures += 1
        if not contract.retry.allows(contract.failures, code, permanent=False):
            self._core.end_by_mesh(now, contract, Trigger.FAIL, code, message, Outcome.TIMED_OUT)
            return
        if lease.session_id:
            self._core.effects.append(Cancel(lease.session_id, contract.id, lease.epoch, code))
        self._exclude(contract, lease)
        self._core.counts["retries"] += 1
        pause = contract.retry.pause_seconds(contract.failures)
        self._core.requeue(
            now, contract, Outcome.TIMED_OUT, code, message, pause=pause, stopping=True
        )
