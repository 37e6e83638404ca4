"""Rules of time: the deadlines of S1 and S12, S16, and that everything goes on: L1, L2, L3."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from math import inf, isfinite

from tests.support.history.evidence import Breach, Case, Evidence, Span
from tests.support.history.records import (
    CLOCK,
    MACHINE,
    OVERLOAD,
    OWNER,
    PART,
    SLOTS,
    WORK_SECONDS,
)

TICK_SECONDS = 0.02  # of clocks that are compared: milliseconds, and a wall clock that is slewed
LATE_SECONDS = 1.0  # after a deadline, and after the owner's return
SETTLED_SECONDS = 60.0  # L1
RECOVERED_SECONDS = 15.0  # L2
THROUGHPUT_SHARE_MIN = 0.7
WINDOW_SECONDS_MIN = 5.0  # a rate needs as much time
BOUNCES_MAX = 3  # L3: fewer than


def ends_in_time(evidence: Evidence) -> Iterator[Breach]:
    """S1: what was accepted ends by its deadline and a second while its shard has a running owner,
    else within a second of the owner's return."""
    for case, late in _late(evidence):
        if not case.answers or case.answers[0].state != "EXPIRED":
            sentence = f"{case.contract_id} was open {late:.1f} s after it had to be over"
            yield Breach(sentence, (case.contract_id,))


def expires_in_time(evidence: Evidence) -> Iterator[Breach]:
    """S12: no lease after the deadline; EXPIRED within a second of it, as in S1."""
    for case, late in _late(evidence):
        if case.answers and case.answers[0].state == "EXPIRED":
            sentence = f"{case.contract_id} expired {late:.1f} s after it had to be over"
            yield Breach(sentence, (case.contract_id,))
    for contract_id, case in evidence.cases.items():
        yield from _assigned_late(evidence, case)
        if evidence.during(CLOCK) or not case.shown or not case.shown[-1].deadline:
            continue
        for attempt in case.shown[-1].attempts:
            late = attempt.lease_time - case.shown[-1].deadline
            if late > TICK_SECONDS:
                sentence = f"epoch {attempt.epoch} of {contract_id} was leased {late:.3f} s after"
                yield Breach(f"{sentence} its deadline", (contract_id,))


def _assigned_late(evidence: Evidence, case: Case) -> Iterator[Breach]:
    """What agents saw of it, unless a fault held up what was sent in time."""
    deadline = _deadline(case)
    if not deadline or not case.acknowledgements:
        return
    known = case.acknowledgements[0]
    due = deadline - known.wall + known.at
    for each in case.assigned:
        held_up = any(span.begin <= each.at and span.end >= due for span in evidence.spans)
        if each.at > due + LATE_SECONDS and not held_up:
            sentence = f"{case.contract_id} was assigned {each.at - due:.1f} s after its deadline"
            yield Breach(sentence, (case.contract_id,))


def _late(evidence: Evidence) -> Iterator[tuple[Case, float]]:
    """Contracts that ended late, or are still open though they should not be, and by how much."""
    # Where the mesh's clocks are off, what watchers saw is all there is, and they may see it late.
    trusted = not evidence.during(CLOCK)
    away = evidence.during(OWNER)
    for case in evidence.cases.values():
        deadline = _deadline(case)
        if not deadline or not (case.answers or case.shown):
            continue
        if case.answers:
            first = case.answers[0]
            over = first.end_time if trusted else min(each.wall for each in case.answers)
            slack = LATE_SECONDS if trusted else SETTLED_SECONDS
        else:
            over, slack = case.shown[-1].end_time or case.shown[-1].wall, LATE_SECONDS
        due = deadline
        for span in away:
            begin, back = span.fault.wall, span.fault.wall + span.end - span.begin
            if begin <= due + LATE_SECONDS and back > due:
                due = back
        if over > due + slack:
            yield case, over - due


def _deadline(case: Case) -> float:
    named = [each.deadline for each in case.submissions] + [each.deadline for each in case.shown]
    return next((each for each in named if each), 0.0)


def calls_end(evidence: Evidence) -> Iterator[Breach]:
    """S16: every call ends with a status by its deadline and a second; nothing hangs."""
    ended = {(each.by, each.call): each for each in evidence.history.calls_ended}
    last = evidence.last_words
    for each in evidence.history.calls_started:
        end = ended.get((each.by, each.call))
        over = end.at if end else last[each.by]
        took = over - each.at - _standing_still(evidence, each.at, over)
        if took > each.timeout + LATE_SECONDS:
            how = "took" if end else "has not ended after"
            contracts = (each.subject,) if each.subject in evidence.cases else ()
            sentence = f"{each.method} {each.call} {how} {took:.1f} s, with {each.timeout:g} s"
            yield Breach(f"{sentence} to go", contracts)


def _standing_still(evidence: Evidence, begin: float, end: float) -> float:
    """For how much of a time the whole machine did nothing, its clients included."""
    spans = (span for span in evidence.spans if span.fault.target == MACHINE)
    return sum(max(0.0, min(span.end, end) - max(span.begin, begin)) for span in spans)


def everything_settles(evidence: Evidence) -> Iterator[Breach]:
    """L1: within 60 s, and the time that open work takes on all slots, of the last fault's healing
    every open contract has ended, but for those that wait, or have waited, for a person."""
    spans = evidence.spans
    if not spans or not isfinite(max(span.end for span in spans)):
        return
    healed = max(span.end for span in spans)
    ends = {contract_id: case.ended_at for contract_id, case in evidence.cases.items()}
    known = {each.contract_id: each.at for each in reversed(evidence.history.acknowledgements)}
    open_ones = [
        each
        for each, at in known.items()
        if at <= healed < ends[each] and not _has_parked(evidence.cases[each])
    ]
    slots = evidence.setting(SLOTS) or 1.0
    allowed = SETTLED_SECONDS + len(open_ones) * evidence.setting(WORK_SECONDS) / slots
    until = max(evidence.last_words.values(), default=0.0)
    for contract_id in open_ones:
        end = min(ends[contract_id], until if ends[contract_id] == inf else inf)
        if end - healed > allowed:
            how = "was open" if ends[contract_id] == inf else "ended"
            sentence = f"{contract_id} {how} {end - healed:.1f} s after the last fault had healed"
            yield Breach(f"{sentence}; allowed are {allowed:.1f} s", (contract_id,))


def _has_parked(case: Case) -> bool:
    return any(each.type == "PARKED" for each in case.changes) or any(
        attempt.outcome == "PARKED" for shown in case.shown for attempt in shown.attempts
    )


def others_go_on(evidence: Evidence) -> Iterator[Breach]:
    """L2: one part that is dead, wedged or half-partitioned, of which there are two or which is off
    the path, never stops the others: at least 70 % of the throughput from 15 s after the fault."""
    spans = evidence.during(PART)
    if not spans:
        return
    ends = sorted(case.ended_at for case in evidence.cases.values() if isfinite(case.ended_at))
    asked = sorted(each.at for each in evidence.history.acknowledgements)
    for span in spans:
        yield from _throughput(span, ends, asked)


def _throughput(span: Span, ends: list[float], asked: list[float]) -> Iterator[Breach]:
    last = asked[-1] if asked else 0.0  # a load that is over needs no throughput
    begin, end = span.begin + RECOVERED_SECONDS, min(span.end, last)
    before = max(asked[0] if asked else span.begin, span.begin - 2 * RECOVERED_SECONDS)
    if min(end - begin, span.begin - before) < WINDOW_SECONDS_MIN:
        return
    usual = _rate(ends, before, span.begin)
    wanted = min(usual, _rate(asked, begin, end))
    found = _rate(ends, begin, end)
    if found < THROUGHPUT_SHARE_MIN * wanted:
        share = f"{found:.1f}/s of {wanted:.1f}/s"
        yield Breach(f"while {span.fault.name} lasted, from 15 s on only {share} ended")


def _rate(times: list[float], begin: float, end: float) -> float:
    return (bisect_left(times, end) - bisect_left(times, begin)) / (end - begin)


def no_livelock(evidence: Evidence) -> Iterator[Breach]:
    """L3: with healthy agents and twice the load that the processor takes, a contract's lease comes
    back fewer than three times."""
    if not evidence.during(OVERLOAD) or any(s.fault.effects != [OVERLOAD] for s in evidence.spans):
        return
    for contract_id, case in evidence.cases.items():
        attempts = case.shown[-1].attempts if case.shown else []
        bounces = sum(each.outcome in ("LOST", "RETURNED") for each in attempts)
        if bounces >= BOUNCES_MAX:
            yield Breach(f"{contract_id} was leased in vain {bounces} times", (contract_id,))
