"""How many hosts a group should have. Pure.

A group of hosts is alike: each takes the same number of attempts at a time, its *slots*. From time
to time somebody looks at what waits and what runs, and asks how many hosts there should be.

- Up, at once: when contracts wait longer than they should, there are soon as many hosts as what
  waits and runs takes up. How much waits alone decides nothing: a thousand contracts of a
  millisecond are no reason for a second host. The size of the step comes from the load, not from
  the number of looks, so that looking again while new hosts start asks for no more.
- Down, slowly: when all that was seen during a whole calm period would have fitted fewer hosts with
  room to spare, some of those too many leave, a few at a time. A period begins anew with every
  change upwards and with every pause in which nobody looked.

The room to spare is the hysteresis: a load at which a host is taken away is less than any at which
one is added, so the same load never does both.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from muster.model import limits


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """What is asked of a group of hosts."""

    hosts_min: int
    hosts_max: int
    slots: int
    # Of one host: how many attempts it takes at a time.

    wait_seconds: float = limits.SCALING_WAIT_SECONDS
    # A contract should not wait longer for an agent. Less starts hosts for short bursts too.

    calm_seconds: float = limits.SCALING_CALM_SECONDS
    # Hosts leave after so long without need of them. Less follows the load more closely, and pays
    # with starts.

    def __post_init__(self) -> None:
        if not 0 <= self.hosts_min <= self.hosts_max or self.hosts_max < 1 or self.slots < 1:
            message = (
                f"a group has from {self.hosts_min} to {self.hosts_max} hosts of {self.slots} slots"
            )
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a look has shown: attempts and contracts that are this group's business."""

    queued: int = 0
    active: int = 0
    suspended: int = 0
    # Attempts that wait for children; they take no slot, but their host must stay.

    oldest_wait_seconds: float = 0.0

    def plus(self, other: Demand) -> Demand:
        """Both together."""
        return Demand(
            self.queued + other.queued,
            self.active + other.active,
            self.suspended + other.suspended,
            max(self.oldest_wait_seconds, other.oldest_wait_seconds),
        )

    def beyond(self, slots: int) -> Demand:
        """What is left of it where others than the group take so many attempts at a time."""
        return replace(self, active=max(0, self.active - slots))


class Scaler:
    """Decides for one group. Instants are monotonic seconds."""

    def __init__(self, rules: ScalingRules) -> None:
        self.rules = rules
        self._calm_since = -math.inf  # from here on every look counts
        self._looked_at = -math.inf
        self._left_at = -math.inf  # when hosts were last told to leave
        # Hosts that each look would have had room in; falling, so that the first is the highest.
        self._roomy: deque[tuple[float, int]] = deque()

    def decide(self, now: float, demand: Demand, hosts: int) -> int:
        """How many hosts there should be, of which there are `hosts` that stay."""
        rules = self.rules
        if now - self._looked_at > limits.SCALING_GAP_SECONDS:
            self._begin_calm(now)
        self._looked_at = now
        self._note(now, self._bounded(self._roomy_for(demand)))
        if hosts < rules.hosts_min or hosts > rules.hosts_max:
            return self._bounded(hosts)
        needed = self._bounded(math.ceil((demand.queued + demand.active) / rules.slots))
        if needed > hosts and self._waits(demand, hosts):
            self._begin_calm(now)
            return needed
        return self._after_calm(now, hosts)

    def _waits(self, demand: Demand, hosts: int) -> bool:
        """Whether somebody has waited too long, or will: nobody is there at all."""
        late = demand.oldest_wait_seconds >= self.rules.wait_seconds
        return demand.queued > 0 and (late or hosts == 0)

    def _after_calm(self, now: float, hosts: int) -> int:
        enough = self._roomy[0][1]
        is_calm = now - self._calm_since >= self.rules.calm_seconds
        may_leave = now - self._left_at >= limits.SCALING_LEAVE_SECONDS
        if enough >= hosts or not is_calm or not may_leave:
            return hosts
        self._left_at = now
        step = max(1, math.floor(hosts * limits.SCALING_LEAVE_SHARE))
        return max(enough, hosts - step)

    def _roomy_for(self, demand: Demand) -> int:
        load = demand.queued + demand.active + demand.suspended
        return math.ceil(load / (self.rules.slots * limits.SCALING_LOAD_SHARE))

    def _bounded(self, hosts: int) -> int:
        return min(max(hosts, self.rules.hosts_min), self.rules.hosts_max)

    def _begin_calm(self, now: float) -> None:
        self._calm_since = now
        self._roomy.clear()

    def _note(self, now: float, hosts: int) -> None:
        while self._roomy and self._roomy[-1][1] <= hosts:
            self._roomy.pop()
        self._roomy.append((now, hosts))
        while self._roomy[0][0] < now - self.rules.calm_seconds:
            self._roomy.popleft()


@dataclass(frozen=True, slots=True)
class HostLoad:
    """A host that could be asked to leave."""

    number: int
    # Of the host in its group; it grows with each start, unless one was free.

    held: int = 0
    # Attempts that it holds, suspended ones included.

    connected: bool = True
    # Whether the mesh has welcomed it.


def leaving(hosts: Iterable[HostLoad], count: int) -> list[int]:
    """The numbers of so many hosts that should leave: those that do nothing yet, then the idlest;
    of equals those with the highest numbers, which are the newest."""
    by_loss = sorted(hosts, key=lambda host: (host.connected, host.held, -host.number))
    return [host.number for host in by_loss[: max(0, count)]]


def free_number(taken: Iterable[int]) -> int:
    """The lowest number from 1 on that no host of the group has."""
    held = set(taken)
    return next(number for number in range(1, len(held) + 2) if number not in held)
