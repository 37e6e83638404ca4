"""The hosts of one kind of agents, whose number follows the demand: who is there, who leaves, and
what there should be. It decides, and starts and stops nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from muster.model.fleet import Fleet, HostJob, Kind, agents_per_host, replica
from muster.model.limits import HOST_LEAVE_SHARE
from muster.model.scaling import (
    Demand,
    HostLoad,
    Scaler,
    ScalingRules,
    free_number,
    leaving,
)
from muster.supervisor.presence import Presence
from muster.v1.scheduler_service_pb2 import GetStatisticsResponse
from muster.wire.times import seconds_of_duration

Demands = Mapping[str, Demand]  # by capability


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What is asked of a pool whose size follows the demand."""

    fleet: Fleet
    name: str
    # What hosts and agents are called after.

    logs: Path
    pool: str
    hosts_min: int
    hosts_max: int
    # Of each group.

    wait_seconds: float
    calm_seconds: float
    # See `ScalingRules`.

    drain_seconds: float
    # For a host that leaves; then it is killed.


def demands_of(statistics: GetStatisticsResponse) -> Demands:
    """What the scheduler says about each capability."""
    return {
        row.capability: Demand(
            row.queued,
            row.active,
            row.suspended,
            seconds_of_duration(row.oldest_wait),
        )
        for row in statistics.capabilities
    }


class Group:
    """The hosts that run one kind."""

    def __init__(self, plan: PoolPlan, kind: Kind) -> None:
        self.kind = kind
        self.demand = Demand()
        # What was seen last, and is this group's business.

        self.wanted = max(1, plan.hosts_min)
        # One is there at first in any case: it tells what its kind can do.

        self.capabilities: frozenset[str] = frozenset()
        self.rules = ScalingRules(
            plan.hosts_min,
            plan.hosts_max,
            agents_per_host(plan.fleet, kind) * kind.max_in_flight,
            plan.wait_seconds,
            plan.calm_seconds,
        )
        self._plan = plan
        self._scaler = Scaler(self.rules)
        self._staying: set[int] = set()
        self._leaving: set[int] = set()
        self._refused: set[int] = set()

    def name_of(self, number: int) -> str:
        """Of the host with this number."""
        return self.job(number).name

    def job(self, number: int) -> HostJob:
        """Of the host with this number."""
        plan = self._plan
        leave_seconds = HOST_LEAVE_SHARE * plan.drain_seconds
        return replica(plan.fleet, self.kind, number, plan.hosts_max, plan.name, leave_seconds)

    @property
    def staying(self) -> list[str]:
        """The hosts that are there and are to stay."""
        return [self.name_of(number) for number in sorted(self._staying)]

    @property
    def hosts(self) -> list[str]:
        """The hosts that are there, also those that leave."""
        return [self.name_of(number) for number in sorted(self._staying | self._leaving)]

    @property
    def is_lost(self) -> bool:
        """Whether nobody is there, because every host says that it cannot run."""
        return bool(self._refused) and not self._staying

    # --- what is seen -----------------------------------------------------------------------------

    def look(self, now: float, demands: Demands, presence: Presence) -> int:
        """Decides how many hosts there should be; `now` in monotonic seconds. Before the first has
        said what its kind can do, nothing is decided."""
        self.capabilities = presence.capabilities(self.kind.name) or self.capabilities
        if not self.capabilities:
            return self.wanted
        hosts = self.hosts
        found = Demand()
        for capability in self.capabilities:
            found = found.plus(demands.get(capability, Demand()))
        # What waits for children on other hosts is none of ours.
        own = Demand(found.queued, found.active, presence.suspended_on(hosts))
        self.demand = Demand(
            oldest_wait_seconds=found.oldest_wait_seconds,
        ).plus(own.beyond(presence.slots_elsewhere(self.kind.name, hosts)))
        self.wanted = self._scaler.decide(now, self.demand, len(self._staying))
        return self.wanted

    # --- who comes and goes -----------------------------------------------------------------------

    def to_start(self) -> list[int]:
        """The numbers of the hosts to start now; they stay from now on. Hosts that leave count
        until they are gone, so that there are never more than the maximum."""
        room = self.rules.hosts_max - len(self._taken())
        started = []
        for _ in range(min(room, self.wanted - len(self._staying))):
            started.append(free_number(self._taken()))
            self._staying.add(started[-1])
        return started

    def to_stop(self, presence: Presence) -> list[int]:
        """The numbers of the hosts that should leave now; they leave from now on."""
        held = presence.held()
        names = {number: self.name_of(number) for number in self._staying}
        loads = [HostLoad(n, held.get(name, 0), name in held) for n, name in names.items()]
        return self._begin_leaving(leaving(loads, len(loads) - self.wanted))

    def stop_all(self) -> list[int]:
        """The numbers of all that stay; they leave from now on."""
        return self._begin_leaving(sorted(self._staying))

    def gone(self, number: int) -> None:
        """A host that was to leave has left."""
        self._leaving.discard(number)

    def refused(self, name: str) -> None:
        """A host says that it can never run; its number is not used again."""
        for number in list(self._staying):
            if self.name_of(number) == name:
                self._staying.discard(number)
                self._refused.add(number)

    def _begin_leaving(self, numbers: Iterable[int]) -> list[int]:
        found = list(numbers)
        self._staying.difference_update(found)
        self._leaving.update(found)
        return found

    def _taken(self) -> set[int]:
        return self._staying | self._leaving | self._refused
