"""Questions to people: of contracts, which the core parks, and of workflow runs.

Both are rows of the same two tables and entries of one inbox. What is decided here or by the core
goes into the committer's current batch, so that it is committed with whatever else was decided in
the same turn of the event loop; the inbox shows what is committed.

A run asks with `ask`, in the turn in which its own rows go into the batch. When it is answered, or
its time is over, `on_answered` is called before anything is committed, so that what follows goes
into the same batch as the answer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable

from muster.model.ids import shard_of_id
from muster.model.ledger import Closing, StoredQuestion
from muster.scheduler.admission import moving
from muster.scheduler.answers import check_question
from muster.scheduler.committer import Committer
from muster.scheduler.core import Core
from muster.scheduler.core_asking import Asking
from muster.scheduler.effects import Answered
from muster.scheduler.inbox import Entry, Inbox, Key
from muster.scheduler.messages_out import answer_of
from muster.scheduler.records import Contract, Given, Now
from muster.scheduler.rows import answer_row
from muster.v1.payload_pb2 import Payload
from muster.v1.question_pb2 import Answer, Question
from muster.wire.times import ms_of_timestamp

OnAnswered = Callable[[int, str, Answer | None], None]


def _nobody(_subject_id: int, _question_id: str, _answer: Answer | None) -> None:
    """No run is here that would wait for an answer."""


class Questions:
    """All open questions of a scheduler."""

    def __init__(self, core: Core, asking: Asking, committer: Committer) -> None:
        self.inbox = Inbox()
        # Called with (run, question, answer), or None where nobody answered in time.
        self.on_answered: OnAnswered = _nobody
        self._core = core
        self._asking = asking
        self._committer = committer
        self._open: dict[Key, Entry] = {}  # as decided; the inbox has what is committed
        self._due: list[tuple[float, Key]] = []  # monotonic seconds; of runs

    def find(self, subject_id: int, question_id: str) -> Entry | None:
        """A question that waits for an answer."""
        return self._open.get((subject_id, question_id))

    def answer(self, now: Now, entry: Entry, value: Payload, principal: str) -> Given:
        """Answer an open question with a value that fits. The caller settles, and waits for the
        commit. With an empty principal it is the default."""
        contract = self._core.contracts.get(entry.subject_id)
        size = value.ByteSize()
        if contract is not None and contract.asked is not None and not entry.is_of_run:
            return self._asking.answer(now, contract, value, size, principal)
        given = Given(entry.question.id, value, principal, now.wall_ms, size)
        self._close_run(entry.key, answer_row(entry.subject_id, given), answer_of(given))
        return given

    # --- runs -------------------------------------------------------------------------------------

    def ask(
        self,
        now: Now,
        subject_id: int,
        tenant: str,
        question_id: str,
        question: Question,
        about: tuple[str, str],
    ) -> None:
        """A run asks; `about` is its workflow and step. Its shard must be owned.

        Raises `InvalidArgument`, and asks nothing, where nobody could answer.
        """
        asked = Question()
        asked.CopyFrom(question)
        asked.id = question_id
        check_question(asked)
        deadline_ms = ms_of_timestamp(asked.deadline) if asked.HasField("deadline") else 0
        raw = asked.SerializeToString()
        row = [subject_id, question_id, tenant, 0, now.wall_ms, deadline_ms, *about, raw]
        batch = self._committer.batch
        batch.segments[-1].questions.append(row)
        batch.bytes += len(raw)
        batch.empty = False
        entry = Entry(
            subject_id,
            tenant,
            asked,
            now.wall_ms,
            deadline_ms,
            workflow=about[0],
            step=about[1],
        )
        self._wait(now, entry)
        self._committer.after.append((self._show, entry, None))

    def withdraw(self, now: Now, subject_id: int, question_id: str) -> None:
        """A run waits for an answer no longer. Nothing happens where it does not anyway."""
        key = (subject_id, question_id)
        if key in self._open:
            row = [subject_id, question_id, int(Closing.WITHDRAWN), now.wall_ms, b""]
            self._write_closing(key, row, None)

    def _close_run(self, key: Key, row: list[object], answer: Answer | None) -> None:
        self._write_closing(key, row, answer)
        self.on_answered(*key, answer)

    def _write_closing(self, key: Key, row: list[object], answer: Answer | None) -> None:
        batch = self._committer.batch
        batch.segments[-1].answers.append(row)
        batch.empty = False
        self._close(key, answer)

    def tick(self, now: Now) -> None:
        """Take the defaults of runs whose questions are due, or tell them that nobody answered."""
        while self._due and self._due[0][0] <= now.mono:
            key = heapq.heappop(self._due)[1]
            entry = self._open.get(key)
            if entry is None or not entry.is_of_run:
                continue
            if entry.question.HasField("default_answer"):
                self.answer(now, entry, entry.question.default_answer, "")
            else:
                row: list[object] = [*key, int(Closing.TIMED_OUT), now.wall_ms, b""]
                self._close_run(key, row, None)

    def _wait(self, now: Now, entry: Entry) -> None:
        self._open[entry.key] = entry
        if entry.deadline_ms and entry.is_of_run:
            due = now.mono + (entry.deadline_ms - now.wall_ms) / 1000
            heapq.heappush(self._due, (due, entry.key))

    # --- contracts --------------------------------------------------------------------------------

    def parked(self, contract: Contract) -> None:
        """The core has parked a contract; its rows are in the batch."""
        entry = entry_of(contract)
        self._open[entry.key] = entry
        self._committer.after.append((self._show, entry, None))

    def answered(self, effect: Answered) -> None:
        """A contract's question is answered; its rows are in the batch."""
        key = (effect.contract.id, effect.asked.question_id)
        self._close(key, answer_of(effect.given))

    def ended(self, contract: Contract) -> None:
        """A contract has ended while it was parked."""
        if contract.asked is not None:
            self._close((contract.id, contract.asked.question_id), None)

    # --- after the commit -------------------------------------------------------------------------

    def _close(self, key: Key, answer: Answer | None) -> None:
        self._open.pop(key, None)
        self._committer.after.append((self.inbox.close, key, answer))

    def _show(self, entry: Entry, _: None) -> None:
        # One that was closed meanwhile is shown too: its closing comes next, and is told in order.
        if shard_of_id(entry.subject_id) in self._core.shards:
            self.inbox.add(entry)

    # --- shards -----------------------------------------------------------------------------------

    def take_over(
        self, now: Now, contracts: Iterable[Contract], of_runs: Iterable[StoredQuestion]
    ) -> None:
        """Shards were claimed, with these open contracts, and these open questions of runs."""
        entries = [entry_of(each) for each in contracts if each.asked is not None]
        entries += map(_entry_of_run, of_runs)
        self.inbox.moved(moving())
        for entry in entries:
            self._wait(now, entry)
            self.inbox.add(entry)

    def disown(self, shards: Collection[int]) -> None:
        """These shards are owned no longer."""
        for key in [key for key in self._open if shard_of_id(key[0]) in shards]:
            del self._open[key]
        self.inbox.disown(shards)
        self.inbox.moved(moving())


def entry_of(contract: Contract) -> Entry:
    """What a parked contract waits for."""
    asked = contract.asked
    assert asked is not None
    deadline_ms = contract.deadline_ms
    if asked.deadline_ms:
        deadline_ms = min(deadline_ms, asked.deadline_ms)
    return Entry(
        contract.id,
        contract.tenant,
        asked.body,
        asked.asked_ms,
        deadline_ms,
        contract.capability,
        asked.agent,
    )


def _entry_of_run(stored: StoredQuestion) -> Entry:
    return Entry(
        stored.subject_id,
        stored.tenant,
        Question.FromString(stored.question),
        stored.asked_ms,
        stored.deadline_ms,
        workflow=stored.workflow,
        step=stored.step,
    )
