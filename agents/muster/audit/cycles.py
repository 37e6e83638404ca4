"""Circles in a directed graph, given as a dict from each node to the nodes it points to."""

from collections import deque


def strong_components(edges: dict[str, set[str]]) -> list[list[str]]:
    """Tarjan's strongly connected components, without recursion. Every target must be a key."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    found: list[list[str]] = []
    for root in sorted(edges):
        work = [(root, iter(sorted(edges[root])))] if root not in order else []
        while work:
            node, targets = work[-1]
            if node not in order:
                order[node] = low[node] = len(order)
                path.append(node)
                on_path.add(node)
            step = next(targets, None)
            if step is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    found.append(_pop_component(node, path, on_path))
            elif step not in order:
                work.append((step, iter(sorted(edges[step]))))
            elif step in on_path:
                low[node] = min(low[node], order[step])
    return found


def _pop_component(root: str, path: list[str], on_path: set[str]) -> list[str]:
    start = path.index(root)
    component = path[start:]
    del path[start:]
    on_path.difference_update(component)
    return component


def shortest_loop(members: list[str], edges: dict[str, set[str]]) -> list[str]:
    """A shortest way from some member back to it; of equally short ones the first by name."""
    inside = set(members)
    best: list[str] = []
    for start in members:
        loop = _way_back(start, inside, edges)
        if loop and (not best or len(loop) < len(best)):
            best = loop
    return best


def _way_back(start: str, inside: set[str], edges: dict[str, set[str]]) -> list[str]:
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for step in sorted(edges[node] & inside):
            if step == start:
                return _unwind(start, node, came_from)
            if step not in came_from:
                came_from[step] = node
                queue.append(step)
    return []


def _unwind(start: str, node: str, came_from: dict[str, str]) -> list[str]:
    way = [start, node] if node != start else [start]
    while node != start and came_from[node] != start:
        node = came_from[node]
        way.append(node)
    return [start, *reversed(way[1:]), start]
