"""Rules of what hosts report: S4, S8, and that a lease ends with its session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

from tests.support.history import records as r
from tests.support.history.evidence import Breach, Case, Evidence
from tests.support.history.records import CLOCK, MACHINE, OWNER

# After a lease of silence: two sweeps, a commit, and the time until a watcher has heard of it.
GIVEN_UP_SECONDS = 4.0
TAKEN = frozenset({"ACCEPTED", "ACCEPTED_DUPLICATE"})
REPORTED = frozenset({"SUCCEEDED", "FAILED", "PARKED"})


def stale_reports_change_nothing(evidence: Evidence) -> Iterator[Breach]:
    """S4: a report of an epoch that is not the current one, or of a session that is over, changes
    nothing, gets FENCED, and is counted."""
    for contract_id, case in evidence.cases.items():
        if not case.shown:
            continue
        outcomes = {each.epoch: each.outcome for each in case.shown[-1].attempts}
        for each in case.verdicts:
            outcome = outcomes.get(each.epoch, "never committed")
            known = each.at <= case.shown[-1].at
            if known and each.verdict in TAKEN and outcome not in REPORTED:
                sentence = f"a report of epoch {each.epoch} of {contract_id}, which is {outcome},"
                yield Breach(f"{sentence} was {each.verdict}", (contract_id,))
    yield from _of_older_sessions(evidence)
    yield from _counted(evidence)


def _of_older_sessions(evidence: Evidence) -> Iterator[Breach]:
    """A host that has a newer session is heard on that one alone."""
    sessions: dict[str, list[r.Welcomed]] = defaultdict(list)
    host_of: dict[str, str] = {}
    for each in sorted(evidence.history.welcomed, key=lambda welcomed: welcomed.session_epoch):
        sessions[each.host].append(each)
        host_of[each.session] = each.host
    for contract_id, case in evidence.cases.items():
        for report in case.reported:
            newer = _newer(sessions.get(host_of.get(report.session, ""), ()), report.session)
            said = (each for each in case.verdicts if each.session == report.session)
            taken = [each for each in said if each.epoch == report.epoch and each.verdict in TAKEN]
            if newer is not None and newer.at < report.at and taken:
                sentence = f"a report of {contract_id} at {report.epoch} was taken from session"
                yield Breach(f"{sentence} {report.session}, which was over", (contract_id,))


def _newer(sessions: list[r.Welcomed] | tuple[()], session: str) -> r.Welcomed | None:
    own = next((at for at, each in enumerate(sessions) if each.session == session), None)
    return None if own is None or own + 1 == len(sessions) else sessions[own + 1]


def _counted(evidence: Evidence) -> Iterator[Breach]:
    counts = [each for each in evidence.history.counted if "fenced" in each.counts]
    if not counts or evidence.during(OWNER):
        return  # a restart counts from 0 again
    fenced = sum(each.verdict == "FENCED" for each in evidence.history.verdicts)
    if counts[-1].counts["fenced"] < fenced:
        shown = f"{counts[-1].counts['fenced']:.0f}"
        yield Breach(f"{fenced} reports were told that they were FENCED, and {shown} are counted")


def leases_end_with_their_session(evidence: Evidence) -> Iterator[Breach]:
    """S4: only a session's own heartbeats keep its leases; one that is silent for a lease loses
    them, whoever speaks in its place."""
    if evidence.during(CLOCK):
        return
    lease = {each.session: each.lease for each in evidence.history.welcomed if each.lease}
    spoke = _last_contact(evidence)
    until = max(evidence.last_words.values(), default=0.0)
    for contract_id, case in evidence.cases.items():
        for each in case.assigned:
            session = _last_session_of(case, each)
            if session not in lease:
                continue
            silent = spoke.get(session, each.at)
            moved = min(_moved_on(case, each.epoch, until), _settled(case, each))
            due = max(silent, each.at) + lease[session] + GIVEN_UP_SECONDS
            if moved > _forgiving(evidence, due, 2 * lease[session]):
                kept = f"{moved - silent:.1f} s after session {session} had last spoken"
                sentence = f"{contract_id} at {each.epoch} was still leased {kept}"
                yield Breach(sentence, (contract_id,))


def _forgiving(evidence: Evidence, due: float, patience: float) -> float:
    """Whoever judges may be away itself; when it is back, it begins with all its patience."""
    for span in evidence.spans:
        if span.begin <= due and span.fault.target == MACHINE:
            due += span.end - span.begin
        elif span.begin <= due:
            due = max(due, span.end + patience + GIVEN_UP_SECONDS)
    return due


def _last_contact(evidence: Evidence) -> dict[str, float]:
    history = evidence.history
    contact: dict[str, float] = {}
    spoken: Iterator[r.Welcomed | r.Beat] = chain(history.welcomed, history.beats)
    for each in spoken:
        contact[each.session] = max(contact.get(each.session, 0.0), each.at)
    return contact


def _last_session_of(case: Case, assigned: r.Assigned) -> str:
    """The session that held the attempt last: a newer one may have taken it over."""
    kept = [d for d in case.decisions if d.epoch == assigned.epoch and d.decision == "KEEP"]
    return kept[-1].session if kept else assigned.session


def _settled(case: Case, assigned: r.Assigned) -> float:
    """When its own host gave the attempt up, in whatever way; infinite if it never did."""
    of_it: Iterator[r.Reported | r.Released | r.Verdict] = chain(
        case.reported, case.released, case.verdicts
    )
    return min((each.at for each in of_it if each.epoch == assigned.epoch), default=float("inf"))


def _moved_on(case: Case, epoch: int, until: float) -> float:
    """When somebody saw that the attempt was no longer its contract's."""
    over = ("REQUEUED", "PARKED", "ENDED")
    seen = [c.at for c in case.changes if c.epoch > epoch or c.type in over]
    seen += [each.at for each in case.assigned if each.epoch > epoch]
    seen += [each.at for each in case.answers]
    for shown in case.shown:
        ends = (a.end_time for a in shown.attempts if a.epoch == epoch and a.end_time)
        seen += [end - shown.wall + shown.at for end in ends]
    return min(seen, default=until)


def resends_are_known(evidence: Evidence) -> Iterator[Breach]:
    """S8: a report that was accepted is ACCEPTED_DUPLICATE when it comes again, never accepted
    twice and never fenced."""
    for contract_id, case in evidence.cases.items():
        by_epoch: dict[int, list[r.Verdict]] = defaultdict(list)
        for each in case.verdicts:
            by_epoch[each.epoch].append(each)
        attempts = case.shown[-1].attempts if case.shown else []
        outcomes = {each.epoch: each.outcome for each in attempts}
        for epoch, verdicts in by_epoch.items():
            words = [each.verdict for each in verdicts]
            if words.count("ACCEPTED") > 1:
                sentence = f"the report of {contract_id} at {epoch} was accepted"
                yield Breach(f"{sentence} {words.count('ACCEPTED')} times", (contract_id,))
            if "FENCED" in words and (TAKEN & set(words) or outcomes.get(epoch) in REPORTED):
                sentence = f"the report of {contract_id} at {epoch} was accepted, and then fenced"
                yield Breach(sentence, (contract_id,))
