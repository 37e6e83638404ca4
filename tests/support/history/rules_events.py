"""Rules of what watchers see, and of cancelling: S9, S10, S11."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.support.history import records as r
from tests.support.history.evidence import Breach, Case, Evidence


def events_have_no_gap(evidence: Evidence) -> Iterator[Breach]:
    """S9: lifecycle events of a contract are gap-free and in order, and mean the same to everybody;
    a watcher of everything sees each at least once, the last one is the contract's end; none is
    seen that the record does not have."""
    watched = any(_of_all(each) for each in evidence.history.changes)
    for contract_id, case in evidence.cases.items():
        yield from _same_for_all(case)
        yield from _in_order(case)
        yield from _in_the_record(case)
        if watched and case.acknowledgements:
            yield from _seen_to_the_end(contract_id, case)


def _of_all(change: r.Change) -> bool:
    return change.watch.startswith("all")


def _same_for_all(case: Case) -> Iterator[Breach]:
    meant: dict[int, tuple[str, str, int, str]] = {}
    for each in case.changes:
        what = (each.type, each.state, each.epoch, each.code)
        if meant.setdefault(each.sequence, what) != what:
            other = meant[each.sequence]
            sentence = f"event {each.sequence} of {case.contract_id} is {other} and {what}"
            yield Breach(sentence, (case.contract_id,))


def _in_order(case: Case) -> Iterator[Breach]:
    seen: dict[str, set[int]] = defaultdict(set)
    for each in case.changes:
        known = seen[each.watch]
        known.add(each.sequence)
        if each.sequence > 1 and each.sequence - 1 not in known:
            sentence = f"event {each.sequence} of {case.contract_id} came before those before it"
            yield Breach(sentence, (case.contract_id,))


def _in_the_record(case: Case) -> Iterator[Breach]:
    if not case.shown:
        return
    shown = case.shown[-1]
    epochs = {0, *case.epochs}
    for each in case.changes:
        known = each.sequence <= shown.sequence and each.epoch in epochs
        true = each.type != "ENDED" or each.state == shown.state
        if each.at <= shown.at and not (known and true):
            what = f"{each.type} {each.state} at {each.epoch}, event {each.sequence}"
            sentence = f"{what} of {case.contract_id}, was seen and is not in the record"
            yield Breach(sentence, (case.contract_id,))


def _seen_to_the_end(contract_id: str, case: Case) -> Iterator[Breach]:
    kinds = {each.sequence: each.type for each in case.changes if _of_all(each)}
    if not kinds or kinds[max(kinds)] != "ENDED":
        shown = list(kinds.values())
        sentence = f"the watch of all has not seen the end of {contract_id}: {shown}"
        yield Breach(sentence, (contract_id,))
    if list(kinds.values()).count("ENDED") > 1:
        yield Breach(f"{contract_id} has ended more than once: {kinds}", (contract_id,))


def chunks_are_contiguous(evidence: Evidence) -> Iterator[Breach]:
    """S10: an attempt's output comes without a gap, as its agent sent it; a report commits after
    the chunks that it counts; a later attempt supersedes the earlier one's, for good."""
    for case in evidence.cases.values():
        if case.items_seen or case.watches_ended:
            sent = {(each.epoch, each.index): each for each in case.items_sent}
            watches: dict[str, list[r.ItemSeen]] = defaultdict(list)
            for each in case.items_seen:
                watches[each.watch].append(each)
            for items in watches.values():
                for sentence in _watched(case.contract_id, items, sent):
                    yield Breach(sentence, (case.contract_id,))
            for end in case.watches_ended:
                yield from _counted(case, end, watches.get(end.watch, []))


def _watched(
    contract_id: str, items: list[r.ItemSeen], sent: dict[tuple[int, int], r.ItemSent]
) -> Iterator[str]:
    last = (0, 0)
    chunks: dict[int, int] = defaultdict(int)
    for each in items:
        here = f"{contract_id} at {each.epoch}"
        if (each.epoch, each.index) <= last:
            yield f"item {each.index} of {here} came after {last}"
        last = (each.epoch, each.index)
        made = sent.get(last)
        if sent and (made is None or made.digest != each.digest):
            yield f"item {each.index} of {here} is not what its agent sent"
        if each.chunk >= 0:
            if each.chunk != chunks[each.epoch]:
                yield f"chunk {each.chunk} of {here} came where {chunks[each.epoch]} was due"
            chunks[each.epoch] = each.chunk + 1


def _counted(case: Case, end: r.WatchEnded, items: list[r.ItemSeen]) -> Iterator[Breach]:
    if end.author != "AGENT":
        return
    seen = sum(each.chunk >= 0 and each.epoch == end.epoch for each in items)
    said = {each.chunks for each in case.reported if each.epoch == end.epoch}
    if seen != end.chunks or (said and end.chunks not in said):
        sentence = f"{case.contract_id} ended with {end.chunks} chunks at {end.epoch}; its watcher"
        yield Breach(
            f"{sentence} saw {seen}, its agent counted {sorted(said)}", (case.contract_id,)
        )


def cancels_hold(evidence: Evidence) -> Iterator[Breach]:
    """S11: after a cancel that was OK the outcome is CANCELLED; if a response was there first, the
    cancel was refused."""
    for contract_id, case in evidence.cases.items():
        if not case.cancellations:
            continue
        states = {each.state for each in case.answers} | {s.state for s in case.shown if s.end_time}
        outcomes = {each.outcome for each in case.cancellations}
        if r.OK in outcomes and states - {"CANCELLED"}:
            sentence = f"the cancel of {contract_id} was OK, and it is {sorted(states)}"
            yield Breach(sentence, (contract_id,))
        if "CONTRACT_ENDED" in outcomes and "CANCELLED" in states:
            sentence = f"the cancel of {contract_id} came too late, and it is CANCELLED"
            yield Breach(sentence, (contract_id,))
