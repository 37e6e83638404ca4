import io
import json
import logging

from opentelemetry import trace

from muster.runtime.logs import bound, configure_logs, get_logger


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


def test_passwords_in_urls_never_reach_a_line():
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    logger = get_logger("muster.test")
    logger.info("away", url="nats://me:hunter2@h:4222/x", why="no postgresql://u:pw!x@h/d here")
    (line,) = lines_of(stream)
    assert line["url"] == "nats://me:[redacted]@h:4222/x"
    assert line["why"] == "no postgresql://u:[redacted]@h/d here"


def test_a_line_names_the_span_that_is_under_way():
    span = trace.NonRecordingSpan(trace.SpanContext(7, 9, False, trace.TraceFlags(1)))
    unsampled = trace.NonRecordingSpan(trace.SpanContext(7, 9, False, trace.TraceFlags(0)))
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    logger = get_logger("muster.test")
    with trace.use_span(span):
        logger.info("within", contract_id="c1")
        logger.info("of another", trace_id="its own")
        logging.getLogger("somebody").warning("a library, too")
    with trace.use_span(unsampled):
        logger.info("unsampled")
    logger.info("without")
    within, other, library, *none = lines_of(stream)
    ids = ("trace_id", "span_id")
    assert [within[name] for name in ids] == [f"{7:032x}", f"{9:016x}"]
    assert within["contract_id"] == "c1"
    assert other["trace_id"] == "its own"
    assert library["trace_id"] == within["trace_id"]
    assert not [line for line in none if set(ids) & set(line)]
