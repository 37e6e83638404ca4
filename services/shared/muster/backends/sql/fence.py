"""The fence: which rows a database takes, as conditions that every SQL database understands.

An *open* lease of a contract is its newest one (in `contracts` or `leases`) without a row in
`endings`. Conditions are about a row whose contract is joined as `c`; arguments are how a statement
names that row's values.
"""

from __future__ import annotations

from muster.model.states import Author


def lease(contract_id: str, epoch: str) -> str:
    """No response yet, no lease as new, and every earlier lease has ended."""
    return (
        f"c.epoch < {epoch} "
        f"AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.contract_id = {contract_id}) "
        "AND (c.epoch = 0 OR EXISTS "
        f"(SELECT 1 FROM endings e WHERE e.contract_id = {contract_id} AND e.epoch = c.epoch)) "
        "AND NOT EXISTS "
        f"(SELECT 1 FROM leases l WHERE l.contract_id = {contract_id} AND (l.epoch >= {epoch} "
        "OR NOT EXISTS "
        f"(SELECT 1 FROM endings e WHERE e.contract_id = {contract_id} AND e.epoch = l.epoch)))"
    )


def ending(contract_id: str, epoch: str) -> str:
    """The lease is there, has not ended, and has not ended the contract."""
    return (
        f"(c.epoch = {epoch} OR EXISTS "
        f"(SELECT 1 FROM leases l WHERE l.contract_id = {contract_id} AND l.epoch = {epoch})) "
        f"AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.contract_id = {contract_id}) "
        "AND NOT EXISTS "
        f"(SELECT 1 FROM endings e WHERE e.contract_id = {contract_id} AND e.epoch >= {epoch})"
    )


def response(contract_id: str, epoch: str, author: str) -> str:
    """The mesh may end any contract that has no response; an agent only by its open lease."""
    return (
        f"({author} = {int(Author.MESH)} OR ((c.epoch = {epoch} OR EXISTS "
        f"(SELECT 1 FROM leases l WHERE l.contract_id = {contract_id} AND l.epoch = {epoch})) "
        f"AND c.epoch <= {epoch} AND NOT EXISTS "
        f"(SELECT 1 FROM leases l WHERE l.contract_id = {contract_id} AND l.epoch > {epoch}) "
        "AND NOT EXISTS "
        f"(SELECT 1 FROM endings e WHERE e.contract_id = {contract_id} AND e.epoch >= {epoch})))"
    )
