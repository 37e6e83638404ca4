"""Questions that wait, as the inbox tells of them."""

from __future__ import annotations

from collections.abc import Iterable

from muster.model.ids import format_id
from muster.model.ledger import StoredContract, StoredQuestion
from muster.scheduler.inbox import Change, Entry, Key, Place
from muster.scheduler.messages_in import id_of
from muster.scheduler.messages_out import set_ms
from muster.v1.inbox_service_pb2 import (
    SUBJECT_KIND_CONTRACT,
    SUBJECT_KIND_RUN,
    InboxEntry,
    ListQuestionsResponse,
    WatchQuestionsResponse,
)
from muster.v1.question_pb2 import Answer, Question
from muster.wire.times import ms_of_timestamp


def message_of(entry: Entry) -> InboxEntry:
    """A question that waits."""
    message = InboxEntry(
        subject_id=format_id(entry.subject_id),
        kind=SUBJECT_KIND_RUN if entry.is_of_run else SUBJECT_KIND_CONTRACT,
        capability=entry.capability,
        agent=entry.agent,
        workflow=entry.workflow,
        step=entry.step,
        question=entry.question,
    )
    set_ms(message.ask_time, entry.asked_ms)
    if entry.deadline_ms:
        set_ms(message.deadline, entry.deadline_ms)
    return message


def stored_message(stored: StoredQuestion, contract: StoredContract | None) -> InboxEntry:
    """A question as the ledger has it; `contract` is what asked, where it is no run."""
    deadlines = [stored.deadline_ms] if stored.deadline_ms else []
    agent = ""
    if contract is not None:
        deadlines.append(contract.deadline_ms)
        agent = next((a.agent for a in contract.attempts if a.epoch == stored.epoch), "")
    message = message_of(
        Entry(
            stored.subject_id,
            stored.tenant,
            Question.FromString(stored.question),
            stored.asked_ms,
            min(deadlines, default=0),
            contract.capability if contract is not None else "",
            agent,
            stored.workflow,
            stored.step,
        )
    )
    if stored.answer:
        message.answer.ParseFromString(stored.answer)
    return message


def place_of(message: InboxEntry) -> Place:
    """Where an entry stands among the others."""
    return ms_of_timestamp(message.ask_time), id_of(message.subject_id), message.question.id


def text_of_place(place: Place) -> str:
    """A place as a page token has it."""
    asked_ms, subject_id, question_id = place
    return f"{asked_ms:x}/{format_id(subject_id)}/{question_id}"


def place_of_text(text: str) -> Place:
    """The place that `text_of_place` was given; tokens are sealed, so nothing else comes."""
    asked_ms, subject_id, question_id = text.split("/", 2)
    return int(asked_ms, 16), id_of(subject_id), question_id


def merged_page(pages: Iterable[ListQuestionsResponse], size: int) -> tuple[list[InboxEntry], bool]:
    """The first entries of several schedulers' pages, and whether there are more."""
    found: list[InboxEntry] = []
    reached: list[Place] = []  # of those who have more: nothing is known of what comes after
    for page in pages:
        found.extend(page.entries)
        if page.next_page_token:
            reached.append(place_of(page.entries[-1]))
    found.sort(key=place_of)
    known = [each for each in found if not reached or place_of(each) <= min(reached)]
    return known[:size], bool(reached) or len(known) > size


def frame_of(changes: dict[Key, Change]) -> WatchQuestionsResponse:
    """What has changed, for whoever watches."""
    frame = WatchQuestionsResponse()
    for (subject_id, question_id), change in changes.items():
        if isinstance(change, Entry):
            frame.asked.append(message_of(change))
        else:
            closed = frame.closed.add(subject_id=format_id(subject_id), question_id=question_id)
            if isinstance(change, Answer):
                closed.answer.CopyFrom(change)
    return frame
