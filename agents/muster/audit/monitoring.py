"""What the mesh did, from its event stream. Run by monitoring agents; findings never use it.

Two steps, so that many agents can share one stream: `timelines` sorts the events it saw into one
timeline per contract; `statistics` puts any number of timelines together. Events may come twice, in
any order, and each agent may see only some: the answer depends on the set of events alone.

An event is a dict with `contract_id`, `capability`, `kind` (of agent), `type`, `time_ms` (any
clock, the same for all) and `epoch` (the attempt's fence number; 0 before the first). Types are the
contract's states, and ATTEMPT_FAILED or ATTEMPT_LOST for an attempt that is tried again; others are
counted as contact and nothing more.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NotRequired, TypedDict

from muster.audit.limits import (
    STRAGGLER_EXCESS_MS,
    STRAGGLER_RATIO,
    STRAGGLER_SAMPLES_MIN,
    STRAGGLERS_MAX,
    THROUGHPUT_BINS_MAX,
)
from muster.audit.report_shapes import Latency, RunStatistics, Straggler, Throughput, Workload

ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "DEAD_LETTERED"})
_STARTED: Final = frozenset({"LEASED", "RUNNING"})


class Event(TypedDict):
    contract_id: str
    capability: str
    kind: str
    type: str
    time_ms: float
    epoch: NotRequired[int]


class EventsRequest(TypedDict):
    events: list[Event]


class Timeline(TypedDict):
    """One contract; `marks` are [epoch, type, time_ms], sorted, each (epoch, type) once."""

    contract_id: str
    capability: str
    kind: str
    marks: list[list[Any]]


class TimelinesResult(TypedDict):
    timelines: list[Timeline]


def timelines(request: EventsRequest) -> TimelinesResult:
    """One timeline per contract among the events, sorted by contract id."""
    grouped: dict[str, list[Event]] = defaultdict(list)
    for event in request["events"]:
        grouped[event["contract_id"]].append(event)
    return {"timelines": [_timeline(grouped[contract_id]) for contract_id in sorted(grouped)]}


def _timeline(events: list[Event]) -> Timeline:
    marks = ((e.get("epoch", 0), e["type"].upper(), float(e["time_ms"])) for e in events)
    return {
        "contract_id": events[0]["contract_id"],
        # Not every event need carry both: the largest text is never the empty one.
        "capability": max(e["capability"] for e in events),
        "kind": max(e["kind"] for e in events),
        "marks": _earliest(marks),
    }


def _earliest(marks: Iterable[tuple[int, str, float]]) -> list[list[Any]]:
    first: dict[tuple[int, str], float] = {}
    for epoch, name, time_ms in marks:
        key = (epoch, name)
        first[key] = min(time_ms, first.get(key, time_ms))
    return [[epoch, name, time_ms] for (epoch, name), time_ms in sorted(first.items())]


@dataclass(frozen=True, slots=True)
class _Story:
    """One contract's timeline, read: when it was submitted, first leased, last started, ended."""

    contract_id: str
    capability: str
    kind: str
    submitted: float
    leased: float | None
    started: float | None
    ended: float | None
    state: str
    attempts: int
    lost: int

    @property
    def retries(self) -> int:
        return max(self.attempts - 1, 0)

    @property
    def latency(self) -> float | None:
        return None if self.ended is None else self.ended - self.submitted


def statistics(request: TimelinesResult) -> RunStatistics:
    """The run in numbers; timelines of the same contract are united first."""
    stories = [_story(timeline) for timeline in _united(request["timelines"])]
    stragglers = sorted(_stragglers(stories), key=lambda s: (-s["latency_ms"], s["contract_id"]))
    begin = min((s.submitted for s in stories), default=0.0)
    end = max((s.ended for s in stories if s.ended is not None), default=begin)
    return {
        "contracts": len(stories),
        "unfinished": sum(1 for s in stories if s.ended is None),
        "states": _count(s.state for s in stories),
        "attempts": sum(s.attempts for s in stories),
        "retries": sum(s.retries for s in stories),
        "lost_attempts": sum(s.lost for s in stories),
        "wall_ms": round(end - begin, 3),
        "latency": latency_of(s.latency for s in stories),
        "kinds": _workloads(stories, by_capability=False),
        "capabilities": _workloads(stories, by_capability=True),
        "straggler_count": len(stragglers),
        "stragglers": stragglers[:STRAGGLERS_MAX],
        "throughput": _throughput(stories, begin, end),
    }


def _united(found: list[Timeline]) -> list[Timeline]:
    grouped: dict[str, list[Timeline]] = defaultdict(list)
    for timeline in found:
        grouped[timeline["contract_id"]].append(timeline)
    return [
        {
            "contract_id": contract_id,
            "capability": max(t["capability"] for t in grouped[contract_id]),
            "kind": max(t["kind"] for t in grouped[contract_id]),
            "marks": _earliest(
                (m[0], m[1], m[2]) for t in grouped[contract_id] for m in t["marks"]
            ),
        }
        for contract_id in sorted(grouped)
    ]


def _story(timeline: Timeline) -> _Story:
    marks = [(int(m[0]), str(m[1]), float(m[2])) for m in timeline["marks"]]
    epochs = sorted({epoch for epoch, name, _ in marks if name in _STARTED})
    over = {epoch for epoch, name, _ in marks if name == "ATTEMPT_FAILED"}
    lost = {epoch for epoch, name, _ in marks if name == "ATTEMPT_LOST"}
    # An attempt that another one followed, and that never reported, was lost with its host.
    lost |= {epoch for epoch in epochs[:-1] if epoch not in over}
    ends = sorted((time_ms, name) for _, name, time_ms in marks if name in ENDED)
    return _Story(
        contract_id=timeline["contract_id"],
        capability=timeline["capability"],
        kind=timeline["kind"],
        submitted=min(time_ms for _, _, time_ms in marks),
        leased=min((t for _, name, t in marks if name == "LEASED"), default=None),
        started=max((t for _, name, t in marks if name in _STARTED), default=None),
        ended=ends[0][0] if ends else None,
        state=ends[0][1] if ends else "UNFINISHED",
        attempts=len(epochs),
        lost=len(lost),
    )


def latency_of(samples: Iterable[float | None]) -> Latency:
    """Percentiles by nearest rank over the samples that are there; zeros when there are none."""
    times = sorted(time_ms for time_ms in samples if time_ms is not None)
    return {
        "count": len(times),
        "mean": round(sum(times) / len(times), 3) if times else 0.0,
        "p50": percentile(times, 50),
        "p90": percentile(times, 90),
        "p99": percentile(times, 99),
        "max": round(times[-1], 3) if times else 0.0,
    }


def percentile(ordered: list[float], percent: int) -> float:
    """The smallest sample that at least `percent` of all samples do not exceed; 0 for none."""
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return round(ordered[max(rank, 1) - 1], 3)


def _count(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    return dict(sorted(counts.items()))


def _workloads(stories: list[_Story], *, by_capability: bool) -> list[Workload]:
    grouped: dict[tuple[str, str], list[_Story]] = defaultdict(list)
    for story in stories:
        grouped[story.kind, story.capability if by_capability else ""].append(story)
    return [_workload(kind, name, grouped[kind, name]) for kind, name in sorted(grouped)]


def _workload(kind: str, capability: str, stories: list[_Story]) -> Workload:
    return {
        "kind": kind,
        "capability": capability,
        "contracts": len(stories),
        "attempts": sum(s.attempts for s in stories),
        "retries": sum(s.retries for s in stories),
        "lost_attempts": sum(s.lost for s in stories),
        "latency": latency_of(s.latency for s in stories),
        "queue": latency_of(_between(s.submitted, s.leased) for s in stories),
        "run": latency_of(_between(s.started, s.ended) for s in stories),
    }


def _between(begin: float | None, end: float | None) -> float | None:
    # Marks may come from several clocks a little apart; less than no time is no time.
    return None if begin is None or end is None else max(end - begin, 0.0)


def _stragglers(stories: list[_Story]) -> Iterable[Straggler]:
    for median, group in _with_medians(stories):
        for story in group:
            latency = story.latency or 0.0
            if latency > max(median * STRAGGLER_RATIO, median + STRAGGLER_EXCESS_MS):
                yield {
                    "contract_id": story.contract_id,
                    "kind": story.kind,
                    "capability": story.capability,
                    "attempts": story.attempts,
                    "latency_ms": round(latency, 3),
                    "ratio": round(latency / median, 1) if median else 0.0,
                }


def _with_medians(stories: list[_Story]) -> Iterable[tuple[float, list[_Story]]]:
    grouped: Mapping[str, list[_Story]] = defaultdict(list)
    for story in stories:
        if story.ended is not None:
            grouped[story.capability].append(story)
    for group in grouped.values():
        if len(group) >= STRAGGLER_SAMPLES_MIN:
            yield latency_of(s.latency for s in group)["p50"], group


def _throughput(stories: list[_Story], begin: float, end: float) -> Throughput:
    bin_ms = max((end - begin) / THROUGHPUT_BINS_MAX, 1.0)
    bins = min(int((end - begin) / bin_ms) + 1, THROUGHPUT_BINS_MAX) if stories else 0
    kinds = {kind: [0] * bins for kind in sorted({s.kind for s in stories})}
    for story in stories:
        if story.ended is not None:
            kinds[story.kind][min(int((story.ended - begin) / bin_ms), bins - 1)] += 1
    return {"bin_ms": round(bin_ms, 3), "kinds": kinds}
