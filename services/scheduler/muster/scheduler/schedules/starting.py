"""What ticks start: what is wanted of any kind of thing, and contracts. Runs: `run_starting`."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple, Protocol

from muster.model.errors import FailedPrecondition, MusterError, NotFound
from muster.runtime.principal import Principal
from muster.scheduler.messages_in import contract_of, refuse_unserved
from muster.scheduler.records import Now
from muster.scheduler.service import Scheduler
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Response
from muster.v1.schedule_pb2 import ScheduleAction
from muster.wire.times import ms_of_duration, timestamp_of_ms


class Told(Protocol):
    """Who is told what becomes of what was started. Told at once; nothing may be raised."""

    def ended(self, target: int) -> None:
        """It has ended, and that is durable."""

    def found(self, target: int, other: int) -> None:
        """It is nothing: this other thing was there already under the same id."""

    def refused(self, target: int, error: MusterError) -> None:
        """It is nothing: something else was there already under the same id."""


class StartOf(NamedTuple):
    """One start: what a tick gives to what it starts."""

    id: str  # the same whenever this tick is started; with "/", so that no client can choose it
    shard: int  # where it is to live
    made_ms: int  # when the schedule was created: one of this name may have been there before
    labels: dict[str, str]


class Starts(Protocol):
    """A kind of thing that can be started."""

    async def check(self, caller: Principal, action: ScheduleAction) -> None:
        """Raises a `MusterError` where this action would be refused, as far as can be seen now."""

    async def get_ready(self, tenant: str, action: ScheduleAction) -> None:
        """Look up what `start` needs to know, as it cannot wait. Nothing is refused."""

    def start(
        self,
        now: Now,
        tenant: str,
        principal: str,
        action: ScheduleAction,
        start: StartOf,
        told: Told,
    ) -> int:
        """Start it with what else is in the batch that is being filled; returns its id.

        Raises a `MusterError` where it is refused, and has then done nothing. The caller calls
        `Scheduler.settle` before it waits for anything.
        """
        ...

    async def open_among(self, targets: Collection[int]) -> set[int]:
        """Which of these have not ended, as the ledger has it."""
        ...

    def listen(self, target: int, told: Told) -> None:
        """Tell of the end of something that was started before."""

    def cancel(self, now: Now, tenant: str, target: int, reason: str) -> None:
        """Have it cancelled. What has ended already is left alone; the end is told as any is."""


class ContractStarts:
    """Starts contracts."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def check(self, caller: Principal, action: ScheduleAction) -> None:
        """See `Starts.check`."""
        request = action.contract.request
        caller.require_submit(request.capability.name)
        refuse_unserved(request)
        await self.get_ready(caller.tenant, action)
        wanted = request.capability
        _, check_payload = self._scheduler.route(caller.tenant, wanted.name, wanted.version)
        check_payload(request.payload)

    async def get_ready(self, tenant: str, action: ScheduleAction) -> None:
        """See `Starts.get_ready`."""
        wanted = action.contract.request.capability
        try:
            self._scheduler.route(tenant, wanted.name, wanted.version)
        except NotFound:
            await self._scheduler.learn(tenant, wanted.name)

    def start(
        self,
        now: Now,
        tenant: str,
        principal: str,
        action: ScheduleAction,
        start: StartOf,
        told: Told,
    ) -> int:
        """See `Starts.start`."""
        scheduler = self._scheduler
        scheduler.committer.require_room()
        request = Request()
        request.CopyFrom(action.contract.request)
        request.request_id = start.id
        request.labels.update(start.labels)
        if action.contract.HasField("timeout"):
            deadline_ms = now.wall_ms + ms_of_duration(action.contract.timeout)
            request.deadline.CopyFrom(timestamp_of_ms(deadline_ms))
        wanted = request.capability
        selector, check_payload = scheduler.route(tenant, wanted.name, wanted.version)
        check_payload(request.payload)
        made = contract_of(request, tenant, principal, selector, now.wall_ms, None)
        made.home = start.shard
        listener = _Listener(told)
        listener.target = scheduler.accept(now, made, listener).id
        return listener.target

    async def open_among(self, targets: Collection[int]) -> set[int]:
        """See `Starts.open_among`."""
        found = await self._scheduler.ledger.load(sorted(targets)) if targets else []
        return {each.id for each in found if each.response is None}

    def listen(self, target: int, told: Told) -> None:
        """See `Starts.listen`."""
        listener = _Listener(told)
        listener.target = target
        self._scheduler.listen(target, listener)

    def cancel(self, now: Now, tenant: str, target: int, reason: str) -> None:
        """See `Starts.cancel`."""
        with suppress(NotFound, FailedPrecondition):
            self._scheduler.core.cancel(now, target, tenant, reason)


class _Listener:
    """Passes on what is said about a contract."""

    def __init__(self, told: Told) -> None:
        self.target = 0
        self._told = told

    def on_accepted(self, request_id: str, contract_id: int, *, duplicate: bool) -> None:
        """See `Listener`."""
        if contract_id != self.target:
            self._told.found(self.target, contract_id)
            self.target = contract_id

    def on_refused(self, request_id: str, error: MusterError) -> None:
        """See `Listener`."""
        self._told.refused(self.target, error)

    def on_ended(self, contract_id: int, response: Response) -> None:
        """See `Listener`."""
        self._told.ended(self.target)

    def on_moved(self, error: MusterError) -> None:
        """See `Listener`. The schedule has moved with it, and its new owner listens."""
