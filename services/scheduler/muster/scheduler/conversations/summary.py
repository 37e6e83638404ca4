"""The summarizer that is built in: extractive, and the same text for the same contracts. Pure.

What it does, "extractive.v1":

1. Contracts are put in the order of their ids, whatever order they come in.
2. A head says how many there were, when, how they ended and who took part; a last line what was
   spent. Both are always there.
3. Between them are four sections: what was asked, decided, produced, and what went wrong. Each
   has a share of the room that is left (`SHARES`); what one does not need, the next ones get.
4. A section has a line for each contract. Where there is no room for all, roots come before what
   was delegated, and earlier before later; the lines that stay are in order of acceptance, and a
   last one says how many there are more.
5. A decision is an answer to a question, or a value of an output under one of the names
   `DECISIVE`.
6. A text that is too long for its line is extracted from: each of its sentences gets the mean
   weight of its words, where a word weighs as much as it is frequent in all the texts together
   (Luhn, 1958), and the heaviest ones that fit stay, in their order. If none fits, it is cut.

Whatever comes in, the text has at most `bytes_max` bytes of UTF-8.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime

from muster.model.ids import format_id
from muster.model.states import ContractState
from muster.scheduler.conversations.excerpts import cut

NAME = "extractive.v1"

# Of the room for sections; what is left over goes to those that follow.
SHARES = (("Asked", 0.3), ("Decided", 0.2), ("Produced", 0.38), ("Went wrong", 0.12))
HEAD_BYTES_MAX = 768
TAIL_BYTES_MAX = 256
LINE_BYTES_MAX = 400
BYTES_MIN = 2_048  # there must be room for head, tail and some lines
NAMED_MAX = 12  # who took part

# Names under which outputs say what was decided.
DECISIVE = frozenset(
    "accepted approved approval choice chosen conclusion decided decision outcome plan "
    "recommendation rejected resolution selected verdict".split()
)

_SENTENCE_ENDS = re.compile(r"(?<=[.!?;])\s+|\n+")
_WORD = re.compile(r"\w{3,}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A contract in plain values."""

    id: int
    capability: str
    principal: str
    actor: str  # the agent that delegated it; empty for a root
    agent: str  # of its last attempt
    state: ContractState
    accepted_ms: int
    ended_ms: int
    asked: str
    produced: str = ""
    decisions: tuple[str, ...] = ()
    code: str = ""
    message: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """What a person was asked."""

    contract_id: int
    text: str
    answer: str = ""
    by: str = ""  # empty: nobody, or the default


@dataclass(frozen=True, slots=True)
class Spent:
    """What all of them have spent, as their agents said."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a section. Those with the lowest `rank` stay."""

    rank: tuple[bool, int]
    before: str
    text: str
    after: str


def summarize(
    pieces: Iterable[Piece], answers: Sequence[Answered], spent: Spent, bytes_max: int
) -> str:
    """The text, of at most `bytes_max` bytes; those are at least `BYTES_MIN`."""
    ordered = sorted(pieces, key=lambda piece: piece.id)
    weights = _weights(text for piece in ordered for text in (piece.asked, piece.produced))
    head = cut(_head(ordered), HEAD_BYTES_MAX)
    tail = cut(_tail(ordered, spent), TAIL_BYTES_MAX)
    parts, room = [head], bytes_max - len(head.encode()) - len(tail.encode()) - 1
    left = sum(share for _, share in SHARES)
    by_name = _sections(ordered, answers)
    for name, share in SHARES:
        # A byte of its share is the line break behind it.
        section = _section(name, by_name[name], int(room * share / left) - 1, weights)
        left -= share
        if section:
            parts.append(section)
            room -= len(section.encode()) + 1
    return "\n".join([*parts, tail])


# --- head and tail --------------------------------------------------------------------------------


def _head(pieces: Sequence[Piece]) -> str:
    if not pieces:
        return "No contracts."
    states = Counter(piece.state for piece in pieces)
    ended = ", ".join(
        f"{count} {state.name.lower().replace('_', ' ')}"
        for state, count in sorted(states.items(), key=lambda each: (-each[1], each[0]))
    )
    count = len(pieces)
    begun = min(piece.accepted_ms for piece in pieces)
    over = max(piece.ended_ms for piece in pieces)
    return (
        f"{count} contract{'' if count == 1 else 's'}, {_instant(begun)} to {_instant(over)}: "
        f"{ended}. Took part: {_took_part(pieces)}."
    )


def _took_part(pieces: Sequence[Piece]) -> str:
    asked = Counter(piece.actor or piece.principal for piece in pieces)
    worked = Counter(piece.agent for piece in pieces if piece.agent)
    active = asked + worked
    names = sorted(active, key=lambda name: (-active[name], name))
    words = []
    for name in names[:NAMED_MAX]:
        did = [f"asked {asked[name]}"] if asked[name] else []
        did += [f"worked on {worked[name]}"] if worked[name] else []
        words.append(f"{name} ({', '.join(did)})")
    if len(names) > NAMED_MAX:
        words.append(f"{len(names) - NAMED_MAX} more")
    return ", ".join(words)


def _tail(pieces: Sequence[Piece], spent: Spent) -> str:
    attempts = sum(piece.attempts for piece in pieces)
    words = [f"{attempts} attempt{'' if attempts == 1 else 's'}"]
    if spent.input_tokens or spent.output_tokens:
        words.append(f"{spent.input_tokens} tokens read and {spent.output_tokens} written")
    if spent.cost_micros:
        words.append(f"cost {spent.cost_micros / 1e6:.6f}")
    if spent.cpu_seconds:
        words.append(f"{spent.cpu_seconds:.1f} s of CPU")
    return f"Spent: {', '.join(words)}."


def _instant(ms: int) -> str:
    seconds = max(0, min(ms // 1000, 253_402_300_799))
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


# --- sections -------------------------------------------------------------------------------------


def _sections(
    pieces: Sequence[Piece], answers: Sequence[Answered]
) -> Mapping[str, Sequence[_Line]]:
    sections: dict[str, list[_Line]] = {name: [] for name, _ in SHARES}
    for each in sorted(answers, key=astuple):
        by = f"{each.by} answered" if each.by else "nobody was asked in time; taken was"
        answer = f"{by}: {each.answer}" if each.answer else "without an answer"
        line = _Line((False, each.contract_id), f'"{cut(each.text, 120)}" ', answer, "")
        sections["Decided"].append(line)
    for piece in pieces:
        rank = (bool(piece.actor), piece.id)
        reference = f" [{format_id(piece.id)}]"
        asker = f"delegated by {piece.actor}" if piece.actor else f"by {piece.principal}"
        what = f"{piece.capability} "
        worker = f"by {piece.agent}" if piece.agent else "by nobody"
        sections["Asked"].append(_Line(rank, f"{what}{asker}: ", piece.asked, reference))
        for decision in piece.decisions:
            sections["Decided"].append(_Line(rank, f"{what}{worker}: ", decision, reference))
        if piece.produced:
            sections["Produced"].append(_Line(rank, f"{what}{worker}: ", piece.produced, reference))
        if piece.code or piece.message:
            text = f"{piece.code}: {piece.message}" if piece.message else piece.code
            sections["Went wrong"].append(_Line(rank, f"{what}{worker}: ", text, reference))
    return sections


def _section(
    name: str, lines: Sequence[_Line], bytes_max: int, weights: Mapping[str, float]
) -> str:
    """The heading and the lines that fit; empty where there is nothing to say, or no room."""
    if not lines:
        return ""
    made = [_written(line, weights) for line in lines]
    more = f"- {len(lines)} more"
    room = bytes_max - len(name) - 1
    if sum(len(line.encode()) + 1 for line in made) > room:
        room -= len(more) + 1
    stay: set[int] = set()
    for at in sorted(range(len(lines)), key=lambda at: (lines[at].rank, at)):
        size = len(made[at].encode()) + 1
        if size > room:
            break
        stay.add(at)
        room -= size
    if not stay:
        return ""
    shown = [made[at] for at in sorted(stay)]
    if len(stay) < len(lines):
        shown.append(f"- {len(lines) - len(stay)} more")
    return "\n".join([f"{name}:", *shown])


def _written(line: _Line, weights: Mapping[str, float]) -> str:
    before, after = f"- {cut(line.before, LINE_BYTES_MAX // 2)} ", line.after
    room = LINE_BYTES_MAX - len(before.encode()) - len(after.encode())
    return before + extract(line.text, room, weights) + after


# --- extracting -----------------------------------------------------------------------------------


def _weights(texts: Iterable[str]) -> Mapping[str, float]:
    counted: Counter[str] = Counter()
    for text in texts:
        counted.update(_WORD.findall(text.lower()))
    return counted


def extract(text: str, bytes_max: int, weights: Mapping[str, float]) -> str:
    """The text on one line, or of its sentences those that weigh most, in at most so many bytes."""
    whole = cut(text, bytes_max)
    if not whole.endswith("…") or text.rstrip().endswith("…"):
        return whole
    sentences = [" ".join(each.split()) for each in _SENTENCE_ENDS.split(text)]
    room, stay = bytes_max, set[int]()
    for at in sorted(range(len(sentences)), key=lambda at: (-_weight(sentences[at], weights), at)):
        size = len(sentences[at].encode()) + 1
        if sentences[at] and size <= room:
            stay.add(at)
            room -= size
    return " ".join(sentences[at] for at in sorted(stay)) or whole


def _weight(sentence: str, weights: Mapping[str, float]) -> float:
    words = _WORD.findall(sentence.lower())
    return sum(weights.get(word, 0.0) for word in words) / len(words) if words else 0.0
