"""`muster inbox` and `muster answer`: what waits for a person, and the answers."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from muster.cli import exits, text
from muster.cli.call_input import text_of
from muster.cli.contracts import find_contract
from muster.cli.exits import Trouble
from muster.cli.inbox_words import (
    asker_of,
    at_the_deadline,
    example_of,
    left_of,
    shown_value,
    value_of_word,
    wanted,
)
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, print_json_line, say, table
from muster.model.errors import Unavailable
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.v1.inbox_service_pb2 import ClosedQuestion, InboxEntry, WatchQuestionsResponse

_ID = re.compile(r"[0-9a-f]{16}")
_AGAIN_SECONDS = 0.5  # until a watch that broke off is begun again

Key = tuple[str, str]  # subject, question


async def list_questions(place: Place, most: int, as_json: bool) -> int:
    """Lists what waits, oldest first."""
    async with connected(place) as client:
        found = [entry async for entry in client.inbox.list(most=most + 1 if most else None)]
    shown = found[: most or None]
    if as_json:
        print_json([message_json(entry) for entry in shown])
    elif not shown:
        say("nothing waits for an answer")
    else:
        out().print(_table(shown, time.time()))
        say("answer with: muster answer ID VALUE", style="bright_black")
        if len(shown) < len(found):
            say("there are more; show them with: -n 100, or -n 0 for all", style="bright_black")
    return exits.OK


def _table(entries: Sequence[InboxEntry], now: float) -> Text:
    several = {key for key, count in Counter(e.subject_id for e in entries).items() if count > 1}
    columns = ["ID", "<FROM", "<QUESTION", "<ANSWER", ">ASKED", ">LEFT"]
    rows: list[list[str | Text]] = []
    for entry in entries:
        name = entry.subject_id
        if name in several:
            name += f"/{entry.question.id}"
        age = text.short_age(now - seconds_of_timestamp(entry.ask_time))
        rows.append(
            [
                name,
                text.printable(asker_of(entry)),
                text.shortened(entry.question.text, 120),
                text.shortened(wanted(entry.question), 80),
                age,
                left_of(entry, now),
            ]
        )
    return table(columns, rows)


# --- one question ---------------------------------------------------------------------------------


async def show_question(place: Place, named: str, as_json: bool) -> int:
    """Shows a question, and its answer if there is one."""
    async with connected(place) as client:
        entry = await _find(client, named)
    if as_json:
        print_json(message_json(entry))
    else:
        _show(entry, time.time())
    return exits.OK


async def _find(client: Client, named: str) -> InboxEntry:
    """The question that a person means: that of a contract or run, or one of several. Raises
    `Trouble`."""
    subject, _, question_id = named.partition("/")
    if not _ID.fullmatch(subject):
        subject = (await find_contract(client, named)).id
        question_id = ""
    if question_id:
        return await client.inbox.get(subject, question_id)
    waiting = [entry async for entry in client.inbox.list(subject, most=20)]
    if len(waiting) > 1:
        names = ", ".join(f"{subject}/{entry.question.id}" for entry in waiting)
        message = f"{subject} asks {len(waiting)} things; name one: {names}"
        raise Trouble(message, exits.USAGE)
    return waiting[0] if waiting else await client.inbox.get(subject)


def _named(entry: InboxEntry) -> str:
    """What to call a question: a contract asks one at a time, a run may ask several."""
    return f"{entry.subject_id}/{entry.question.id}" if entry.workflow else entry.subject_id


def _show(entry: InboxEntry, now: float) -> None:
    question = entry.question
    line = Text("question ")
    line.append(f"{entry.subject_id}/{question.id}", style="bold")
    line.append("  answered" if entry.HasField("answer") else "", style="green")
    out().print(line)
    age = text.age(now - seconds_of_timestamp(entry.ask_time))
    asked = "just now" if age == "now" else f"{age} ago"
    out().print(f"{text.printable(asker_of(entry))} · asked {asked}", style="bright_black")
    out().print()
    out().print(text.printable(question.text), soft_wrap=True)
    out().print()
    rows = [("answer", wanted(question))]
    if entry.HasField("answer"):
        by = entry.answer.principal or "nobody in time: the default"
        rows = [("answered", shown_value(entry.answer.value)), ("by", by)]
    else:
        if entry.HasField("deadline"):
            left = seconds_of_timestamp(entry.deadline) - now
            when = f"in {text.duration(left)}" if left > 0 else "passed"
            rows.append(("deadline", f"{when}; {at_the_deadline(question, entry.deadline)}"))
        rows.append(("how", f"muster answer {_named(entry)} {example_of(question)}"))
    for key, value in rows:
        out().print(f"  {key:<10}{text.printable(value)}", soft_wrap=True)


async def answer_question(place: Place, named: str, word: str, as_json: bool) -> int:
    """Answers; returns when that is recorded."""
    async with connected(place) as client:
        entry = await _find(client, named)
        value = value_of_word(entry.question, text_of(word))
        answer = await client.inbox.answer(entry.subject_id, entry.question.id, value)
    if as_json:
        print_json(message_json(answer))
    else:
        said = shown_value(answer.value)
        say(f"answered {text.shortened(said, 60)!r}; {text.printable(asker_of(entry))} goes on")
    return exits.OK


# --- watching -------------------------------------------------------------------------------------


async def watch_questions(place: Place, as_json: bool) -> int:
    """Says what waits, and then what changes, until Ctrl-C; goes on when the mesh restarts."""
    known: dict[Key, InboxEntry] = {}
    async with connected(place) as client:
        if not as_json:
            say("watching; Ctrl-C ends it", style="bright_black")
        while True:
            seen: set[Key] | None = set()
            try:
                async for frame in client.inbox.watch():
                    seen = _follow(frame, known, seen, as_json)
            except Unavailable:
                await asyncio.sleep(_AGAIN_SECONDS)


def _follow(
    frame: WatchQuestionsResponse,
    known: dict[Key, InboxEntry],
    seen: set[Key] | None,
    as_json: bool,
) -> set[Key] | None:
    """Tells what is new. `seen` is what waited when watching began, until all of it is told: what
    is known besides was closed while nobody watched."""
    for entry in frame.asked:
        key = (entry.subject_id, entry.question.id)
        if seen is not None:
            seen.add(key)
        if key not in known:
            known[key] = entry
            _tell_asked(entry, as_json)
    for closed in frame.closed:
        before = known.pop((closed.subject_id, closed.question_id), None)
        if before is not None:
            _tell_closed(before, closed, as_json)
    if not frame.caught_up or seen is None:
        return seen
    for key in [key for key in known if key not in seen]:
        _tell_closed(known.pop(key), None, as_json)
    return None


def _tell_asked(entry: InboxEntry, as_json: bool) -> None:
    if as_json:
        print_json_line({"event": "asked", **message_json(entry)})
        return
    line = _line(seconds_of_timestamp(entry.ask_time), entry, "asks", "magenta")
    line.append(f"{text.shortened(entry.question.text, 120)}  ")
    line.append(text.shortened(wanted(entry.question), 80), "bright_black")
    out().print(line, soft_wrap=True)


def _tell_closed(entry: InboxEntry, closed: ClosedQuestion | None, as_json: bool) -> None:
    answer = closed.answer if closed is not None and closed.HasField("answer") else None
    if as_json:
        names = {"subject_id": entry.subject_id, "question_id": entry.question.id}
        said = None if answer is None else message_json(answer)
        print_json_line({"event": "closed", **names, "answer": said})
        return
    if answer is None:
        line = _line(time.time(), entry, "closed", "bright_black")
    else:
        line = _line(seconds_of_timestamp(answer.answer_time), entry, "answered", "green")
        by = answer.principal or "the default"
        line.append(f"{shown_value(answer.value)}  ").append(f"by {by}", "bright_black")
    out().print(line, soft_wrap=True)


def _line(at: float, entry: InboxEntry, word: str, style: str) -> Text:
    line = Text(time.strftime("%H:%M:%S", time.localtime(at)), style="bright_black")
    line.append(f"  {entry.subject_id}  ", "default").append(f"{word:<9} ", style)
    return line.append(f"{text.printable(asker_of(entry))}  ", "default")
