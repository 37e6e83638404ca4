"""A tree of contracts as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from muster.cli import text
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.contract_pb2 import Contract

_CHILDREN_SHOWN = 12


def tree_lines(contracts: Iterable[Contract], marked: str, width: int) -> list[str]:
    """The tree that the contracts make, with a mark at one of them.

    Of many children of one contract the first are shown, and those that did not succeed.
    """
    by_parent: dict[str, list[Contract]] = {}
    known = {contract.id: contract for contract in contracts}
    for contract in sorted(known.values(), key=lambda each: each.id):
        # Whose parent is not here is shown at the top: the mesh may have forgotten the parent.
        parent = contract.parent_id if contract.parent_id in known else ""
        by_parent.setdefault(parent, []).append(contract)
    lines: list[str] = []
    for root in by_parent.get("", []):
        lines.append("  " + _line(root, marked))
        lines += _below(root, by_parent, marked, "  ")
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def _below(
    parent: Contract, by_parent: dict[str, list[Contract]], marked: str, indent: str
) -> Iterator[str]:
    children = by_parent.get(parent.id, [])
    shown = _chosen(children, by_parent, marked)
    left_out = len(children) - len(shown)
    for at, child in enumerate(shown):
        last = at == len(shown) - 1 and not left_out
        yield f"{indent}{'└─' if last else '├─'} {_line(child, marked)}"
        yield from _below(child, by_parent, marked, indent + ("   " if last else "│  "))
    if left_out:
        what = text.counted(left_out, "more child", "more children")
        yield f"{indent}└─ {what}: muster contracts list --parent {parent.id}"


def _chosen(
    children: list[Contract], by_parent: dict[str, list[Contract]], marked: str
) -> list[Contract]:
    if len(children) <= _CHILDREN_SHOWN:
        return children
    wanted = [
        child
        for child in children
        if child.id == marked or child.id in by_parent or _state(child) != "succeeded"
    ]
    rest = [child for child in children if child not in wanted]
    chosen = {child.id for child in (wanted + rest)[:_CHILDREN_SHOWN]}
    return [child for child in children if child.id in chosen]


def _line(contract: Contract, marked: str) -> str:
    took = ""
    if contract.HasField("end_time"):
        seconds = seconds_of_timestamp(contract.end_time) - seconds_of_timestamp(
            contract.accept_time
        )
        took = f" {text.duration(seconds)}"
    name = contract.request.capability.name
    mark = "  ← this one" if contract.id == marked else ""
    return f"{contract.id} {name} {_state(contract)}{took}{mark}"


def _state(contract: Contract) -> str:
    from muster.agent.asking import state_name

    return state_name(contract.state).lower().replace("_", " ")
