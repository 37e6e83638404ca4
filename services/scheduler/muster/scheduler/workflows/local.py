"""The local engine: does what runs want as soon as their journals say so, in this process.

It keeps nothing of its own. After a restart the machines say what is outstanding.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Sequence

from muster.model import limits
from muster.model.errors import MusterError
from muster.runtime.lifetime import Run as Loop
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.doing import Doing, NotYet, is_passing
from muster.scheduler.workflows.run import Run
from muster.scheduler.workflows.starts_first import StartsFirst
from muster.v1.workflow_run_pb2 import RunEvent
from muster.workflow import facts as f
from muster.workflow.facts import Want

PREPARED_AT_ONCE = 8  # blobs that are read or stored at a time
LOOK_SECONDS = 1.0  # how soon a wall clock that has moved is noticed

Todo = tuple[Run, Want]


class LocalEngine:
    """Use while `run` and the `prepare` loops run."""

    def __init__(self, scheduler: Scheduler, doing: Doing, starts: StartsFirst) -> None:
        self._scheduler = scheduler
        self._starts = starts
        self._doing = doing
        self._todo: deque[Todo] = deque()
        self._later: list[Todo] = []  # the mesh could not take them
        self._preparing: asyncio.Queue[tuple[Run, Want, NotYet]] = asyncio.Queue()
        self._timers: list[tuple[int, int, Run, f.Wake]] = []
        self._timer_count = 0
        self._earlier = asyncio.Event()  # a timer is due before what is slept for
        self._turn_is_set = False

    # --- what runs want ---------------------------------------------------------------------------

    def require(self) -> None:
        """See `Engine.require`. It is always there."""

    def wanted(self, run: Run, wants: Sequence[Want]) -> None:
        """See `Engine.wanted`."""
        for want in wants:
            if isinstance(want, f.Wake):
                self._set_timer(run, want)
            else:
                self._todo.append((run, want))
        self._turn_soon()  # also where nothing is wanted: the entry is to be committed

    def restored(self, run: Run) -> None:
        """See `Engine.restored`."""
        self.wanted(run, run.machine.outstanding())

    def committed(self, run: Run, event: RunEvent) -> None:
        """See `Engine.committed`. What follows from it was done in the same commit."""

    def forgotten(self, run: Run) -> None:
        """See `Engine.forgotten`. What is left to do for it is passed over."""

    @property
    def waiting(self) -> int:
        """How much there is to do."""
        return len(self._todo) + len(self._later) + self._preparing.qsize()

    def _turn_soon(self) -> None:
        if not self._turn_is_set:
            self._turn_is_set = True
            self._starts.turn_soon(self._turn)

    def _turn(self) -> None:
        """Do some of what is wanted, and let the scheduler follow."""
        self._turn_is_set = False
        try:
            for _ in range(limits.RUN_WANTS_PER_TURN):
                if not self._todo:
                    break
                self._do(*self._todo.popleft())
        except Exception as error:  # noqa: BLE001 - the committer raises it
            # Half of something may be in the batch: the process ends, and reads the record.
            self._scheduler.committer.stop(error)
            return
        self._scheduler.settle()
        if self._todo:
            self._turn_soon()

    def _do(self, run: Run, want: Want) -> None:
        try:
            self._doing.perform(run, want)
        except NotYet as error:
            self._preparing.put_nowait((run, want, error))
        except MusterError as error:
            self._not_now(run, want, error)

    def _not_now(self, run: Run, want: Want, error: MusterError) -> None:
        if is_passing(error):
            self._later.append((run, want))
        else:
            self._doing.give_up(run, want, error.reason, error.message)

    # --- loops ------------------------------------------------------------------------------------

    @property
    def loops(self) -> list[Loop]:
        """What must run beside."""
        return [self._wake, self._try_again, *([self._prepare] * PREPARED_AT_ONCE)]

    async def _prepare(self) -> None:
        """Read and store what must be read and stored first."""
        while True:
            run, want, wait = await self._preparing.get()
            try:
                await wait.prepare()
            except MusterError as error:
                self._not_now(run, want, error)
            else:
                self._todo.append((run, want))
            self._turn_soon()

    async def _try_again(self) -> None:
        while True:
            await asyncio.sleep(limits.RUN_RETRY_SECONDS)
            if self._later and not self._scheduler.committer.failing:
                again, self._later = self._later, []
                self._todo.extend(again)
                self._turn_soon()

    async def _wake(self) -> None:
        """Have what is due done. Instants are on the wall clock, which may move."""
        while True:
            self._earlier.clear()
            now_ms = self._scheduler.clock().wall_ms
            while self._timers and self._timers[0][0] <= now_ms:
                _, _, run, want = heapq.heappop(self._timers)
                self._todo.append((run, want))
                self._turn_soon()
            pause = LOOK_SECONDS
            if self._timers:
                pause = min(pause, (self._timers[0][0] - now_ms) / 1000)
            try:
                async with asyncio.timeout(pause):
                    await self._earlier.wait()
            except TimeoutError:
                pass

    def _set_timer(self, run: Run, want: f.Wake) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (want.at_ms, self._timer_count, run, want))
        if self._timers[0][3] is want:
            self._earlier.set()
        if len(self._timers) > 2 * limits.RUNS_OPEN_MAX:
            alive = [each for each in self._timers if not each[2].machine.is_over]
            if len(alive) < len(self._timers) // 2:
                heapq.heapify(alive)
                self._timers = alive
