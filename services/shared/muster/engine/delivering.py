"""Says to each run's workflow what its journal says, until Temporal has taken it.

For each run there is one signal on its way at most; what comes meanwhile goes with the next one. A
signal starts the workflow where there is none: at first, when a run is tried again, and when
Temporal has lost what it had. Where a run waits and has nothing to say, only a look at what
Temporal runs shows that it lost it: `look`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from muster.engine.naming import RUN, SIGNAL, TASK_QUEUE, run_id_of, workflow_id
from muster.model import limits
from muster.runtime.logs import get_logger
from muster.v1.engine_pb2 import RunEntries
from muster.v1.engine_service_pb2 import RunFeed
from muster.v1.workflow_run_pb2 import RunEvent

Acknowledge = Callable[[str, int], None]  # a run, and the sequence that Temporal has

_RUNNING = f'WorkflowType="{RUN}" AND ExecutionStatus="Running"'
_SIGNAL_SECONDS = timedelta(seconds=5)
_LIST_SECONDS = timedelta(seconds=10)

_log = get_logger("muster.engine")


class Followed:
    """A run that this worker is told of."""

    __slots__ = (
        "acknowledge",
        "at",
        "due",
        "entries",
        "over",
        "queued",
        "run_id",
        "said",
        "sequence",
    )

    def __init__(self, run_id: str, acknowledge: Acknowledge) -> None:
        self.run_id = run_id
        self.acknowledge = acknowledge
        self.sequence = 0  # of the newest entry
        self.due = 0  # up to where Temporal is to be told
        self.said = 0  # up to where it was told, and took it
        self.entries: list[RunEvent] = []
        self.over = False
        self.queued = False
        self.at = 0.0  # monotonic seconds: when something was told or said

    def take(self) -> RunEntries:
        """What to say now."""
        message = RunEntries(run_id=self.run_id, sequence=self.sequence)
        size = 0
        for event in self.entries:
            size += event.ByteSize()
            if event.sequence > self.said and size < limits.ENGINE_ENTRIES_BYTES_MAX:
                message.entries.append(event)
        self.entries = []  # what did not fit is loaded
        return message


class Deliveries:
    """Use while the `loops` run. Talks to no client before there is one: `connected`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._client: Client | None = None
        self._has_client = asyncio.Event()
        self._runs: dict[str, Followed] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._look_now = asyncio.Event()
        self._failing = False
        self._had = ""  # the namespace's id
        self._past: dict[str, int] = {}  # what was delivered of runs that were told of before
        self.signals = 0  # since the process started
        self.failures = 0

    @property
    def waiting(self) -> int:
        """How many runs have something to say that Temporal has not taken."""
        return sum(run.queued for run in self._runs.values())

    @property
    def runs(self) -> int:
        """How many runs are followed."""
        return len(self._runs)

    def connected(self, client: Client) -> None:
        """There is Temporal."""
        self._client = client
        self._has_client.set()
        self._look_now.set()

    # --- what schedulers tell ---------------------------------------------------------------------

    def tell(self, feed: RunFeed, acknowledge: Acknowledge) -> None:
        """Something is new about a run."""
        run_id = feed.entries.run_id
        run = self._runs.get(run_id)
        if feed.gone:
            if run is not None and run.acknowledge == acknowledge:
                self._forget(run)
            return
        if run is None or run.acknowledge != acknowledge:
            run = self._runs[run_id] = Followed(run_id, acknowledge)
            run.said = self._past.pop(run_id, 0)
        run.over, run.at = feed.over, self._clock()
        run.sequence = max(run.sequence, feed.entries.sequence)
        run.entries.extend(feed.entries.entries)
        if len(run.entries) > limits.FEED_ENTRIES_MAX:
            run.entries.clear()  # they are loaded
        if feed.delivered >= run.sequence:
            return  # an answer has told it
        if run.said >= run.sequence:
            acknowledge(run_id, run.said)
        else:
            run.due = run.sequence
            self._put(run)

    def lost(self, acknowledge: Acknowledge) -> None:
        """A stream is broken: its runs are others' until they are told of again."""
        gone = [run for run in self._runs.values() if run.acknowledge == acknowledge]
        for run in gone:
            self._forget(run)
        self._past |= {run.run_id: run.said for run in gone if not run.over}
        for run_id in list(self._past)[: max(0, len(self._past) - limits.RUNS_OPEN_MAX)]:
            del self._past[run_id]

    def _forget(self, run: Followed) -> None:
        del self._runs[run.run_id]

    def _put(self, run: Followed) -> None:
        if not run.queued:
            run.queued = True
            self._queue.put_nowait(run.run_id)

    # --- what Temporal is told --------------------------------------------------------------------

    async def deliver(self) -> None:
        """Say what there is to say, without end; several may."""
        await self._has_client.wait()
        pause = limits.ENGINE_BACKOFF_SECONDS_MIN
        while True:
            run = self._runs.get(await self._queue.get())
            if run is None:
                continue
            message = run.take()
            if await self._say(run, message):
                pause = limits.ENGINE_BACKOFF_SECONDS_MIN
                self._said(run, message.sequence)
                continue
            run.entries[:0] = message.entries
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause)
            pause = min(2 * pause, limits.ENGINE_BACKOFF_SECONDS_MAX)
            self._queue.put_nowait(run.run_id)

    def _said(self, run: Followed, sequence: int) -> None:
        self._is_back()
        self.signals += 1
        run.queued, run.at = False, self._clock()
        run.said = max(run.said, sequence)
        if self._runs.get(run.run_id) is not run:
            return  # it was told anew meanwhile, and is said anew
        run.acknowledge(run.run_id, run.said)
        if run.said < run.due:
            self._put(run)
        elif run.over:
            self._forget(run)

    async def _say(self, run: Followed, message: RunEntries) -> bool:
        assert self._client is not None
        raw, name = message.SerializeToString(), workflow_id(run.run_id)
        try:
            if run.over:
                handle = self._client.get_workflow_handle(name)
                await handle.signal(SIGNAL, raw, rpc_timeout=_SIGNAL_SECONDS)
            else:
                await self._client.start_workflow(
                    RUN,
                    run.run_id,
                    id=name,
                    task_queue=TASK_QUEUE,
                    start_signal=SIGNAL,
                    start_signal_args=[raw],
                    rpc_timeout=_SIGNAL_SECONDS,
                )
        except RPCError as error:
            if run.over and error.status is RPCStatusCode.NOT_FOUND:
                return True  # it has completed
            self._failed(error)
            return False
        return True

    def _failed(self, error: RPCError) -> None:
        self.failures += 1
        if not self._failing:
            _log.warning("Temporal takes nothing; trying again", error=error.message)
        self._failing = True

    # --- what Temporal has ------------------------------------------------------------------------

    async def probe(self) -> None:
        """Notice when Temporal comes back, and when it is another one, without end."""
        await self._has_client.wait()
        while True:
            try:
                found = await self._namespace()
            except RPCError as error:
                self._failed(error)
            else:
                self._is_back()
                if found != self._had:
                    self._is_new(found)
            await asyncio.sleep(limits.ENGINE_PROBE_SECONDS)

    async def _namespace(self) -> str:
        """What tells one life of Temporal's data from another."""
        assert self._client is not None
        request = DescribeNamespaceRequest(namespace=self._client.namespace)
        found = await self._client.workflow_service.describe_namespace(
            request, timeout=_SIGNAL_SECONDS
        )
        return found.namespace_info.id

    def _is_new(self, found: str) -> None:
        had, self._had = self._had, found
        if had:
            _log.warning("Temporal has lost what it had", runs=len(self._runs))
            self._past.clear()
            self._begin_anew([run for run in self._runs.values() if not run.over])

    def _is_back(self) -> None:
        if self._failing:
            self._failing = False
            self._look_now.set()
            _log.info("Temporal is back")

    async def look(self) -> None:
        """Start what Temporal does not have, without end."""
        await self._has_client.wait()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.ENGINE_LOOK_SECONDS):
                    await self._look_now.wait()
            # Schedulers tell their level first, and what was started just now is not listed yet.
            self._look_now.clear()
            await asyncio.sleep(limits.ENGINE_LISTED_SECONDS)
            before = self._clock() - limits.ENGINE_LISTED_SECONDS
            try:
                running = await self._running()
            except RPCError as error:
                self._failed(error)
                continue
            self._revive(running, before)

    async def _running(self) -> set[str]:
        assert self._client is not None
        found = self._client.list_workflows(_RUNNING, page_size=1000, rpc_timeout=_LIST_SECONDS)
        return {run_id_of(each.id) async for each in found}

    def _revive(self, running: Iterable[str], before: float) -> None:
        have = set(running)
        lost = [
            run
            for run in self._runs.values()
            if run.run_id not in have and not run.queued and not run.over and run.at < before
        ]
        self._begin_anew(lost)
        if lost:
            _log.warning("runs that Temporal does not have are started there anew", runs=len(lost))

    def _begin_anew(self, runs: Iterable[Followed]) -> None:
        for run in runs:
            run.said, run.due = 0, run.sequence
            self._put(run)
