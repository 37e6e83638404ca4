"""The graph of a definition's steps: what comes before what, and where it goes round in circles."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Graph = Mapping[str, Collection[str]]  # by step: what it depends on, all of it in the graph


def ancestors(graph: Graph) -> dict[str, frozenset[str]]:
    """For each step what it depends on, directly or not; itself only where there is a cycle."""
    found: dict[str, frozenset[str]] = {}
    for name in graph:
        seen: set[str] = set()
        pending = list(graph[name])
        while pending:
            each = pending.pop()
            if each not in seen:
                seen.add(each)
                pending.extend(found[each] if each in found else graph[each])
        found[name] = frozenset(seen)
    return found


def cycles(graph: Graph) -> list[list[str]]:
    """Cycles that have no step in common, each in the order in which its steps would run.

    None is left when each of them has been opened, or the next ones are found then.
    """
    waits = {name: set(before) for name, before in graph.items()}
    found: list[list[str]] = []
    while True:
        _take_free(waits)
        if not waits:
            return found
        cycle = _walk_back(waits)
        found.append(cycle)
        for name in cycle:
            del waits[name]
        for before in waits.values():
            before.difference_update(cycle)


def _take_free(waits: dict[str, set[str]]) -> None:
    """Takes out what waits for nothing that is left, until everything waits."""
    while free := {name for name, before in waits.items() if not before}:
        for name in free:
            del waits[name]
        for before in waits.values():
            before.difference_update(free)


def _walk_back(waits: Mapping[str, set[str]]) -> list[str]:
    order = list(waits)
    name, walked = order[0], list[str]()
    while name not in walked:
        walked.append(name)
        name = min(waits[name], key=order.index)
    cycle = walked[walked.index(name) :]
    cycle.reverse()
    start = min(range(len(cycle)), key=lambda at: order.index(cycle[at]))
    return cycle[start:] + cycle[:start]
