"""The attempts that a host runs, whatever session they came by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from muster.agent.agent import Agent
from muster.agent.attempt import Attempt
from muster.agent.capability import Runs
from muster.agent.failures import (
    CAPABILITY_UNKNOWN,
    OUTPUT_REFUSED,
    PARKED,
    REPORT_REFUSED,
    Failed,
)
from muster.agent.messages import fill_failure
from muster.agent.session.core import Decision, SessionCore, Verdict
from muster.agent.session.core_outbox import Key, Lease
from muster.agent.topics.hearing import Topics
from muster.failpoints import failpoint
from muster.model.errors import MusterError
from muster.v1.session_pb2 import Assignment, Report

if TYPE_CHECKING:
    from muster.agent.blobs import Blobs
    from muster.agent.client import Client
    from muster.agent.consulting import Consultant
    from muster.agent.services import Services
    from muster.agent.spans import Spans
    from muster.agent.submitting import SubmitPipe
    from muster.agent.workers.pool import WorkerPool
    from muster.agent.workers.threads import ThreadPool

logger = logging.getLogger("muster.agent")


class Work:
    """Starts, stops and ends attempts. Its tasks live in the group that its host gives it."""

    def __init__(
        self,
        core: SessionCore,
        agents: Mapping[str, Agent],
        tasks: asyncio.TaskGroup,
        services: Services,
        wake: Callable[[], None],
        workers: int,
        spans: Spans | None = None,
    ) -> None:
        self.core = core
        self.spans = spans  # None while traces are off
        self.wake = wake
        self.topics = Topics(self, agents, tasks, wake)
        self._tasks = tasks
        self._services = services
        self._workers = workers
        self._attempts: dict[Key, Attempt] = {}
        self._agents = agents
        self._clock = asyncio.get_running_loop().time
        self._pools: dict[Runs, WorkerPool | ThreadPool] = {}
        self._client: Client | None = None
        self._consultant: Consultant | None = None
        self._pipe: SubmitPipe | None = None
        self._piping: asyncio.Task[None] | None = None

    # --- what the mesh asks for -------------------------------------------------------------------

    @failpoint("assignment_unaccepted")
    def assign(self, assignment: Assignment) -> None:
        """Takes an attempt, or says why not."""
        key = (assignment.key.contract_id, assignment.key.epoch)
        agent = self._agents.get(assignment.agent)
        if agent is None or self.core.leaving:
            self.core.outbox.give_back(key, "the agent is leaving")
            return
        lease = self.core.assign(key, agent.name)
        if lease is None:
            return
        wanted = (assignment.capability, assignment.capability_version)
        capability = agent.capabilities.get(wanted)
        if capability is None:
            message = f"{agent.name} does not offer {wanted[0]} {wanted[1]}"
            self._fail(lease, Failed(CAPABILITY_UNKNOWN, message, permanent=True))
            return
        attempt = Attempt(self, lease, assignment, capability, self._clock())
        self._attempts[key] = attempt
        attempt.task = self._tasks.create_task(attempt.run())

    def _fail(self, lease: Lease, failure: Failed) -> None:
        report = Report()
        report.key.contract_id, report.key.epoch = lease.key
        fill_failure(report.failure, failure)
        self.core.report(lease, report, report.ByteSize())

    def stop(self, key: Key, code: str) -> None:
        """Stops an attempt's code; it says so when it has."""
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.stop(code)

    def end_overdue(self) -> None:
        """Stops attempts past their deadline that no session would cancel any more."""
        now = self._clock()
        for attempt in list(self._attempts.values()):
            if not attempt.lease.live and attempt.overdue(now):
                self.core.decide(attempt.lease.key, Decision.DROP)
                attempt.stop("DEADLINE_EXCEEDED")

    def report_refused(self, lease: Lease, why: str) -> None:
        """A report was malformed: says so in its place."""
        logger.error("the report on %s was refused: %s", lease.key[0], why)
        self._fail(lease, Failed(REPORT_REFUSED, why, permanent=True))

    def refused(self, key: Key, field: str, error: MusterError) -> None:
        """The mesh has refused something that was said about an attempt."""
        if error.reason == "FENCED":
            lost = self.core.decide(key, Decision.DROP)
            if lost is not None:
                self.stop(key, "LEASE_LOST")
        elif field == "reports":
            lease = self.core.acknowledge(key, Verdict.REFUSED)
            if lease is not None:
                self.report_refused(lease, error.message)
        elif field == "items":
            self._output_refused(key, error.message)
        else:
            logger.warning("%s of %s refused: %s", field, key[0], error.message)

    def _output_refused(self, key: Key, why: str) -> None:
        """Stream items are missing at the mesh now, so the attempt cannot succeed any more."""
        logger.error("a stream item of %s was refused: %s", key[0], why)
        attempt = self._attempts.get(key)
        if attempt is not None and attempt.cancel_code is None:
            self._fail(attempt.lease, Failed(OUTPUT_REFUSED, why, permanent=True))
            attempt.stop(OUTPUT_REFUSED)

    def has_room(self, key: Key) -> None:
        """An attempt's window has room again."""
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.has_room()

    # --- what attempts need -----------------------------------------------------------------------

    @failpoint("report_unsent")
    def ended(self, attempt: Attempt, report: Report | None) -> None:
        """An attempt's code has ended; without a report where it was told to."""
        lease = attempt.lease
        self._attempts.pop(lease.key, None)
        has_asked = attempt.cancel_code == PARKED
        if report is None or (attempt.cancel_code is not None and not has_asked):
            if attempt.cancel_code != OUTPUT_REFUSED:
                self.core.stopped(lease)
        else:
            self.core.report(lease, report, report.ByteSize())
        self.wake()

    @property
    def blobs(self) -> Blobs:
        """The tenant's blobs."""
        return self._services.blobs

    @property
    def consultant(self) -> Consultant:
        """Who answers what code asks about the past."""
        if self._consultant is None:
            from muster.agent.consulting import Consultant

            self._consultant = Consultant(self._services)
        return self._consultant

    @property
    def client(self) -> Client:
        """A client on the host's own connections."""
        if self._client is None:
            from muster.agent.client import Client

            self._client = Client(self._services, self.submit_pipe(), self.spans)
        return self._client

    def submit_pipe(self) -> SubmitPipe:
        """The one stream on which all attempts of this host delegate."""
        if self._pipe is None:
            from muster.agent.submitting import SubmitPipe

            self._pipe = SubmitPipe(self._services.submit_stream)
            self._piping = self._tasks.create_task(self._pipe.run())
        return self._pipe

    def pool_for(self, runs: Runs) -> WorkerPool | ThreadPool:
        """Where sync code runs."""
        pool = self._pools.get(runs)
        if pool is None:
            if runs is Runs.WORKER:
                from muster.agent.workers.pool import WorkerPool

                pool = WorkerPool(self._workers)
            else:
                from muster.agent.workers.threads import ThreadPool

                pool = ThreadPool()
            self._pools[runs] = pool
        return pool

    async def close(self) -> None:
        """The host ends: whatever still runs is told to stop, and nobody waits to hear of it."""
        for attempt in list(self._attempts.values()):
            attempt.stop("HOST_LEAVING")
        self.topics.close()
        if self._piping is not None:
            self._piping.cancel()
        for pool in self._pools.values():
            await pool.close()
