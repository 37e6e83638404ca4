"""Structured logs: one line per event, JSON unless a person watches.

`bind(contract_id=…)` adds ids to every line that the same task writes afterwards; `trace_id` and
`span_id` come by themselves where a sampled span is under way. What libraries log through `logging`
comes out in the same shape.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, merge_contextvars

from muster.telemetry.tracing import current_span

# Values of these keys never reach a log, whatever a caller passes.
_SECRET_WORDS = ("password", "passwd", "secret", "credential", "authorization", "api_key")
_REDACTED = "[redacted]"
# Nor do passwords in URLs, whatever the key: nats://user:password@host.
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")

bind = bind_contextvars
bound = bound_contextvars


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger for a part of Muster, for example "muster.registry"."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def configure_logs(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Sets up logging for the process; calling it again replaces what was set up before.

    `form` is "json", "text" or "auto": text on a terminal, JSON elsewhere. Default stream: stderr.
    """
    stream = stream or sys.stderr
    as_text = form == "text" or (form == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_span,
        redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=_final(as_text, stream)
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # A line per connection is noise even where debugging is wanted.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, root.level))
    # So are the steps of a migration.
    logging.getLogger("alembic").setLevel(max(logging.WARNING, root.level))


def add_span(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Names the span that is under way, unless the line names another."""
    span = current_span()
    if span is not None and "trace_id" not in event:
        event["trace_id"], event["span_id"] = f"{span.trace_id:032x}", f"{span.span_id:016x}"
    return event


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Hides the values of keys that sound like secrets, and passwords in URLs."""
    for key, value in event.items():
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = _REDACTED
        elif isinstance(value, str) and "://" in value:
            event[key] = _URL_PASSWORD.sub(rf"\1{_REDACTED}@", value)
    return event


def _final(as_text: bool, stream: TextIO) -> list[structlog.typing.Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if as_text:
        # The prettier tracebacks print local variables, and with them what callers have sent.
        plain = structlog.dev.plain_traceback
        return [
            remove_meta,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain),
        ]
    return [
        remove_meta,
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    ]
