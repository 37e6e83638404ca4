"""A fleet: kinds of agents, and how they are spread over hosts. Pure.

Agents of a kind are dealt to the hosts like cards, and the next kind goes on where the last one
stopped. So hosts differ by one agent at most, no host holds two agents more of a kind than another,
and a host that dies takes a kind with it only when it held the kind's only agent.

Where the number of hosts changes while they run (`muster pool`), a kind has hosts of its own, each
with as many of its agents as it would have there; see `replica`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from muster.model import limits


@dataclass(frozen=True, slots=True)
class Kind:
    """Agents that are alike.

    `capabilities` says where they come from: "package.module:attribute" or "file.py:attribute",
    where the attribute is an `Agent`, or a function that takes one and adds capabilities to it; or
    "agent.yaml", an agent without code.
    """

    name: str
    count: int
    capabilities: tuple[str, ...]
    max_in_flight: int = 1
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is run: `hosts` processes, each with `workers` more that compute at a time."""

    name: str
    hosts: int
    kinds: tuple[Kind, ...]
    workers: int = 1
    paths: tuple[str, ...] = ()
    # Folders that modules and files are looked for in, besides the installed ones.

    @property
    def agents(self) -> int:
        """How many there are of all kinds."""
        return sum(kind.count for kind in self.kinds)


@dataclass(frozen=True, slots=True)
class AgentGroup:
    """The agents of one kind on one host: the numbers first, first + step, … up to the count.

    An agent is called after its kind and its number: "research-007" of 100.
    """

    kind: Kind
    first: int
    step: int
    prefix: str = ""
    # What the names begin with, where the kind alone does not make them unique.

    @property
    def names(self) -> list[str]:
        """Of every agent of the group."""
        digits = len(str(self.kind.count))
        numbers = range(self.first, self.kind.count + 1, self.step)
        return [f"{self.prefix}{self.kind.name}-{number:0{digits}d}" for number in numbers]


@dataclass(frozen=True, slots=True)
class HostJob:
    """What one host process runs. `name` is the host's, unique within the tenant."""

    name: str
    groups: tuple[AgentGroup, ...]
    workers: int = 1
    paths: tuple[str, ...] = ()
    leave_seconds: float = limits.HOST_LEAVE_SECONDS
    # When it is told to stop, it finishes what it can in this time; its pool allows it more.

    @property
    def agents(self) -> list[str]:
        """The names of all agents."""
        return [name for group in self.groups for name in group.names]

    def to_json(self) -> str:
        """The job as text, for a process that is started with it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> HostJob:
        """The job that `to_json` wrote; raises `ValueError` for anything else."""
        try:
            value: Any = json.loads(text)
            groups = tuple(
                AgentGroup(
                    _kind(each["kind"]), int(each["first"]), int(each["step"]), each["prefix"]
                )
                for each in value["groups"]
            )
            return cls(
                value["name"],
                groups,
                int(value["workers"]),
                tuple(value["paths"]),
                float(value["leave_seconds"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"this is not a host's job: {error!r}"
            raise ValueError(message) from None


def _kind(value: dict[str, Any]) -> Kind:
    return Kind(**{**value, "capabilities": tuple(value["capabilities"])})


def spread(fleet: Fleet) -> list[HostJob]:
    """The jobs of the fleet's hosts; a host that would have no agents is left out."""
    groups: list[list[AgentGroup]] = [[] for _ in range(fleet.hosts)]
    dealt = 0
    for kind in fleet.kinds:
        for nth in range(min(fleet.hosts, kind.count)):
            groups[(dealt + nth) % fleet.hosts].append(AgentGroup(kind, nth + 1, fleet.hosts))
        dealt += kind.count
    return [
        HostJob(f"{fleet.name}-{number}", tuple(held), fleet.workers, fleet.paths)
        for number, held in enumerate(groups, 1)
        if held
    ]


def agents_per_host(fleet: Fleet, kind: Kind) -> int:
    """How many agents of a kind a host has that runs nothing else: its share in the fleet."""
    return -(-kind.count // fleet.hosts)


def replica(
    fleet: Fleet, kind: Kind, number: int, hosts_max: int, name: str, leave_seconds: float
) -> HostJob:
    """The job of host `number`, from 1 to `hosts_max`, of those that run this kind alone.

    Host and agents are called after the pool, `name`: the host "demo-counter-2" of at most eight
    runs "demo-counter-02", "demo-counter-10", …. So no two of a pool's hosts or agents have one
    name, and what a host runs does not depend on how many others there are.
    """
    whole = replace(kind, count=agents_per_host(fleet, kind) * hosts_max)
    group = AgentGroup(whole, number, hosts_max, f"{name}-")
    host = f"{name}-{kind.name}-{number}"
    return HostJob(host, (group,), fleet.workers, fleet.paths, leave_seconds)
