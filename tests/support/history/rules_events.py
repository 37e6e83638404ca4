"""Rules of what watchers see: S9, S10."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.support.history import records as r
from tests.support.history.evidence import Breach, Case, Evidence


def events_have_no_gap(evidence: Evidence) -> Iterator[Breach]:
    """S9: lifecycle events of a contract are gap-free and in order, and mean the same to everybody;
    a watcher of everything sees each at least once, the last one is the contract's end."""
    watched = any(_of_all(each) for each in evidence.history.changes)
    for contract_id, case in evidence.cases.items():
        kinds = {each.sequence: each.type for each in reversed(case.changes)}
        for each in case.changes:
            if each.type != kinds[each.sequence]:
                sentence = f"event {each.sequence} of {contract_id} is {each.type} and "
                yield Breach(sentence + kinds[each.sequence], (contract_id,))
        yield from _in_order(case)
        if watched and case.acknowledgements:
            yield from _seen_to_the_end(case)


def _of_all(change: r.Change) -> bool:
    return change.watch.startswith("all")


def _in_order(case: Case) -> Iterator[Breach]:
    seen: dict[str, set[int]] = defaultdict(set)
    for each in case.changes:
        known = seen[each.watch]
        known.add(each.sequence)
        if _of_all(each) and each.sequence > 1 and each.sequence - 1 not in known:
            sentence = f"event {each.sequence} of {case.contract_id} came before those before it"
            yield Breach(sentence, (case.contract_id,))


def _seen_to_the_end(case: Case) -> Iterator[Breach]:
    kinds = {each.sequence: each.type for each in case.changes if _of_all(each)}
    if not kinds or kinds[max(kinds)] != "ENDED":
        shown = list(kinds.values())
        sentence = f"the watch of all has not seen the end of {case.contract_id}: {shown}"
        yield Breach(sentence, (case.contract_id,))
    if list(kinds.values()).count("ENDED") > 1:
        yield Breach(f"{case.contract_id} has ended more than once: {kinds}", (case.contract_id,))
