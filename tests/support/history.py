"""A history, as clients and agents wrote it down themselves, and the promise as rules over it.

Nothing in it comes from inside the mesh. Clients write down what they submitted, what was
acknowledged and refused, what they asked and which responses came on which channel. A Submit that
timed out or broke off is *unknown*: the client writes nothing but the submission, and submits
again. Agents write down each execution before it does anything, with a nonce of its own that comes
back in the response.

`violations` applies every rule that holds under any fault. What holds only where nothing was killed
(S17) is in `executions_per_contract`, for the test to compare.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from muster.v1.response_pb2 import CONTRACT_STATE_SUCCEEDED, RESPONSE_AUTHOR_AGENT, Response

STREAM = "SubmitStream"
GET = "GetContract"
WAIT = "WaitContract"
WATCH = "WatchContracts"

REUSED = "REQUEST_ID_REUSED"


class Submission(NamedTuple):
    """A request that a client sent; `body` stands for everything in it but the id."""

    request_id: str
    body: str


class Acknowledgement(NamedTuple):
    """A Submit that returned OK, or an `accepted` on a stream."""

    request_id: str
    contract_id: str


class Refusal(NamedTuple):
    """A submission that the mesh refused for good; `reason` is that of its ErrorInfo."""

    request_id: str
    body: str
    reason: str


class Question(NamedTuple):
    """A contract's response was asked for on a channel, with all the time it could need."""

    channel: str
    contract_id: str


class Answer(NamedTuple):
    """A response that came on a channel."""

    channel: str
    response: Response


class Change(NamedTuple):
    """A lifecycle event that a watcher of all contracts got."""

    contract_id: str
    sequence: int
    type: str


class Listing(NamedTuple):
    """A contract as ListContracts shows it; `parent_id` is empty for a root."""

    contract_id: str
    request_id: str
    parent_id: str


class Execution(NamedTuple):
    """An agent began to work; `at` is the machine's monotonic clock in seconds."""

    contract_id: str
    epoch: int
    nonce: str
    host: str
    at: float


@dataclass
class History:
    """What was written down. `epochs`: those of a contract's attempts, as GetContract lists them
    once it has ended; what is not listed was never committed."""

    submissions: list[Submission] = field(default_factory=list)
    acknowledgements: list[Acknowledgement] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    epochs: dict[str, list[int]] = field(default_factory=dict)

    @property
    def contract_ids(self) -> list[str]:
        """Every contract that was acknowledged, in that order."""
        return list(dict.fromkeys(entry.contract_id for entry in self.acknowledgements))

    def read_journal(self, host: str, journal: Path) -> None:
        """Adds what a host wrote down. A last line that its death cut off never took effect."""
        lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
        for line in lines:
            if line.endswith("\n"):
                contract_id, epoch, nonce, at = line.split()
                self.executions.append(Execution(contract_id, int(epoch), nonce, host, float(at)))


def violations(history: History) -> list[str]:
    """Every breach of the promise that the history shows, in words. Empty when it was kept."""
    return [f"{name}: {breach}" for name, rule in RULES.items() for breach in rule(history)]


def executions_per_contract(history: History) -> float:
    """Mean number of executions of the contracts that were acknowledged."""
    runs = Counter(entry.contract_id for entry in history.executions)
    contracts = history.contract_ids
    return sum(runs[each] for each in contracts) / len(contracts)


# --- the rules ------------------------------------------------------------------------------------


def no_lost_accept(history: History) -> Iterator[str]:
    """S1: whatever was acknowledged is found, and ends."""
    answered = {(entry.channel, entry.response.contract_id) for entry in history.answers}
    for question in history.questions:
        if question not in answered:
            yield f"{question.contract_id} has no response on {question.channel}"
    asked = {question.contract_id for question in history.questions}
    for contract_id in history.contract_ids:
        if contract_id not in asked:
            yield f"{contract_id} was acknowledged, and nobody asked what became of it"
    listed = {listing.contract_id for listing in history.listings}
    for contract_id in set(history.contract_ids) - listed if listed else ():
        yield f"{contract_id} was acknowledged, and is in no list"


def one_response(history: History) -> Iterator[str]:
    """S2: every channel shows the same response, byte for byte."""
    seen: dict[str, dict[bytes, str]] = defaultdict(dict)
    for channel, response in history.answers:
        shown = response.SerializeToString(deterministic=True)
        seen[response.contract_id].setdefault(shown, channel)
    for contract_id, by_bytes in seen.items():
        if len(by_bytes) > 1:
            yield f"{contract_id} has {len(by_bytes)} responses: {', '.join(by_bytes.values())}"


def newest_epoch_answers(history: History) -> Iterator[str]:
    """S3: an agent's response comes from the highest epoch that was committed."""
    for response in _agents_responses(history):
        epochs = history.epochs.get(response.contract_id, [])
        if epochs and response.epoch != max(epochs):
            yield f"{response.contract_id} is answered by {response.epoch}, not {max(epochs)}"


def epochs_grow(history: History) -> Iterator[str]:
    """S5: committed epochs strictly increase, and none is executed twice."""
    for contract_id, epochs in history.epochs.items():
        if epochs != sorted(set(epochs)):
            yield f"the epochs of {contract_id} do not grow: {epochs}"
    executed = Counter((entry.contract_id, entry.epoch) for entry in history.executions)
    for (contract_id, epoch), count in executed.items():
        if count > 1:
            yield f"epoch {epoch} of {contract_id} was executed {count} times"


def no_phantom(history: History) -> Iterator[str]:
    """S6: no contract that nobody submitted, no output that no agent made for that very attempt."""
    produced = {entry.nonce: (entry.contract_id, entry.epoch) for entry in history.executions}
    if len(produced) != len(history.executions):
        yield "two executions have the same nonce"
    submitted = {submission.request_id for submission in history.submissions}
    for listing in history.listings:
        if not listing.parent_id and listing.request_id not in submitted:
            yield f"nobody submitted {listing.request_id}, and {listing.contract_id} is there"
    for response in _agents_responses(history):
        if response.state != CONTRACT_STATE_SUCCEEDED:
            continue
        nonce = nonce_of(response)
        if produced.get(nonce) != (response.contract_id, response.epoch):
            made = produced.get(nonce, ("nobody", 0))
            yield f"{response.contract_id} at {response.epoch} got the output of {made}"


def ids_are_stable(history: History) -> Iterator[str]:
    """S7: one request_id and body is one contract, and only ever that."""
    contracts = _grouped((a.request_id, a.contract_id) for a in history.acknowledgements)
    for request_id, found in contracts.items():
        if len(found) > 1:
            yield f"request {request_id} became {len(found)} contracts: {sorted(found)}"
    requests = _grouped((a.contract_id, a.request_id) for a in history.acknowledgements)
    for contract_id, named in requests.items():
        if len(named) > 1:
            yield f"contract {contract_id} was made for {sorted(named)}"
    bodies: dict[str, str] = {}
    for submission in history.submissions:
        bodies.setdefault(*submission)
    for refusal in history.refusals:
        if refusal.reason == REUSED and bodies.get(refusal.request_id) == refusal.body:
            yield f"request {refusal.request_id} was refused with the body it has"
    for answer in history.answers:
        named = requests.get(answer.response.contract_id, set())
        if named and answer.response.request_id not in named:
            yield f"{answer.response.contract_id} answers {answer.response.request_id}"


def events_have_no_gap(history: History) -> Iterator[str]:
    """S9: a watcher of everything sees each event of each contract, the last one is its end."""
    if not history.changes:
        return
    seen: dict[str, dict[int, str]] = defaultdict(dict)
    for contract_id, sequence, kind in history.changes:
        if seen[contract_id].setdefault(sequence, kind) != kind:
            yield f"event {sequence} of {contract_id} is {kind} and {seen[contract_id][sequence]}"
        if any(number not in seen[contract_id] for number in range(1, sequence)):
            yield f"event {sequence} of {contract_id} came before those before it"
    for contract_id in history.contract_ids:
        kinds = seen[contract_id]
        if not kinds or kinds[max(kinds)] != "ENDED":
            yield f"the watch of all has not seen the end of {contract_id}: {kinds}"
        if list(kinds.values()).count("ENDED") > 1:
            yield f"{contract_id} has ended more than once: {kinds}"


RULES: Mapping[str, Callable[[History], Iterable[str]]] = {
    "S1": no_lost_accept,
    "S2": one_response,
    "S3": newest_epoch_answers,
    "S5": epochs_grow,
    "S6": no_phantom,
    "S7": ids_are_stable,
    "S9": events_have_no_gap,
}


def nonce_of(response: Response) -> str:
    """The nonce in an agent's output; empty when there is none."""
    try:
        return str(json.loads(response.payload.json)["nonce"])
    except (ValueError, KeyError, TypeError):
        return ""


def _agents_responses(history: History) -> Iterator[Response]:
    for answer in history.answers:
        if answer.response.author == RESPONSE_AUTHOR_AGENT:
            yield answer.response


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        groups[key].add(value)
    return groups
