"""What a schedule is to be, as the command line says it; and as people read it. Pure, but for files
that an input names."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from muster.cli import text
from muster.cli.call_input import input_of, labels_of
from muster.cli.exits import USAGE, Trouble
from muster.v1.schedule_pb2 import OverlapPolicy, ScheduleAction, ScheduleSpec
from muster.v1.workflow_run_pb2 import EngineKind
from muster.wire.times import (
    duration_of_seconds,
    seconds_of_duration,
    seconds_of_timestamp,
    timestamp_of_ms,
)

OVERLAPS = ("skip", "queue", "cancel", "allow")
ENGINES = ("", "local", "temporal")


@dataclass(frozen=True)
class When:
    """Its instants, as the command line says them."""

    cron: str = ""
    time_zone: str = ""
    every: str = ""
    at: str = ""
    start: str = ""
    until: str = ""
    limit: int = 0
    jitter: str = ""


@dataclass(frozen=True)
class What:
    """What it starts, as the command line says it."""

    call: str = ""
    workflow: str = ""
    words: Sequence[str] = ()
    version: str = ""
    timeout: str = ""
    labels: Sequence[str] = ()
    engine: str = ""


@dataclass(frozen=True)
class ScheduleOptions:
    """What the command line says."""

    when: When
    what: What
    overlap: str = "skip"
    queue: int = 0
    catch_up: str = ""
    note: str = ""


def spec_of(options: ScheduleOptions) -> ScheduleSpec:
    """The spec. Raises `Trouble`."""
    spec = times_of(options.when)
    if options.overlap not in OVERLAPS:
        message = f"--overlap is one of {', '.join(OVERLAPS)}, unlike {options.overlap!r}"
        raise Trouble(message, USAGE)
    spec.overlap = OverlapPolicy.ValueType(OVERLAPS.index(options.overlap) + 1)
    spec.queue_max, spec.note = options.queue, options.note
    if options.catch_up:
        spec.catch_up_window.CopyFrom(duration_of_seconds(_seconds("--catch-up", options.catch_up)))
    spec.action.CopyFrom(_action_of(options.what))
    return spec


def times_of(when: When) -> ScheduleSpec:
    """A spec that has its instants only. Raises `Trouble`."""
    if sum(map(bool, (when.cron, when.every, when.at))) != 1:
        message = "say when: one of --cron '0 9 * * MON-FRI', --every 10m and --at 2026-01-31T12:00"
        raise Trouble(message, USAGE)
    if when.time_zone and not when.cron:
        message = "--tz goes with --cron; an instant names its own zone: 2026-01-31T12:00+01:00"
        raise Trouble(message, USAGE)
    spec = ScheduleSpec(limit=when.limit)
    if when.cron:
        spec.cron.expression, spec.cron.time_zone = when.cron, when.time_zone
    elif when.every:
        seconds = _seconds("--every", when.every)
        spec.interval.every.CopyFrom(duration_of_seconds(seconds))
    else:
        spec.at.CopyFrom(timestamp_of_ms(_instant_ms("--at", when.at)))
    if when.jitter:
        spec.jitter.CopyFrom(duration_of_seconds(_seconds("--jitter", when.jitter)))
    if when.start:
        spec.start_time.CopyFrom(timestamp_of_ms(_instant_ms("--start", when.start)))
    if when.until:
        spec.end_time.CopyFrom(timestamp_of_ms(_instant_ms("--until", when.until)))
    return spec


def _action_of(what: What) -> ScheduleAction:
    if bool(what.call) == bool(what.workflow):
        message = "say what: one of --call CAPABILITY and --workflow NAME, and its input behind it"
        raise Trouble(message, USAGE)
    if what.engine not in ENGINES:
        message = f"--engine is local or temporal, unlike {what.engine!r}"
        raise Trouble(message, USAGE)
    action, value = ScheduleAction(), input_of(what.words)
    payload = action.run.input if what.workflow else action.contract.request.payload
    if what.workflow:
        action.run.workflow = what.workflow
        action.run.engine = EngineKind.ValueType(ENGINES.index(what.engine))
        if what.version:
            action.run.version = _version(what.version)
    else:
        request = action.contract.request
        request.capability.name = what.call
        request.capability.version = what.version
        request.labels.update(labels_of(what.labels))
        if what.timeout:
            seconds = _seconds("--timeout", what.timeout)
            action.contract.timeout.CopyFrom(duration_of_seconds(seconds))
    if value is not None:
        payload.json = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return action


def _version(word: str) -> int:
    if not word.isdecimal():
        message = f"--version of a workflow is a number, unlike {word!r}"
        raise Trouble(message, USAGE)
    return int(word)


def _seconds(option: str, word: str) -> float:
    try:
        return text.parse_duration(word)
    except ValueError as error:
        message = f"{option}: {error}"
        raise Trouble(message, USAGE) from None


def _instant_ms(option: str, word: str) -> int:
    """Unix milliseconds of "10m", from now, or of an instant in ISO 8601; without a zone, here."""
    try:
        return round((time.time() + text.parse_duration(word)) * 1000)
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(word).timestamp() * 1000)
    except (ValueError, OverflowError):
        message = (
            f"{option} {word!r} is neither like 10m, from now, nor like 2026-01-31T12:00+01:00"
        )
        raise Trouble(message, USAGE) from None


# --- for people -----------------------------------------------------------------------------------


def times_line(spec: ScheduleSpec, now: float) -> str:
    """Its instants, on one line."""
    kind = spec.WhichOneof("times")
    if kind == "cron":
        line = f"cron {spec.cron.expression}"
        return f"{line} ({spec.cron.time_zone or 'UTC'})"
    if kind == "interval":
        return f"every {length(seconds_of_duration(spec.interval.every))}"
    return f"at {text.clock(seconds_of_timestamp(spec.at), now)}"


def action_line(action: ScheduleAction) -> str:
    """What it starts, on one line."""
    if action.HasField("run"):
        version = f" v{action.run.version}" if action.run.version else ""
        return f"workflow {action.run.workflow}{version}"
    return action.contract.request.capability.name


def length(seconds: float) -> str:
    """A duration that somebody chose: "0.2s", "10m", "1h30m", "1d"."""
    whole = int(seconds)
    if seconds != whole or not whole:
        return f"{seconds:g}s"
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        big, whole = divmod(whole, size)
        if big:
            parts.append(f"{big}{unit}")
    return "".join(parts)
