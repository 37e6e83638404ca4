"""Rules of accepting and answering: S1, S2, S3, S6, S7."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.support.history import records as r
from tests.support.history.evidence import Breach, Evidence


def no_lost_accept(evidence: Evidence) -> Iterator[Breach]:
    """S1: whatever was acknowledged is found, and ends."""
    listed = bool(evidence.history.listings)
    for contract_id, case in evidence.cases.items():
        answered = {each.channel for each in case.answers}
        for channel in dict.fromkeys(each.channel for each in case.questions):
            if channel not in answered:
                yield Breach(f"{contract_id} has no response on {channel}", (contract_id,))
        if not case.acknowledgements:
            continue
        if not case.questions:
            sentence = f"{contract_id} was acknowledged, and nobody asked what became of it"
            yield Breach(sentence, (contract_id,))
        if listed and not case.listings:
            yield Breach(f"{contract_id} was acknowledged, and is in no list", (contract_id,))


def one_response(evidence: Evidence) -> Iterator[Breach]:
    """S2: every channel shows the same response, byte for byte, however often it is asked."""
    for contract_id, case in evidence.cases.items():
        seen: dict[str, str] = {}
        for each in case.answers:
            seen.setdefault(each.digest, each.channel)
        if len(seen) > 1:
            where = ", ".join(seen.values())
            yield Breach(f"{contract_id} has {len(seen)} responses: {where}", (contract_id,))


def newest_epoch_answers(evidence: Evidence) -> Iterator[Breach]:
    """S3: an agent's response comes from the highest epoch that was committed."""
    for contract_id, case in evidence.cases.items():
        epochs = case.epochs
        for epoch in sorted({each.epoch for each in case.agents_answers}):
            if epochs and epoch != max(epochs):
                sentence = f"{contract_id} is answered by {epoch}, not {max(epochs)}"
                yield Breach(sentence, (contract_id,))


def no_phantom(evidence: Evidence) -> Iterator[Breach]:
    """S6: no contract that nobody submitted, no output that no agent made for that very attempt,
    and none that an agent of another tenant made."""
    if len(evidence.nonces) != len(evidence.history.executions):
        yield Breach("two executions have the same nonce")
    for contract_id, case in evidence.cases.items():
        for listing in case.listings:
            known = (listing.tenant, listing.request_id) in evidence.request_ids
            if not listing.parent_id and not known:
                sentence = f"nobody submitted {listing.request_id}, and {contract_id} is there"
                yield Breach(sentence, (contract_id,))
        made_here = {each.nonce: each for each in case.agents_answers if _has_nonce(each)}
        for nonce, each in made_here.items():
            made = evidence.nonces.get(nonce)
            if made is None:
                sentence = f"{contract_id} at {each.epoch} got an output that nobody made"
                yield Breach(sentence, (contract_id,))
            elif (made.contract_id, made.epoch) != (contract_id, each.epoch):
                sentence = (
                    f"{contract_id} at {each.epoch} got the output of "
                    f"{made.contract_id} at {made.epoch}"
                )
                yield Breach(sentence, (contract_id, made.contract_id))


def _has_nonce(answer: r.Answer) -> bool:
    """An agent's failure may have none: that its worker died, its SDK says for it."""
    return answer.state == "SUCCEEDED" or bool(answer.nonce)


def ids_are_stable(evidence: Evidence) -> Iterator[Breach]:
    """S7: same tenant, principal, request_id and body is one contract, and only ever that; with
    another body it is refused."""
    for scope, contracts in evidence.contracts_of.items():
        if len(contracts) > 1:
            found = sorted(contracts)
            sentence = f"request {scope[2]} became {len(found)} contracts: {found}"
            yield Breach(sentence, tuple(found))
    for contract_id, case in evidence.cases.items():
        scopes = case.scopes
        if len(scopes) > 1:
            yield Breach(f"contract {contract_id} was made for {sorted(scopes)}", (contract_id,))
        bodies = {each.body for each in case.acknowledgements} - {""}
        if len(bodies) > 1:
            yield Breach(f"{contract_id} was made for {len(bodies)} bodies", (contract_id,))
        named = {scope[2] for scope in scopes}
        for request_id in {each.request_id for each in case.answers} - named if named else ():
            yield Breach(f"{contract_id} answers {request_id}", (contract_id,))
    yield from _refused_with_their_body(evidence)


def _refused_with_their_body(evidence: Evidence) -> Iterator[Breach]:
    first: dict[tuple[str, str, str], str] = {}
    bodies: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for scope, submissions in evidence.submitted.items():
        first[scope] = submissions[0].body
        bodies[scope].update(each.body for each in submissions)
    for refusal in evidence.history.refusals:
        scope = (refusal.tenant, refusal.principal, refusal.request_id)
        if refusal.reason == r.REUSED and first.get(scope) == refusal.body:
            contracts = tuple(sorted(evidence.contracts_of.get(scope, ())))
            yield Breach(f"request {scope[2]} was refused with the body it has", contracts)
