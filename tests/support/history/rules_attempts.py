"""Rules of leases and attempts: S5, S13, S14, S17, and the window of an agent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain, pairwise

from tests.support.history import records as r
from tests.support.history.evidence import Breach, Case, Evidence
from tests.support.history.records import CLOCK, FAULTLESS

ATTEMPTS_DEFAULT = 5
LOSSES_MAX = 3
LOSSES_BEFORE_ALONE = 2
FAILED = frozenset({"FAILED", "TIMED_OUT"})


def epochs_grow(evidence: Evidence) -> Iterator[Breach]:
    """S5: committed epochs strictly increase, across crashes too; no epoch is given to two, or run
    twice; at most one lease of a contract is alive."""
    for contract_id, case in evidence.cases.items():
        epochs = case.epochs
        if epochs != sorted(set(epochs)):
            yield Breach(f"the epochs of {contract_id} do not grow: {epochs}", (contract_id,))
        executed = Counter(each.epoch for each in case.executions)
        for epoch, count in executed.items():
            if count > 1:
                sentence = f"epoch {epoch} of {contract_id} was executed {count} times"
                yield Breach(sentence, (contract_id,))
        given: dict[int, set[tuple[str, str]]] = defaultdict(set)
        for each in case.assigned:
            given[each.epoch].add((each.host, each.agent))
        for epoch, agents in given.items():
            if len(agents) > 1:
                sentence = f"epoch {epoch} of {contract_id} was given to {sorted(agents)}"
                yield Breach(sentence, (contract_id,))
        if not evidence.during(CLOCK):
            yield from _one_at_a_time(case)


def _one_at_a_time(case: Case) -> Iterator[Breach]:
    attempts = case.shown[-1].attempts if case.shown else []
    for one, other in pairwise(attempts):
        if not one.end_time or one.end_time > other.lease_time:
            sentence = f"{case.contract_id} was leased at {other.epoch} before {one.epoch} was over"
            yield Breach(sentence, (case.contract_id,))


def attempts_are_bounded(evidence: Evidence) -> Iterator[Breach]:
    """S13: only so many attempts may fail, and three started ones be lost, which buries the
    contract; each says why it ended; after two losses the next runs alone in its host."""
    alone: list[tuple[str, r.Attempt]] = []
    for contract_id, case in evidence.cases.items():
        if not case.shown:
            continue
        shown = case.shown[-1]
        failed = [each for each in shown.attempts if each.outcome in FAILED]
        lost = [each for each in shown.attempts if each.outcome == "LOST" and each.started]
        if len(failed) > (shown.attempts_max or ATTEMPTS_DEFAULT):
            yield Breach(f"{contract_id} had {len(failed)} failed attempts", (contract_id,))
        if (len(lost) >= LOSSES_MAX) != (shown.state == "DEAD_LETTERED") or len(lost) > LOSSES_MAX:
            sentence = f"{contract_id} is {shown.state} after {len(lost)} lost agents"
            yield Breach(sentence, (contract_id,))
        for each in failed + lost:
            if not each.code:
                sentence = f"{contract_id} does not say why its attempt {each.number} ended"
                yield Breach(sentence, (contract_id,))
        if len(lost) >= LOSSES_BEFORE_ALONE:
            after = lost[LOSSES_BEFORE_ALONE - 1].number
            alone += [(contract_id, each) for each in shown.attempts if each.number > after]
    if alone:
        yield from _not_alone(evidence, {(c, a.epoch) for c, a in alone})


def _not_alone(evidence: Evidence, alone: set[tuple[str, int]]) -> Iterator[Breach]:
    by_host: dict[str, list[tuple[float, float, r.Assigned]]] = defaultdict(list)
    hosts = {each.host for c, _ in alone for each in evidence.cases[c].assigned}
    lives = _lives(evidence)
    for each in evidence.history.assigned:
        if each.host in hosts:
            end = _slot_until(evidence.cases[each.contract_id], each, lives)
            by_host[each.host].append((each.at, end, each))
    for spans in by_host.values():
        for begin, end, one in spans:
            if (one.contract_id, one.epoch) not in alone:
                continue
            for begun, ended, other in spans:
                if other is not one and begun < end and begin < ended:
                    pair = (one.contract_id, other.contract_id)
                    yield Breach(f"{pair[0]} had lost two agents, and ran beside {pair[1]}", pair)


def _lives(evidence: Evidence) -> dict[str, list[float]]:
    """By journal, when each life of its process began."""
    lives: dict[str, list[float]] = defaultdict(list)
    for each in evidence.history.opened:
        lives[each.by].append(each.at)
    return lives


def _slot_until(case: Case, assigned: r.Assigned, lives: dict[str, list[float]]) -> float:
    """When the attempt took no slot any more, as its host saw it, or its host's process ended."""
    ends: list[float] = [at for at in lives.get(assigned.by, ()) if at > assigned.at]
    words: Iterator[r.Reported | r.Released | r.Decision] = chain(
        case.reported, case.released, case.decisions
    )
    for each in words:
        goes_on = isinstance(each, r.Decision) and each.decision in ("KEEP", "PENDING")
        if each.epoch == assigned.epoch and not goes_on:
            ends.append(each.at)
    return min(ends, default=float("inf"))


def agents_are_entitled(evidence: Evidence) -> Iterator[Breach]:
    """S14: who gets a contract belongs to its tenant, and offers its capability."""
    offers = {(each.host, each.agent, each.capability) for each in evidence.history.offered}
    for contract_id, case in evidence.cases.items():
        tenants = {a.tenant for a in case.acknowledgements} | {s.tenant for s in case.shown}
        asked = {s.capability for s in case.submissions} | {s.capability for s in case.shown}
        asked -= {""}
        for each in case.assigned:
            what = f"{contract_id} was given to {each.agent} on {each.host}, which"
            if (each.host, each.agent, each.capability) not in offers:
                yield Breach(f"{what} does not offer {each.capability}", (contract_id,))
            if asked and each.capability not in asked:
                yield Breach(f"{what} took it for {each.capability}", (contract_id,))
            tenant = evidence.tenants.get(each.host, each.tenant)
            if tenants and tenant not in tenants:
                yield Breach(f"{what} is of tenant {tenant}", (contract_id,))


def executed_once(evidence: Evidence) -> Iterator[Breach]:
    """S17: where nothing was disturbed, every contract is executed once, and once more for each
    attempt that its agent failed, or ended with a question."""
    if not evidence.setting(FAULTLESS):
        return
    for contract_id, case in evidence.cases.items():
        if not case.shown:
            continue
        state = case.shown[-1].state
        again = (*FAILED, "PARKED")
        failed = sum(each.outcome in again for each in case.shown[-1].attempts)
        least = failed + (state == "SUCCEEDED")
        most = least if state in ("SUCCEEDED", "FAILED") else failed + 1
        found = len(case.executions)
        if not least <= found <= most:
            sentence = f"{contract_id} was executed {found} times, with {failed} failed attempts"
            yield Breach(sentence, (contract_id,))


def windows_hold(evidence: Evidence) -> Iterator[Breach]:
    """Window: an agent never has more active attempts than it said it takes."""
    windows: dict[tuple[str, str], int] = {}
    for offer in evidence.history.offered:
        key = (offer.host, offer.agent)
        windows[key] = max(windows.get(key, 0), offer.window)
    for contract_id, case in evidence.cases.items():
        for each in case.assigned:
            window = windows.get((each.host, each.agent), 0)
            if window and each.active > window:
                sentence = f"{contract_id} was attempt {each.active} at {each.agent}, which takes"
                yield Breach(f"{sentence} {window}", (contract_id,))
