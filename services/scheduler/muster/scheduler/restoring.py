"""Makes open contracts out of what the ledger has of them."""

from __future__ import annotations

from muster.model.ledger import Opening, StoredContract
from muster.scheduler.catalogue import Catalogue
from muster.scheduler.core import Core
from muster.scheduler.core_asking import take_answer
from muster.scheduler.core_sessions import Sessions
from muster.scheduler.messages_in import asked_of, contract_of, given_of
from muster.scheduler.records import Contract, Now
from muster.v1.question_pb2 import Answer, Question
from muster.v1.request_pb2 import Request


def restored(
    opening: Opening, catalogue: Catalogue, sessions: Sessions, core: Core, now: Now
) -> list[Contract]:
    """Every open contract of the shards, held by the core from now on."""
    contracts: list[Contract] = []
    for stored in opening.open_contracts:
        request = Request.FromString(stored.request)
        wanted = request.capability
        selector, _ = catalogue.resolve(stored.tenant, wanted.name, wanted.version)
        parent = core.contracts.get(stored.parent_id)
        contract = contract_of(
            request, stored.tenant, stored.principal, selector, stored.accepted_ms, parent
        )
        _add_questions(contract, stored, now)
        attempt = stored.open_attempt
        epoch = attempt.epoch if attempt is not None else 0
        progress = opening.output_chunks.get((stored.id, epoch), (0, 0))
        contracts.append(sessions.restore(now, stored, contract, progress))
    return contracts


def _add_questions(contract: Contract, stored: StoredContract, now: Now) -> None:
    """What it has asked, and the answers."""
    agents = {attempt.epoch: attempt.agent for attempt in stored.attempts}
    for each in stored.questions:
        agent = agents[each.epoch]
        if each.closing is None:
            question = Question.FromString(each.question)
            contract.asked = asked_of(question, each.epoch, agent, each.asked_ms, now)
            contract.size += contract.asked.size
        else:
            given = given_of(Answer.FromString(each.answer))
            take_answer(contract, agent, given)
            contract.size += given.size
