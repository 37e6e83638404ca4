"""Makes open contracts out of what the ledger has of them."""

from __future__ import annotations

from muster.model.ledger import Opening
from muster.scheduler.catalogue import Catalogue
from muster.scheduler.core import Core
from muster.scheduler.core_sessions import Sessions
from muster.scheduler.messages_in import contract_of
from muster.scheduler.records import Contract, Now
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
        attempt = stored.open_attempt
        epoch = attempt.epoch if attempt is not None else 0
        progress = opening.output_chunks.get((stored.id, epoch), (0, 0))
        contracts.append(sessions.restore(now, stored, contract, progress))
    return contracts
