"""What has changed since the last look.

Up and down, code and content are compared with the last look. Slow is compared with the median of
the looks before: a target is slow at three times of it, and by 50 ms at least, and only the first
slow look in a row is news.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

from muster.workflows.monitoring.shapes import Change, Probe, Seen

SLOW_FACTOR: Final = 3.0
SLOW_MS_MIN: Final = 50.0  # beneath it, it is the machine's own unrest
SLOW_LOOKS_MIN: Final = 5  # as many are needed to know what is usual
SLOW_LOOKS_MAX: Final = 20


def compare(run: str, probes: Sequence[Probe], before: Sequence[Seen]) -> Seen:
    """This look, with what has changed since those `before`, which are given oldest first."""
    last = {probe.url: probe for probe in before[-1].probes} if before else {}
    changes = [
        change
        for probe in probes
        for change in _changes(probe, last, [_of(seen, probe.url) for seen in before])
    ]
    here = {probe.url for probe in probes}
    changes += [_gone(probe) for probe in last.values() if probe.url not in here]
    return Seen(
        run=run,
        at=min((probe.at for probe in probes), default=0.0),
        probes=list(probes),
        changes=changes if before else [],
        down=sum(not probe.up for probe in probes),
        first=not before,
    )


def _gone(probe: Probe) -> Change:
    text = f"{probe.name} is not looked at any more"
    return Change(probe.url, probe.name, "GONE", probe.code, "", text)


def _of(seen: Seen, url: str) -> Probe | None:
    return next((probe for probe in seen.probes if probe.url == url), None)


def _changes(
    probe: Probe, last: Mapping[str, Probe], looks: Sequence[Probe | None]
) -> Iterator[Change]:
    before = last.get(probe.url)
    if before is None:
        state = "up" if probe.up else "down"
        yield Change(probe.url, probe.name, "NEW", "", probe.code, f"{probe.name} is {state}")
        return

    def change(kind: str, was: str, now: str, text: str) -> Change:
        return Change(probe.url, probe.name, kind, was, now, f"{probe.name} {text}")  # type: ignore[arg-type]

    if before.up != probe.up:
        text = "is up again" if probe.up else f"is down: {probe.detail or probe.code}"
        yield change("UP" if probe.up else "DOWN", before.code, probe.code, text)
        return
    if before.code != probe.code:
        yield change("CODE", before.code, probe.code, f"says {probe.code}, it was {before.code}")
    if probe.digest and before.digest and probe.digest != before.digest:
        yield change("CONTENT", before.digest, probe.digest, "answers something else")
    usual = _usual(looks)
    if usual is not None and is_slow(probe, usual) and not is_slow(before, usual):
        text = f"takes {probe.latency_ms:.0f} ms, usual are {usual:.0f}"
        yield change("SLOW", f"{usual:.1f} ms", f"{probe.latency_ms:.1f} ms", text)


def _usual(looks: Sequence[Probe | None]) -> float | None:
    """The median latency in ms of the last looks at it while it was up; None for too few."""
    known = [probe.latency_ms for probe in looks if probe is not None and probe.up]
    return median(known[-SLOW_LOOKS_MAX:]) if len(known) >= SLOW_LOOKS_MIN else None


def is_slow(probe: Probe, usual_ms: float) -> bool:
    """Whether it took much longer than usual."""
    return probe.up and probe.latency_ms > max(SLOW_FACTOR * usual_ms, usual_ms + SLOW_MS_MIN)
