"""Checks schedules, as far as that can be done without a mesh."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from muster.declared.durations import seconds_of
from muster.workflow.places import Problem

_SECONDS_MIN = 0.1


def schedule_problems(spec: dict[str, Any], own: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with a schedule of an agent with these capabilities."""
    if "capability" not in spec and len(own) != 1:
        known = ", ".join(own)
        yield Problem("schedule", f"say which capability is called: capability: one of {known}")
    name = spec.get("capability", "").partition("@")[0]
    if name and name not in own and (close := difflib.get_close_matches(name, own, 1, 0.8)):
        yield Problem("schedule.capability", f"it has no {name}; did you mean {close[0]}?")
    if "queue_max" in spec and spec.get("overlap") != "queue":
        yield Problem("schedule.queue_max", "nothing waits without overlap: queue")
    if "every" in spec:
        if "time_zone" in spec:
            yield Problem("schedule.time_zone", "a distance has no time zone: leave it out")
        if seconds_of(spec["every"]) < _SECONDS_MIN:
            yield Problem("schedule.every", "100ms is the shortest")
        return
    zone: Any = UTC
    try:
        zone = ZoneInfo(spec.get("time_zone", "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = f"there is no time zone {spec['time_zone']!r}; write one like Europe/Berlin"
        yield Problem("schedule.time_zone", text)
    yield from _cron_problems(spec["cron"], zone)


def _cron_problems(text: str, zone: Any) -> Iterator[Problem]:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:  # the mesh checks it all the same
        return
    try:
        CronSim(text, datetime.now(zone))
    except CronSimError as error:
        said = str(error).rstrip(".")
        example = 'write it like "0 7 * * mon-fri"'
        yield Problem("schedule.cron", f"this is no cron expression ({said}): {example}")
