"""The checker of histories is checked: a history that kept the promise, and one breach of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from muster.v1.response_pb2 import (
    CONTRACT_STATE_EXPIRED,
    CONTRACT_STATE_SUCCEEDED,
    RESPONSE_AUTHOR_AGENT,
    RESPONSE_AUTHOR_MESH,
    Response,
)
from tests.support.history import (
    GET,
    REUSED,
    STREAM,
    Acknowledgement,
    Attempt,
    Change,
    Execution,
    History,
    Journal,
    Listing,
    Question,
    Refusal,
    Shown,
    Submission,
    answer_of,
    executions_per_contract,
    violations,
)

KINDS = ("ACCEPTED", "LEASED", "STARTED", "ENDED")


def response(contract: str = "c1", request: str = "r1", nonce: str = "n1", epoch: int = 5):
    made = Response(contract_id=contract, request_id=request, epoch=epoch)
    made.state, made.author = CONTRACT_STATE_SUCCEEDED, RESPONSE_AUTHOR_AGENT
    made.payload.json = json.dumps({"nonce": nonce})
    return made


def shown(contract: str, *epochs: int) -> Shown:
    attempts = [
        Attempt(number, epoch, "a", "h", "SUCCEEDED", "", True, 0.0, 0.0)
        for number, epoch in enumerate(epochs, 1)
    ]
    what = (f"r{contract[1:]}", "default", "local", "work", "SUCCEEDED", "")
    return Shown(contract, *what, len(KINDS), 0.0, 0.0, 0.0, 5, attempts)


def kept() -> History:
    """Two contracts, each submitted twice and executed once, by the second attempt."""
    history = History()
    for n in "12":
        contract, request = f"c{n}", f"r{n}"
        history.submissions += [Submission(request, f"body {n}")] * 2
        history.acknowledgements += [Acknowledgement(request, contract)] * 2
        history.listings.append(Listing(contract, request, ""))
        for channel in (STREAM, GET):
            history.questions.append(Question(channel, contract))
            history.answers.append(answer_of(channel, response(contract, request, f"n{n}")))
        history.changes += [Change(contract, at, kind) for at, kind in enumerate(KINDS, 1)]
        history.executions.append(Execution(contract, 5, f"n{n}", "h"))
        history.shown.append(shown(contract, 3, 5))
    history.refusals.append(Refusal("r1", "another body", REUSED))
    return history


def test_a_history_that_kept_the_promise_has_no_violations() -> None:
    assert violations(kept()) == []
    assert executions_per_contract(kept()) == 1.0


def test_an_unknown_submit_may_have_made_a_contract_or_not() -> None:
    history = kept()
    history.submissions += [Submission("r3", "body"), Submission("r4", "body")]
    history.listings.append(Listing("c3", "r3", ""))
    assert violations(history) == []


def test_an_epoch_that_was_never_committed_may_be_higher_than_the_answers() -> None:
    history = kept()
    history.executions.append(Execution("c1", 9, "n9", "h"))
    assert violations(history) == []
    assert executions_per_contract(history) == 1.5


def test_a_response_of_the_mesh_needs_no_execution() -> None:
    history = kept()
    mesh = Response(contract_id="c1", request_id="r1", state=CONTRACT_STATE_EXPIRED)
    mesh.author = RESPONSE_AUTHOR_MESH
    history.answers = [answer_of(a.channel, mesh) for a in history.answers[:2]] + history.answers[
        2:
    ]
    assert violations(history) == []


def answer(history: History, made: Response, channels: int = 2) -> None:
    """Puts another response of the first contract on its first channels."""
    for n in range(channels):
        history.answers[n] = answer_of(history.answers[n].channel, made)


BREACHES: dict[str, tuple[str, Callable[[History], object]]] = {
    "a channel has no response": ("S1", lambda h: h.answers.pop()),
    "nobody asked": ("S1", lambda h: h.acknowledgements.append(Acknowledgement("r5", "c5"))),
    "it is in no list": ("S1", lambda h: h.listings.pop()),
    "channels differ": ("S2", lambda h: answer(h, response(nonce="n2"), 1)),
    "an older epoch answers": ("S3", lambda h: h.shown.append(shown("c1", 3, 5, 8))),
    "epochs go back": ("S5", lambda h: h.shown.append(shown("c1", 4, 3, 5))),
    "an epoch comes twice": ("S5", lambda h: h.shown.append(shown("c1", 3, 3, 5))),
    "an attempt runs twice": (
        "S5",
        lambda h: h.executions.append(Execution("c1", 5, "n9", "h")),
    ),
    "nobody made the output": ("S6", lambda h: h.executions.pop()),
    "the output is another contract's": (
        "S6",
        lambda h: answer(h, response(nonce="n2")),
    ),
    "the output is another attempt's": (
        "S6",
        lambda h: h.executions.__setitem__(0, Execution("c1", 3, "n1", "h")),
    ),
    "the output has no nonce": (
        "S6",
        lambda h: answer(h, response(nonce="")),
    ),
    "nobody submitted it": ("S6", lambda h: h.listings.append(Listing("c9", "r9", ""))),
    "one request, two contracts": (
        "S7",
        lambda h: h.acknowledgements.append(Acknowledgement("r1", "c2")),
    ),
    "the same body is refused": (
        "S7",
        lambda h: h.refusals.append(Refusal("r1", "body 1", REUSED)),
    ),
    "an answer names another request": (
        "S7",
        lambda h: answer(h, response(request="r2")),
    ),
    "an event is missing": ("S9", lambda h: h.changes.pop(1)),
    "events are out of order": ("S9", lambda h: h.changes.insert(0, h.changes.pop(1))),
    "the end was not seen": ("S9", lambda h: h.changes.pop()),
    "it ended twice": ("S9", lambda h: h.changes.append(Change("c2", 5, "ENDED"))),
    "a number means two events": ("S9", lambda h: h.changes.append(Change("c2", 4, "REQUEUED"))),
}


@pytest.mark.parametrize(("rule", "breach"), BREACHES.values(), ids=BREACHES)
def test_the_breach_is_found(rule: str, breach: Callable[[History], object]) -> None:
    history = kept()
    breach(history)
    found = violations(history)
    assert found
    assert any(each.startswith(rule) for each in found), found


def test_a_journal_is_read_without_the_line_that_a_kill_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "h.journal"
    first = Journal(path)
    first.write(Execution("c1", 5, "n1", "h"))
    first.close()
    with path.open("a") as file:
        file.write('["Execution",1.5,2')
    history = History()
    history.read_journal("h", path)
    history.read_journal("another", tmp_path / "that never wrote")
    assert [each.nonce for each in history.executions] == ["n1"]
    assert history.executions[0].by == "h"
    assert history.executions[0].at > 0
    second = Journal(path)  # the next life of the process goes on with it
    second.write(Execution("c2", 6, "n2", "h"))
    history.read_journal("h", path)
    assert [each.nonce for each in history.executions] == ["n1", "n2"]
    whole = History()
    whole.read_folder(tmp_path)
    assert list(whole.all()) == list(history.all())


def test_a_journal_that_is_damaged_elsewhere_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "h.journal"
    journal = Journal(path)
    journal.write(Execution("c1", 5, "n1", "h"))
    path.write_bytes(path.read_bytes().replace(b"c1", b'c"'))
    journal.write(Execution("c2", 6, "n2", "h"))
    with pytest.raises(ValueError, match="delimiter"):
        History().read_folder(tmp_path)
