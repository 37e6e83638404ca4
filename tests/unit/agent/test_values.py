"""Values, contents, and the messages between a host and its workers."""

import datetime
import enum
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.agent import Blob, ChildFailed
from muster.agent.contents import content_in, fill_small, is_small
from muster.agent.failures import AGENT_ERROR, AttemptCancelled, Failed
from muster.agent.performing import failed_of
from muster.agent.text import cut
from muster.agent.values import EMPTY, Content, content_of, value_of
from muster.agent.workers import pipe
from muster.agent.workers.sync_port import error_answer
from muster.model.errors import InvalidArgument, NotFound
from muster.v1.payload_pb2 import Payload
from muster.v1.policy_pb2 import Constraint


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    colour: Colour


class Model(pydantic.BaseModel):
    number: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True]}, '{"a":[1,2.5,null,true]}'),
        (Point(1, Colour.RED), '{"x":1,"colour":"red"}'),
        ([Point(1, Colour.RED)], '[{"x":1,"colour":"red"}]'),
        ({"m": Model(number=1)}, '{"m":{"number":1}}'),
        ((1, 2), "[1,2]"),
        ({1}, "[1]"),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        (
            {"blob": Blob("aa", 5, "x/y")},
            '{"blob":{"sha256":"aa","size_bytes":5,"media_type":"x/y"}}',
        ),
        ("é", '"é"'),
        (None, "null"),
    ],
)
def test_values_become_json(value: Any, text: str) -> None:
    assert content_of(value) == Content("json", text)


@pytest.mark.parametrize("value", [b"ab", Blob("aa", 5, "x/y"), Constraint(label="a")])
def test_what_is_not_json_stays_itself(value: Any) -> None:
    content = content_of(value)
    assert content.kind != "json"
    assert value_of(content) == value
    payload = Payload()
    fill_small(payload, content)
    assert content_in(payload) == content


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": object()}, "\ud800", {(1, 2): 1}])
def test_what_has_no_place_on_the_wire_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        content_of(value)


def test_a_message_that_nobody_knows_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="does not know the message no"):
        value_of(Content("message", b"", "no.Such"))


def test_what_fits_is_counted_in_bytes() -> None:
    assert is_small(Content("json", "a" * 65536))
    assert not is_small(Content("json", "a" * 65537))
    assert is_small(Content("json", "é" * 32768))
    assert not is_small(Content("json", "é" * 32769))
    assert not is_small(Content("binary", b"a" * 65537))


CONTENTS = st.one_of(
    st.builds(Content, st.just("json"), st.text()),
    st.builds(Content, st.just("message"), st.binary(), st.text()),
    st.builds(Content, st.just("blob"), st.text(), st.text(), st.integers(0, 2**32)),
    st.just(EMPTY),
)
SAID = st.dictionaries(
    st.text(max_size=5).filter(lambda key: key != "contents"), st.integers() | st.text()
)


@given(said=SAID, contents=st.lists(CONTENTS, max_size=3))
def test_messages_to_workers_come_back_as_they_were(
    said: dict[str, Any], contents: list[Content]
) -> None:
    data = pipe.encode(said, contents)
    text, rest = pipe.lengths(data[: pipe.PREFIX_BYTES])
    body = data[pipe.PREFIX_BYTES :]
    assert len(body) == text + rest
    assert pipe.decode(body[:text], body[text:]) == pipe.Message(said, tuple(contents))


@given(text=st.text(), most=st.integers(4, 40))
def test_text_is_cut_to_valid_utf8(text: str, most: int) -> None:
    short = cut(text, most)
    assert len(short.encode()) <= most
    if len(text.encode(errors="replace")) <= most:
        assert short == text.encode(errors="replace").decode()


def child_failed(key: str, *, permanent: bool = False) -> ChildFailed:
    error = ChildFailed("BROKEN", "so it is", contract_id="c", permanent=permanent)
    error.key = key
    return error


@pytest.mark.parametrize(
    ("error", "code", "permanent"),
    [
        (Failed("ODD", permanent=True), "ODD", True),
        (ValueError("wrong"), AGENT_ERROR, False),
        (child_failed(""), "CHILD_FAILED", False),
        (child_failed("key"), "CHILD_FAILED", True),
        (child_failed("", permanent=True), "CHILD_FAILED", True),
        (AttemptCancelled("CANCELLED"), "CANCELLED", False),
        (NotFound("nobody", reason="CAPABILITY_UNKNOWN"), "CAPABILITY_UNKNOWN", False),
        (InvalidArgument("no"), "INVALID_FIELD", True),
        (SystemExit(2), AGENT_ERROR, False),
    ],
)
def test_exceptions_become_failures(error: Exception, code: str, permanent: bool) -> None:
    failed = failed_of(error)
    assert (failed.code, failed.permanent) == (code, permanent)


def test_a_failure_names_no_file() -> None:
    error = FileNotFoundError(2, "No such file or directory", "secret/place")
    assert failed_of(error).message == "FileNotFoundError: No such file or directory"


def test_a_failed_question_is_answered_with_what_went_wrong() -> None:
    said, contents = error_answer(child_failed("key"))
    assert (said["error"], said["code"], said["key"], contents) == ("child", "BROKEN", "key", [])
    assert error_answer(NotFound("nobody"))[0]["reason"] == "CONTRACT_UNKNOWN"
    assert error_answer(ValueError("odd"))[0] == {"error": "value", "message": "odd"}
