"""The load of the fault table, by seed: what is asked for, and when.

It is open: a request goes out at its time, whatever became of those before. Arrivals are a Poisson
process. The time that a task takes is log-normal about 1 s with a standard deviation of 0.82 of its
logarithm: 95 % of all lie between 0.2 and 5 s (1 s ÷ and × e^(1.96 × 0.82)), and none above 10 s.
Of the requests 5 % carry 256 KiB, 2 % are cancelled, 2 % have a deadline of 1 s, and 2 % are trees
of three levels, of which one in four is cancelled at its root.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

CONTRACTS_PER_SECOND = 50.0  # children included
TASK_SECONDS_MEDIAN = 1.0
TASK_SECONDS_SIGMA = math.log(5.0) / 1.96
TASK_SECONDS_MAX = 10.0
TASK_SECONDS_MEAN = TASK_SECONDS_MEDIAN * math.exp(TASK_SECONDS_SIGMA**2 / 2)
LARGE_BYTES = 256 * 1024
DEADLINE_SECONDS = 1.0
CANCEL_SECONDS_MAX = 2.0  # after the request went out

LARGE_SHARE = 0.05
CANCELLED_SHARE = 0.02
DEADLINE_SHARE = 0.02
TREE_SHARE = 0.02
TREE_CANCELLED_SHARE = 0.25
TREE_CHILDREN = 3
TREE_CONTRACTS = 1 + TREE_CHILDREN + TREE_CHILDREN  # one of the children is a tree itself
ROOTS_PER_CONTRACT = 1 / (1 + TREE_SHARE * (TREE_CONTRACTS - 1))

WORK, TREE = "fault.work", "fault.tree"


@dataclass(frozen=True)
class Order:
    """A request that is to be made `at` so many seconds after the load began."""

    number: int
    at: float
    capability: str
    values: dict[str, object]
    on_stream: bool  # with the SDK, else with bare calls
    timeout: float | None = None  # seconds until its deadline
    cancel_after: float | None = None  # seconds after it was accepted

    @property
    def request_id(self) -> str:
        """The client's own id."""
        return f"r{self.number}"

    @property
    def ms(self) -> int:
        """How long a single task takes."""
        return int(str(self.values["ms"]))


def orders(seed: int, rate: float = CONTRACTS_PER_SECOND) -> Iterator[Order]:
    """What is asked for, without end; `rate` in contracts a second, children included."""
    dice = random.Random(f"load {seed}")
    at = 0.0
    number = 0
    while True:
        at += dice.expovariate(rate * ROOTS_PER_CONTRACT)
        yield _order(dice, number, at)
        number += 1


def _order(dice: random.Random, number: int, at: float) -> Order:
    ms = task_ms(dice)
    kind, moment, style = dice.random(), dice.random() * CANCEL_SECONDS_MAX, dice.random() < 0.5
    values: dict[str, object] = {"text": f"t{number}", "ms": ms}
    if kind < TREE_SHARE:
        cancelled = kind < TREE_SHARE * TREE_CANCELLED_SHARE
        values |= {"children": TREE_CHILDREN, "levels": 2, "ms": ms // TREE_CHILDREN}
        return Order(number, at, TREE, values, style, None, moment if cancelled else None)
    kind -= TREE_SHARE
    if kind < LARGE_SHARE:
        # What is that large goes as a blob, which the SDK sees to.
        values["text"] = f"{number:06d}." * (LARGE_BYTES // 7)
        return Order(number, at, WORK, values, True)
    kind -= LARGE_SHARE
    if kind < CANCELLED_SHARE:
        return Order(number, at, WORK, values, style, cancel_after=moment)
    timeout = DEADLINE_SECONDS if kind - CANCELLED_SHARE < DEADLINE_SHARE else None
    return Order(number, at, WORK, values, style, timeout)


def task_ms(dice: random.Random) -> int:
    """How long a task takes, in milliseconds."""
    seconds = dice.lognormvariate(math.log(TASK_SECONDS_MEDIAN), TASK_SECONDS_SIGMA)
    return int(1000 * min(seconds, TASK_SECONDS_MAX))
