"""The rule of conservation: S15."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.support.history.evidence import Breach, Evidence
from tests.support.history.records import OWNER

STATES = (
    *("QUEUED", "LEASED", "RUNNING", "PARKED"),
    *("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "DEAD_LETTERED"),
)


def nothing_is_miscounted(evidence: Evidence) -> Iterator[Breach]:
    """S15: what was submitted has ended or is open; at rest gauges and ledger agree exactly."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for case in evidence.cases.values():
        if case.shown:
            found[case.shown[-1].tenant][case.shown[-1].state] += 1
        elif case.listings:
            found[case.listings[-1].tenant][case.listings[-1].state] += 1
    latest = {(each.source, each.tenant): each for each in evidence.history.counted}
    for (source, tenant), each in latest.items():
        for state in STATES:
            shown, there = each.counts.get(state, 0.0), found[tenant][state]
            if shown != there:
                sentence = f"{source} of {tenant} count {shown:.0f} {state}, and {there} are there"
                yield Breach(sentence)
        if "accepted" in each.counts and not evidence.during(OWNER):
            known = sum(sum(states.values()) for states in found.values())
            if each.counts["accepted"] != known:
                shown = each.counts["accepted"]
                yield Breach(f"{source} count {shown:.0f} accepted, and {known} are there")
