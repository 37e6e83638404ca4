"""A workflow's control flow: what the interpreter needs to know of a definition, and no data.

Expressions and templates are not here: whoever performs what the interpreter wants evaluates them,
and tells it the outcome. So the interpreter never sees what steps give back, and stays small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

CONCURRENCY_DEFAULT = 100


class Kind(IntEnum):
    """What a step does."""

    CONTRACT = 1
    RUN = 2  # another workflow
    GATE = 3
    TIMER = 4
    SIGNAL = 5


class Rule(IntEnum):
    """How the items of a step decide about it. See `muster.v1.FanIn`."""

    ALL = 1
    FIRST = 2
    QUORUM = 3
    TOLERATE = 4


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step."""

    name: str
    kind: Kind
    depends_on: tuple[str, ...] = ()
    conditional: bool = False  # it has a condition of its own
    concurrency: int = CONCURRENCY_DEFAULT
    rule: Rule = Rule.ALL
    count: int = 0  # of the rule
    continues: bool = False  # the run goes on when it fails
    undoable: bool = False  # it has a compensation
    signal: str = ""  # the name of what is waited for


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a workflow by name, in the order of the definition. It has no cycle."""

    steps: Mapping[str, PlanStep]
    # By step: those that wait for it, in the order of the definition.
    followers: Mapping[str, Sequence[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        followers: dict[str, list[str]] = {name: [] for name in self.steps}
        for step in self.steps.values():
            for name in step.depends_on:
                followers.setdefault(name, []).append(step.name)
        object.__setattr__(self, "followers", followers)

    def after(self, name: str) -> frozenset[str]:
        """A step and all that depend on it, directly or not."""
        found = {name}
        grown = True
        while grown:
            more = {
                each.name
                for each in self.steps.values()
                if each.name not in found and not found.isdisjoint(each.depends_on)
            }
            found |= more
            grown = bool(more)
        return frozenset(found)
