"""What somebody wants of a schedule, checked and in plain values."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from google.protobuf.message import Message

from muster.model import limits
from muster.model.errors import Violation
from muster.runtime.validation import invalid, violations_of
from muster.scheduler.core_schedule_times import Bounded, Every, Once, Times
from muster.scheduler.core_schedules import Overlap, Rules
from muster.scheduler.schedules.cron import cron_of
from muster.v1.request_pb2 import Request
from muster.v1.schedule_pb2 import ScheduleSpec
from muster.wire.times import ms_of_duration, ms_of_timestamp

# What each tick has of its own.
_OF_A_TICK = ("request_id", "parent", "deadline", "trace_context")
_LABELS_MAX = 32
_NANOS_PER_MS = 1_000_000


def rules_of(tenant: str, name: str, spec: ScheduleSpec, created_ms: int) -> Rules:
    """The rules of a spec. Raises `ValueError` where its cron expression or time zone is none."""
    start_ms = ms_of_timestamp(spec.start_time) if spec.HasField("start_time") else 0
    bounded = Bounded(
        _times(spec, start_ms or created_ms),
        f"{tenant}\0{name}",
        ms_of_duration(spec.jitter),
        start_ms,
        ms_of_timestamp(spec.end_time) if spec.HasField("end_time") else 0,
    )
    catch_up_ms = int(limits.SCHEDULE_CATCH_UP_DEFAULT_SECONDS * 1000)
    if spec.HasField("catch_up_window"):
        catch_up_ms = ms_of_duration(spec.catch_up_window)
    return Rules(
        bounded,
        Overlap(spec.overlap or Overlap.SKIP),
        spec.queue_max or limits.SCHEDULE_QUEUE_DEFAULT,
        catch_up_ms,
        spec.limit,
    )


def _times(spec: ScheduleSpec, anchor_ms: int) -> Times:
    match spec.WhichOneof("times"):
        case "cron":
            return cron_of(spec.cron.expression, spec.cron.time_zone)
        case "interval":
            return Every(anchor_ms, max(1, ms_of_duration(spec.interval.every)))
        case _:
            return Once(ms_of_timestamp(spec.at))


def other_times(old: ScheduleSpec, new: ScheduleSpec) -> bool:
    """Whether the two have other instants."""

    def told(spec: ScheduleSpec) -> tuple[object, ...]:
        kind = spec.WhichOneof("times") or ""
        parts: tuple[Message, ...] = (getattr(spec, kind), spec.jitter, spec.start_time)
        return (kind, *(each.SerializeToString(deterministic=True) for each in parts))

    return told(old) != told(new)


def check_times(spec: ScheduleSpec, now_ms: int, field: str = "spec") -> None:
    """Raises `InvalidArgument`, with everything that is wrong with a spec's instants."""
    found = list(_wrong_times(spec, now_ms))
    if found:
        raise invalid([Violation(f"{field}.{each.field}", each.description) for each in found])


def _wrong_times(spec: ScheduleSpec, now_ms: int) -> Iterator[Violation]:
    nanos = [("interval.every", spec.interval.every.nanos), ("jitter", spec.jitter.nanos)]
    nanos += [("at", spec.at.nanos), ("start_time", spec.start_time.nanos)]
    for name, each in nanos:
        if each % _NANOS_PER_MS:
            yield Violation(name, "must be whole milliseconds")
    if spec.WhichOneof("times") == "at" and ms_of_timestamp(spec.at) <= now_ms:
        yield Violation("at", "must lie ahead")
        return
    if spec.HasField("end_time") and ms_of_timestamp(spec.end_time) <= now_ms:
        yield Violation("end_time", "must lie ahead")
        return
    try:
        rules = rules_of("", "", spec, now_ms)
    except ValueError as error:
        zone = "time zone" in str(error)
        yield Violation("cron.time_zone" if zone else "cron.expression", str(error))
        return
    if next(rules.times.after(now_ms), None) is None:
        yield Violation(spec.WhichOneof("times") or "", "has no instant between start and end")


def check_request(spec: ScheduleSpec) -> None:
    """Raises `InvalidArgument`, with everything that is wrong with the request that ticks make."""
    prefix = "spec.action.contract.request"
    template = spec.action.contract.request
    found = [
        Violation(f"{prefix}.{name}", "must be left out: each tick has its own")
        for name in _OF_A_TICK
        if (name == "request_id" and template.request_id)
        or (name != "request_id" and template.HasField(name))  # type: ignore[arg-type]
    ]
    if len(template.labels) > _LABELS_MAX - limits.SCHEDULE_LABELS:
        most = _LABELS_MAX - limits.SCHEDULE_LABELS
        found.append(Violation(f"{prefix}.labels", f"must be at most {most}: ticks add two"))
    request = Request()
    request.CopyFrom(template)
    for name in _OF_A_TICK:
        request.ClearField(name)  # type: ignore[arg-type]
    request.request_id = "tick"
    found += [
        Violation(f"{prefix}.{each.field}".rstrip("."), each.description)
        for each in violations_of(request)
    ]
    if found:
        raise invalid(found)


def instants(rules: Rules, after_ms: int, count: int) -> list[int]:
    """The next instants, jitter included."""
    return [due.fire_ms for due in islice(rules.times.after(after_ms), count)]
