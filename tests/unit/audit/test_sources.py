import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.audit.planning import batches_of, plan
from muster.audit.shapes import FileSize, Plan
from muster.audit.sources import data_of, pack, read


@given(st.binary(max_size=200))
def test_any_bytes_survive_the_journey_as_json(data: bytes):
    source = json.loads(json.dumps(pack("a.py", data)))
    assert data_of(source) == data


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(data: bytes):
    text = read(pack("a.py", data))
    assert "\r" not in text.text
    assert text.data == data


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"x = 1\n", "utf-8", "x = 1\n"),
        ("\ufeffx = 'é'\n".encode(), "utf-8-sig", "x = 'é'\n"),
        (b"# coding: latin-1\nx = '\xe9'\n", "iso8859-1", "# coding: latin-1\nx = 'é'\n"),
        (b"# coding: cp1252\nx = '\x80'\n", "cp1252", "# coding: cp1252\nx = '€'\n"),
        (b"x = '\xe9'\n", "iso8859-1", "x = 'é'\n"),
        (b"# coding: nonsense\nx = 1\n", "utf-8", "# coding: nonsense\nx = 1\n"),
        (b"# coding: rot13\nx = 1\n", "utf-8", "# coding: rot13\nx = 1\n"),
        (b"a\r\nb\rc\n", "utf-8", "a\nb\nc\n"),
        (b"", "utf-8", ""),
    ],
)
def test_a_source_is_decoded_by_what_it_says_or_else_by_what_fits(
    data: bytes, encoding: str, text: str
):
    found = read(pack("a.py", data))
    assert (found.encoding, found.text) == (encoding, text)


def test_a_lone_surrogate_does_not_stop_the_audit():
    assert read({"path": "a.py", "text": "x = '\ud800'"}).text == "x = '?'"


sizes = st.lists(st.integers(0, 300), max_size=40).map(
    lambda found: [FileSize(path=f"{n}.py", bytes=size) for n, size in enumerate(found)]
)


@given(sizes, st.integers(1, 400), st.integers(1, 8), st.randoms())
def test_a_plan_holds_every_file_once_within_its_bounds(files, bytes_max, files_max, random):
    def planned() -> Plan:
        return plan({"files": files, "batch_bytes_max": bytes_max, "batch_files_max": files_max})

    found = planned()
    assert sorted(path for b in found["batches"] for path in b["paths"]) == sorted(
        file["path"] for file in files
    )
    for batch in found["batches"]:
        assert len(batch["paths"]) <= files_max
        assert batch["bytes"] <= bytes_max or len(batch["paths"]) == 1
    random.shuffle(files)
    assert planned() == found


def test_the_largest_batch_starts_first():
    files = [FileSize(path=path, bytes=size) for path, size in (("a", 5), ("b", 90), ("c", 40))]
    found = plan({"files": files, "batch_bytes_max": 60})
    assert [batch["paths"] for batch in found["batches"]] == [["b"], ["c"], ["a"]]
    sources = [pack(path, b"x") for path in "abc"]
    assert [[s["path"] for s in b["sources"]] for b in batches_of(sources, found)] == [
        ["b"],
        ["c"],
        ["a"],
    ]
