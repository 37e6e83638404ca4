"""What a submission is refused for, beyond what is wrong with the request itself."""

from __future__ import annotations

from collections.abc import Mapping

from muster.model import limits
from muster.model.errors import Fenced, ResourceExhausted, Unavailable
from muster.scheduler.records import Contract


def parent_of(sub: Contract, contracts: Mapping[int, Contract]) -> Contract:
    """The open contract that a child is submitted for; raises where it may not have this one."""
    parent = contracts.get(sub.parent_id)
    if parent is None or parent.tenant != sub.tenant:
        raise Fenced("the parent contract is not open; stop working on it")
    if parent.lease is None or parent.lease.epoch != sub.parent_epoch:
        raise Fenced("the attempt that submits this child is over; stop working on it")
    if parent.depth >= limits.TREE_DEPTH_MAX:
        raise ResourceExhausted(
            f"a tree of contracts is at most {limits.TREE_DEPTH_MAX} levels deep",
            reason="TREE_LIMIT",
        )
    if parent.children and len(parent.children) >= limits.CHILDREN_OPEN_MAX:
        raise ResourceExhausted(
            f"a contract has at most {limits.CHILDREN_OPEN_MAX} open children; "
            "await some before submitting more",
            reason="TREE_LIMIT",
            retry_after_seconds=limits.QUEUE_FULL_RETRY_SECONDS,
        )
    return parent


def check_room(contract: Contract, open_contracts: int, open_bytes: int) -> None:
    """Raises when there is no room for one more. `open_bytes` are those of open requests."""
    if open_contracts >= limits.OPEN_CONTRACTS_MAX:
        raise ResourceExhausted(
            f"{limits.OPEN_CONTRACTS_MAX} contracts are open; submit again when some have ended"
        )
    if open_bytes + contract.size > limits.OPEN_BYTES_MAX:
        raise ResourceExhausted(
            f"the requests of open contracts take {limits.OPEN_BYTES_MAX >> 20} MiB; submit "
            "again when some have ended, or send large payloads as blobs"
        )


def reused_message(request_id: str) -> str:
    """The message for a request_id that comes back with another body."""
    return (
        f"request_id {request_id!r} was used before for another request; "
        "send the same request to find its contract, or choose a new id"
    )


def moving() -> Unavailable:
    """What is said about a contract whose shard somebody else owns, or nobody yet."""
    return Unavailable("the contract's shard is moving to another scheduler; try again")
