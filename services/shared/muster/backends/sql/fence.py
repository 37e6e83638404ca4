"""The fence: which rows a database takes, as conditions that every SQL database understands.

An *open* lease of a contract is its newest one (in `contracts` or `leases`) without a row in
`endings`. An *open* question has no row in `answers`; a contract with one is parked. Conditions are
about a row whose contract is joined as `c`; arguments are how a statement names that row's values.
"""

from __future__ import annotations

from muster.model.states import Author, Outcome


def lease(contract_id: str, epoch: str) -> str:
    """No response yet, no lease as new, every earlier lease has ended, and no question is open."""
    return (
        f"c.epoch < {epoch} "
        f"AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.contract_id = {contract_id}) "
        "AND (c.epoch = 0 OR EXISTS "
        f"(SELECT 1 FROM endings e WHERE e.contract_id = {contract_id} AND e.epoch = c.epoch)) "
        "AND NOT EXISTS "
        f"(SELECT 1 FROM leases l WHERE l.contract_id = {contract_id} AND (l.epoch >= {epoch} "
        "OR NOT EXISTS "
        f"(SELECT 1 FROM endings e WHERE e.contract_id = {contract_id} AND e.epoch = l.epoch))) "
        f"AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.subject_id = {contract_id} "
        "AND NOT EXISTS (SELECT 1 FROM answers a "
        "WHERE a.subject_id = q.subject_id AND a.question_id = q.question_id))"
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


def question(subject_id: str, epoch: str) -> str:
    """The attempt that asks has ended with it. Workflow runs ask without an attempt. Not joined
    with `c`."""
    return (
        f"({epoch} = 0 OR EXISTS (SELECT 1 FROM endings e WHERE e.contract_id = {subject_id} "
        f"AND e.epoch = {epoch} AND e.outcome = {int(Outcome.PARKED)}))"
    )


def answer(subject_id: str, question_id: str) -> str:
    """The question is there, and its contract has not ended. Not joined with `c`."""
    return (
        f"EXISTS (SELECT 1 FROM questions q WHERE q.subject_id = {subject_id} "
        f"AND q.question_id = {question_id}) "
        f"AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.contract_id = {subject_id})"
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
