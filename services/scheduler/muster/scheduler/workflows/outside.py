"""The engine that is elsewhere: what its interpreters want is done here, when they say so.

The local engine does what a run wants as soon as its machine says so. Here the machine says the
same, and nothing is done before the engine's own machine, fed with the same entries, has come to it
and calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from muster.model import limits
from muster.model.errors import FailedPrecondition, InvalidArgument, MusterError
from muster.runtime.logs import get_logger
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.doing import Doing, NotYet, is_passing
from muster.scheduler.workflows.feeding import Feeds, Follower
from muster.scheduler.workflows.journal import without_data
from muster.scheduler.workflows.run import Run
from muster.v1.engine_pb2 import ChildRun, RunWant
from muster.v1.engine_service_pb2 import RunFeed
from muster.v1.workflow_run_pb2 import RunEvent
from muster.workflow import facts as f
from muster.workflow.exchange import want_of_message
from muster.workflow.facts import Want

_log = get_logger("muster.scheduler")


class OutsideEngine:
    """Use while `sweep` runs."""

    def __init__(self, scheduler: Scheduler, doing: Doing, *, expected: bool) -> None:
        """`expected` says that there will be workers, also where there are none yet."""
        self._scheduler = scheduler
        self._doing = doing
        self._expected = expected
        self._settle_is_set = False
        self._changed: dict[Follower, asyncio.Event] = {}
        self.feeds = Feeds()

    # --- what happens to runs ---------------------------------------------------------------------

    def require(self) -> None:
        """See `Engine.require`."""
        if not self._expected and not self.feeds.followers:
            raise FailedPrecondition(
                "this mesh has no Temporal; start it with: muster up --with temporal    (or name "
                "one: MUSTER_TEMPORAL=host:port, and run: python -m muster.engine)",
                reason="ENGINE_MISSING",
            )

    def wanted(self, run: Run, wants: Sequence[Want]) -> None:
        """See `Engine.wanted`."""
        self.feeds.hold(run, self._scheduler.clock().mono)
        self._settle_soon()

    def restored(self, run: Run) -> None:
        """See `Engine.restored`."""
        self.feeds.restored(run, self._scheduler.clock().mono)
        self._tell()

    def committed(self, run: Run, event: RunEvent) -> None:
        """See `Engine.committed`."""
        self.feeds.committed(run.id, bare(event))
        self._tell()

    def forgotten(self, run: Run) -> None:
        """See `Engine.forgotten`. Of a run that has ended, the last entry is still to be told."""
        if not run.machine.is_over:
            self.feeds.moved(run.id)
            self._tell()

    def _settle_soon(self) -> None:
        """The entry is to be committed, and what follows from it placed."""
        if not self._settle_is_set:
            self._settle_is_set = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settle_is_set = False
        self._scheduler.settle()

    async def sweep(self) -> None:
        """Look after what is not certain, without end."""
        alone = False
        while True:
            await asyncio.sleep(limits.FEED_SWEEP_SECONDS)
            self.feeds.sweep(self._scheduler.clock().mono)
            self._tell()
            if len(self.feeds) and not self.feeds.followers:
                if not alone:
                    _log.warning(
                        "runs wait for a worker of the engine; start one: muster serve engine",
                        runs=len(self.feeds),
                    )
                alone = True
            else:
                alone = False

    # --- who follows ------------------------------------------------------------------------------

    def follow(self, name: str) -> Follower:
        """A worker's stream begins."""
        follower = self.feeds.follow(name)
        self._changed[follower] = asyncio.Event()
        self._tell()
        return follower

    def unfollow(self, follower: Follower) -> None:
        """It has ended."""
        self.feeds.unfollow(follower)
        self._changed.pop(follower).set()
        self._tell()

    async def news(self, follower: Follower) -> list[RunFeed]:
        """The next frame; an empty one when another stream has taken this one's place."""
        changed = self._changed[follower]
        while not (found := follower.frame()) and not follower.closed:
            changed.clear()
            await changed.wait()
        return found

    def _tell(self) -> None:
        for changed in self._changed.values():
            changed.set()

    # --- what is wanted ---------------------------------------------------------------------------

    async def perform(self, run: Run, wanted: Sequence[RunWant]) -> float:
        """Have it done. Returns after how many seconds the rest may be tried again; 0: all is done,
        or is not wanted any more."""
        pauses: list[float] = []
        for number, message in enumerate(wanted):
            want = want_of_message(message)
            if want is None:
                raise InvalidArgument(f"wants[{number}] is of a kind that nobody wants")
            for part in _parts(want):
                pause = await self._perform(run, part)
                if pause:
                    pauses.append(pause)
        return min(pauses, default=0.0)

    async def _perform(self, run: Run, want: Want) -> float:
        try:
            while True:
                try:
                    self._doing.perform(run, want)
                    break
                except NotYet as wait:
                    self._scheduler.settle()
                    await wait.prepare()
        except MusterError as error:
            if is_passing(error):
                return error.retry_after_seconds or limits.RUN_RETRY_SECONDS
            self._doing.give_up(run, want, error.reason, error.message)
        except Exception as error:
            # Half of something may be in the batch: the process ends, and reads the record.
            self._scheduler.committer.stop(error)
            raise
        self._scheduler.settle()
        if isinstance(want, f.Wake) and run.machine.wants(want):
            # The engine's clock is ahead of this one.
            return max(0.001, (want.at_ms - self._scheduler.clock().wall_ms) / 1000)
        return 0.0

    def children(
        self, run: Run, wanted: Sequence[RunWant], is_open: Callable[[int], bool]
    ) -> Iterator[ChildRun]:
        """The open runs among the items that were to be done."""
        for message in wanted:
            for index in message.indexes:
                item = run.items.get((message.step, index))
                if item is not None and item.run_id and is_open(item.run_id):
                    yield ChildRun(step=message.step, index=index, run_id=f"{item.run_id:016x}")


def _parts(want: Want) -> Iterator[Want]:
    """What is done in one turn of the event loop."""
    if not isinstance(want, f.Do | f.Stop):
        yield want
        return
    size = limits.ENGINE_ITEMS_PER_TURN
    for first in range(0, len(want.indexes), size):
        yield want._replace(indexes=want.indexes[first : first + size])


def bare(event: RunEvent) -> RunEvent:
    """The entry with no more than the interpreter and its readers need."""
    made = without_data(event)
    if made.HasField("item_ended"):
        if made is event:
            made = RunEvent()
            made.CopyFrom(event)
        for name in ("failure", "contract_id", "run_id", "principal"):
            made.item_ended.ClearField(name)
    return made
