"""Contracts that wait for a person.

An attempt that asks is over: it has neither failed nor was it lost, and holds nothing any more. The
contract is PARKED until there is an answer, which queues it again, for the agent that asked if that
is free. At the question's deadline its default is the answer; without one the contract fails. The
contract's own deadline goes on.
"""

from __future__ import annotations

from muster.model import limits
from muster.model.states import Outcome, Trigger, step
from muster.scheduler.core import Core
from muster.scheduler.effects import Answered
from muster.scheduler.records import Asked, Contract, Given, Now


class Asking:
    """Parks contracts of a core, and lets them go on."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def why_not(self, contract: Contract, asked: Asked) -> tuple[str, str] | None:
        """Why the contract may not ask this: a reason and a message; None: it may."""
        answers = contract.answers or {}
        if asked.question_id in answers:
            what = f"question {asked.question_id!r} was answered; the answer is in the assignment"
            return "ALREADY_ANSWERED", what
        if len(answers) >= limits.QUESTIONS_PER_CONTRACT_MAX:
            most = limits.QUESTIONS_PER_CONTRACT_MAX
            return "INVALID_FIELD", f"a contract asks at most {most} questions"
        return None

    def park(self, now: Now, contract: Contract, asked: Asked) -> None:
        """The open attempt ends with a question."""
        contract.state = step(contract.state, Trigger.PARK)
        note_reported(contract, asked.epoch)
        contract.asked = asked
        self._core.close_attempt(now, contract, Outcome.PARKED, asked=asked)
        contract.lease = None
        self._grow(contract, asked.size)
        self._core.counts["parked"] += 1
        self._core.arm(contract)

    def answer(self, now: Now, contract: Contract, value: object, size: int, by: str) -> Given:
        """The question of a parked contract is answered, `by` nobody where its default is taken.
        `size` is the value's, in bytes."""
        asked = contract.asked
        assert asked is not None
        contract.state = step(contract.state, Trigger.ANSWER)
        given = Given(asked.question_id, value, by, now.wall_ms, size)
        take_answer(contract, asked.agent, given)
        contract.asked = None
        self._grow(contract, size - asked.size)
        contract.sequence += 1
        self._core.effects.append(Answered(contract, asked, given, contract.sequence))
        contract.queued_ms = now.wall_ms
        self._core.placing.enqueue(contract)
        self._core.arm(contract)
        return given

    def expire(self, now: Now, contract: Contract) -> None:
        """The deadline of a parked contract's question has passed."""
        asked = contract.asked
        assert asked is not None
        if asked.default is not None:
            self.answer(now, contract, asked.default, asked.size, "")
            return
        message = f"nobody answered question {asked.question_id} in time"
        self._core.end_by_mesh(now, contract, Trigger.FAIL, "INPUT_TIMEOUT", message)

    def _grow(self, contract: Contract, size: int) -> None:
        """Questions and answers are in memory, and answers in every assignment, as requests are."""
        contract.size += size
        self._core.open_bytes += size


def take_answer(contract: Contract, agent: str, given: Given) -> None:
    """Note an answer, now or after a restart, and who has asked for it."""
    if contract.answers is None:
        contract.answers = {}
    contract.answers[given.question_id] = given
    contract.prefers = agent


def note_reported(contract: Contract, epoch: int) -> None:
    """Note that an attempt has ended with a report, so that a resend is known as one."""
    if contract.reported is None:
        contract.reported = set()
    contract.reported.add(epoch)
