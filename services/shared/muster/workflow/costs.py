"""What an expression may cost, known before it is evaluated.

The library has no bound of its own: three macros within each other over a list of a thousand would
take minutes. So an upper bound is worked out from the tree and from how large the values are that
it mentions, in units of 10 ns: what it measurably takes to hand a value over, to do one step, and
to copy an element. `map` and `filter` copy all they have so far with each element, so that n of
them cost n² (2,000 take 0.16 s, 64,000 over a minute).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from muster.model import limits
from muster.workflow.scope import NoValue, Unread
from muster.workflow.syntax import (
    Call,
    Choice,
    Index,
    ListOf,
    Literal,
    Macro,
    MapOf,
    Member,
    Node,
    Operation,
    Path,
)

_VALUE, _STEP, _COPY = 13, 10, 4
_TEXT_CHARS = 16  # that cost as much as one value
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1


class TooCostly(ValueError):
    """Evaluating this would take too long."""


@dataclass(frozen=True, slots=True)
class Weight:
    """At most so many elements, so much in all, and so much in one of them."""

    count: int = 1
    size: int = 1
    largest: int = 1

    @property
    def element(self) -> Weight:
        """Of any one of them; how many it has is not known."""
        return Weight(self.largest, self.largest, self.largest)


_ONE = Weight()
Span = tuple[int, int]


def weigh(value: Any) -> Weight:
    """What a value weighs. Raises `NoValue` for what the library cannot hold exactly."""
    if isinstance(value, list):
        sizes = [weigh(each).size for each in value]
    elif isinstance(value, Mapping):
        sizes = [weigh(each).size + len(key) // _TEXT_CHARS for key, each in value.items()]
    elif isinstance(value, str):
        size = 1 + len(value) // _TEXT_CHARS
        return Weight(size, size, 1)
    elif isinstance(value, Unread):
        raise NoValue(value.problem)
    elif isinstance(value, int) and not _INTEGER_MIN <= value <= _INTEGER_MAX:
        message = f"{str(value)[:24]}… has more than 64 bits: it can only be passed on"
        raise NoValue(message)
    else:
        return _ONE
    return Weight(len(sizes), 1 + sum(sizes), max(sizes, default=1))


def check_cost(node: Node, known: Mapping[Span, Weight]) -> None:
    """Raises `TooCostly`. `known` are the weights of parts that have been worked out already."""
    handed_over = _VALUE * sum(weight.size for weight in known.values())
    cost = handed_over + _Costs(known).of(node, {})[0]
    if cost > limits.EXPRESSION_COST_MAX:
        most = int((limits.EXPRESSION_COST_MAX / _COPY) ** 0.5)
        message = (
            "this would take too long with so much data (map and filter take about "
            f"{most // 100 * 100:,} elements): let a capability do it"
        )
        raise TooCostly(message)


class _Costs:
    def __init__(self, known: Mapping[Span, Weight]) -> None:
        self._known = known

    def of(self, node: Node, bound: Mapping[str, Weight]) -> tuple[int, Weight]:
        known = self._known.get((node.start, node.end))
        if known is not None and not isinstance(node, Literal):
            return _STEP, known
        match node:
            case Literal(value=value):
                return _STEP, weigh(value) if isinstance(value, str) else _ONE
            case Path(root=root, parts=parts):
                weight = bound.get(root, _ONE)
                return _STEP, weight.element if parts else weight
            case Macro():
                return self._macro(node, bound)
            case _:
                return self._plain(node, bound)

    def _plain(self, node: Node, bound: Mapping[str, Weight]) -> tuple[int, Weight]:
        parts = [self.of(child, bound) for child in node.children()]
        cost, weights = _STEP + sum(each for each, _ in parts), [weight for _, weight in parts]
        size = sum(weight.size for weight in weights)
        match node:
            case Member() | Index():
                return cost, weights[0].element
            case Choice():
                return cost, _most(weights)
            case ListOf() | MapOf():
                largest = max((weight.size for weight in weights), default=1)
                return cost + size, Weight(len(weights), size + 1, largest)
            case Operation(operators=operators) if "+" in operators:
                largest = max(weight.largest for weight in weights)
                return cost + size, Weight(sum(each.count for each in weights), size, largest)
            case Call(name="string" | "bytes" | "dyn"):
                return cost + size, Weight(size, size, size)
        return cost + size, _ONE

    def _macro(self, node: Macro, bound: Mapping[str, Weight]) -> tuple[int, Weight]:
        cost, over = self.of(node.operand, bound)
        inner = {**bound, node.variable: over.element}
        bodies = [self.of(body, inner) for body in node.bodies]
        count = over.count
        cost += count * sum(each for each, _ in bodies)
        if node.name == "filter":
            return cost + _COPY * count * count, over
        if node.name == "map":
            made = bodies[-1][1].size
            return cost + _COPY * count * count, Weight(count, 1 + count * made, made)
        return cost, _ONE


def _most(weights: Iterable[Weight]) -> Weight:
    weights = list(weights)
    return Weight(
        max(each.count for each in weights),
        max(each.size for each in weights),
        max(each.largest for each in weights),
    )
