"""How histories are written down, read and shown; the rules are in test_history_rules.py."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from muster.v1.response_pb2 import CONTRACT_STATE_SUCCEEDED, RESPONSE_AUTHOR_AGENT, Response
from tests.support.history import (
    GET,
    WAIT,
    Execution,
    History,
    Journal,
    answer_of,
    assert_kept,
    check,
    executions_per_contract,
    report,
    smallest,
)
from tests.support.history import records as r
from tests.support.history.journal import decode, encode
from tests.support.history_model import Life, Model

MANY = 2_000  # contracts, of about 40 records each
SECONDS_PER_CONTRACT_MAX = 0.005  # read and judged, on a machine that has other things to do


def lived(*lives: Life) -> History:
    model = Model()
    for life in lives:
        model.live(life)
    return model.history


def test_a_record_survives_being_written_down() -> None:
    history = lived(Life(before=("LOST",), chunks=2, zombies=True, submits=2))
    history.faults.append(r.Fault("a kill", True, "scheduler", [r.OWNER, r.PART], at=1.0, wall=2.0))
    for record in history.all():
        whole = replace(record, at=round(record.at, 6), wall=round(record.wall, 6))
        line = encode(record)
        assert line.endswith(b"\n")
        assert decode(json.loads(line), record.by) == whole


def test_a_record_of_an_earlier_version_lacks_the_fields_that_came_later() -> None:
    assert decode(["Execution", 1.0, 2.0, "c1", 5, "n1", "h"]) == Execution(
        "c1", 5, "n1", "h", at=1.0, wall=2.0
    )


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


def test_journals_of_many_processes_make_one_history_as_fast_as_they_are_read(
    tmp_path: Path,
) -> None:
    made = lived(*[Life(chunks=1, before=("FAILED",) * (n % 2)) for n in range(MANY)])
    for record in made.all():
        record.by = f"{record.by[:6]}-{crc32(record.by.encode()) % 8}"
    by_process: dict[str, list[r.Record]] = {}
    for record in made.all():
        by_process.setdefault(record.by, []).append(record)
    for name, records in by_process.items():
        (tmp_path / f"{name}.journal").write_bytes(b"".join(map(encode, records)))
    began = time.perf_counter()
    history = History()
    history.read_folder(tmp_path)
    found = check(history)
    took = time.perf_counter() - began
    assert found == [], report(history, found)
    assert len(list(history.all())) == len(list(made.all()))
    assert executions_per_contract(history) == 1.5
    assert took < MANY * SECONDS_PER_CONTRACT_MAX


def test_a_response_is_written_down_by_its_digest_and_its_nonce() -> None:
    response = Response(contract_id="c1", request_id="r1", epoch=5)
    response.state, response.author = CONTRACT_STATE_SUCCEEDED, RESPONSE_AUTHOR_AGENT
    response.payload.json = json.dumps({"nonce": "n1", "text": "x"})
    one = answer_of(GET, response)
    assert (one.state, one.author, one.nonce) == ("SUCCEEDED", "AGENT", "n1")
    response.payload.json = json.dumps({"nonce": "n1", "text": "y"})
    other = answer_of(WAIT, response)
    assert one.digest != other.digest


def test_of_a_violation_only_what_it_takes_is_shown() -> None:
    history = lived(*[Life(submits=2, before=("LOST",), resends=1, chunks=2) for _ in range(20)])
    assert report(history) == "no violations"
    assert_kept(history)
    answer = next(each for each in history.answers if each.contract_id == "c7")
    history.answers.append(replace(answer, channel=WAIT, digest="another", at=answer.at + 1))
    (violation,) = check(history)
    assert violation.rule == "S2"
    shown = smallest(history, violation)
    assert [type(each) for each in shown] == [r.Answer, r.Answer]
    assert {each.digest for each in shown if isinstance(each, r.Answer)} == {
        answer.digest,
        "another",
    }
    with pytest.raises(AssertionError, match=r"S2: c7 has 2 responses") as failure:
        assert_kept(history)
    lines = str(failure.value).splitlines()
    assert len(lines) == 5
    assert "channel=WaitContract" in lines[-1]
    assert "digest=another" in lines[-1]


def test_what_a_violation_needs_of_other_contracts_is_shown_too() -> None:
    history = lived(Life(), Life(), Life())
    of_another = next(each for each in history.executions if each.contract_id == "c3")
    for at, each in enumerate(history.answers):
        if each.contract_id == "c1":
            history.answers[at] = replace(each, nonce=of_another.nonce)
    (violation,) = check(history)
    assert violation.rule == "S6"
    assert of_another in smallest(history, violation)
