import io
import json
import logging
from collections.abc import Iterator

import pytest

from muster.runtime.logs import bound, configure_logs, get_logger


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_are_json_with_the_ids_of_their_task():
    stream = io.StringIO()
    configure_logs("info", "auto", stream)
    with bound(contract_id="c1", trace_id="t1"):
        get_logger("muster.test").info("done", attempts=2)
    (line,) = lines_of(stream)
    assert line["message"] == "done"
    assert line["logger"] == "muster.test"
    assert (line["contract_id"], line["trace_id"], line["attempts"]) == ("c1", "t1", 2)


def test_libraries_write_the_same_lines():
    stream = io.StringIO()
    configure_logs("warning", "json", stream)
    logging.getLogger("somebody").warning("%s happened", "it")
    logging.getLogger("somebody").info("unseen")
    assert [line["message"] for line in lines_of(stream)] == ["it happened"]


def test_secrets_never_reach_a_line():
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    get_logger("muster.test").info("connect", db_password="hunter2", Authorization="Bearer x")
    assert "hunter2" not in stream.getvalue()
    assert "Bearer" not in stream.getvalue()


def test_a_traceback_shows_no_local_variables():
    for form in ("json", "text"):
        stream = io.StringIO()
        configure_logs("info", form, stream)
        canary = "canary-" + form
        try:
            int("no number" * bool(canary))
        except ValueError:
            get_logger("muster.test").exception("failed")
        assert "ValueError" in stream.getvalue()
        assert canary not in stream.getvalue()
