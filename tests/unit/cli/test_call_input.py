import io
from pathlib import Path
from typing import Any

import pytest

from muster.cli.call_input import input_of, labels_of
from muster.cli.exits import USAGE, Trouble


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], None),
        (['{"a": 1}'], {"a": 1}),
        (["[1, 2]"], [1, 2]),
        (["3"], 3),
        (["null"], None),
        (["text=hello"], {"text": "hello"}),
        (["text=hello", "limit:=20"], {"text": "hello", "limit": 20}),
        (["text=", "list:=[1]"], {"text": "", "list": [1]}),
        (["text=a=b"], {"text": "a=b"}),
        (["big:=12345678901234567890"], {"big": 12345678901234567890}),
    ],
)
def test_an_input_is_json_or_fields(words: list[str], value: Any) -> None:
    assert input_of(words) == value


def test_an_input_can_come_from_a_file_or_from_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"text": "ü"}')
    assert input_of([f"@{file}"]) == {"text": "ü"}
    assert input_of([f"text=@{file}"]) == {"text": '{"text": "ü"}'}
    assert input_of([f"value:=@{file}"]) == {"value": {"text": "ü"}}
    stdin = io.TextIOWrapper(io.BytesIO(b'{"a": 2}'))
    monkeypatch.setattr("sys.stdin", stdin)
    assert input_of(["-"]) == {"a": 2}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{bad"], "is not JSON"),
        (["NaN"], "is not JSON"),
        (["hello"], "is not JSON"),
        (["a=1", "b"], "'b' is no field"),
        (["a=1", "a=2"], "a is there twice"),
        (["a:=x"], "is not JSON"),
        (["@/there/is/nothing"], "cannot be read: No such file"),
    ],
)
def test_what_is_no_input_is_explained(words: list[str], says: str) -> None:
    with pytest.raises(Trouble, match=says) as raised:
        input_of(words)
    assert raised.value.code == USAGE


def test_labels_are_keys_and_values() -> None:
    assert labels_of(["a=b", "c="]) == {"a": "b", "c": ""}
    for word in ("a", "=b"):
        with pytest.raises(Trouble, match="a label is KEY=VALUE"):
            labels_of([word])
