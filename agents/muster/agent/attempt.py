"""One attempt at a host: from its assignment to its report."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from muster.agent.attempt_port import AttemptPort
from muster.agent.capability import Capability, Runs
from muster.agent.contents import fetch, fill, fill_small, is_small
from muster.agent.context import Facts
from muster.agent.failures import AGENT_ERROR, PARKED, Failed
from muster.agent.inquiry import Inquiry
from muster.agent.messages import facts_of, fill_failure, fill_question, fill_usage
from muster.agent.performing import failed_of, perform_async
from muster.agent.session.core_outbox import Key, Lease
from muster.agent.values import Content
from muster.agent.workers import sync_desk
from muster.agent.workers.pipe import Message
from muster.agent.workers.turns import Turns
from muster.failpoints import failpoint
from muster.v1.session_pb2 import Assignment, Report
from muster.wire.times import seconds_of_duration

logger = logging.getLogger("muster.agent")

if TYPE_CHECKING:
    from muster.agent.work import Work


class Attempt:
    """An attempt that this host runs; towards worker processes and threads it is their `Job`."""

    __slots__ = (
        "_facts",
        "_has_begun",
        "_port",
        "_turns",
        "_waiting",
        "assignment",
        "cancel_code",
        "capability",
        "inquiry",
        "lease",
        "received",
        "task",
        "work",
    )

    def __init__(
        self,
        work: Work,
        lease: Lease,
        assignment: Assignment,
        capability: Capability,
        received: float,
    ) -> None:
        self.work = work
        self.lease = lease
        self.assignment = assignment
        self.capability = capability
        self.received = received  # by the loop's clock
        self.task: asyncio.Task[None] | None = None
        self.cancel_code: str | None = None
        self.inquiry: Inquiry | None = None  # what it has ended with
        self._has_begun = False
        self._facts: Facts | None = None
        self._port: AttemptPort | None = None
        self._turns: Turns | None = None
        self._waiting = 0  # how many awaits of children there are

    # --- from assignment to report ----------------------------------------------------------------

    async def run(self) -> None:
        """Runs the capability and hands its report in. The body of the attempt's task."""
        report: Report | None = None
        self._has_begun = True
        try:
            report = await self._perform()
        except asyncio.CancelledError:
            if self.cancel_code is None:
                raise
        except Exception:
            # Whatever this is, it must not take the other attempts with it.
            logger.exception("attempt %s could not be reported", self.lease.key[0])
            report = self._empty_report()
            fill_failure(report.failure, Failed(AGENT_ERROR, "its report could not be made"))
        finally:
            if self.inquiry is not None and self.cancel_code == PARKED:
                report = self._question(self.inquiry)
            self.work.ended(self, report)

    def _empty_report(self) -> Report:
        report = Report()
        report.key.contract_id, report.key.epoch = self.lease.key
        return report

    def ask(self, inquiry: Inquiry) -> None:
        """Its code asks a person, so it is over; it is reported when the code has ended."""
        if self.cancel_code is None:
            self.inquiry = inquiry
            self.stop(PARKED)

    def _question(self, inquiry: Inquiry) -> Report:
        report = self._empty_report()
        fill_question(report.question, inquiry)
        if self._port is not None:
            self._add_what_was_said(self._port, report)
        return report

    async def _perform(self) -> Report:
        report = self._empty_report()
        try:
            content = await self._output()
            if is_small(content):
                fill_small(report.payload, content)
            else:
                await fill(report.payload, content, self.work.blobs)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self.cancel_code is not None or task is None or task.cancelling():
                raise
            fill_failure(report.failure, failed_of(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - all of it goes into the report
            fill_failure(report.failure, failed_of(error))
        if self._port is not None:
            self._add_what_was_said(self._port, report)
        return report

    async def _output(self) -> Content:
        capability, payload = self.capability, self.assignment.payload
        content = (
            Content("json", payload.json)
            if payload.HasField("json")
            else await fetch(payload, self.work.blobs)
        )
        if capability.runs is not Runs.LOOP:
            pool = self.work.pool_for(capability.runs)
            self._turns = pool.turns
            return await pool.run(self, content)
        spans = self.work.spans
        if spans is not None and self.assignment.HasField("trace_context"):
            with spans.run(self.facts, failed_of):
                return await perform_async(self, content)
        return await perform_async(self, content)

    def _add_what_was_said(self, port: AttemptPort, report: Report) -> None:
        port.close()
        report.output_chunks = port.chunks
        if port.usage is not None:
            fill_usage(report, port.usage)

    def stop(self, code: str) -> None:
        """The mesh wants it stopped."""
        if self.cancel_code is not None:
            return
        self.cancel_code = code
        if self.task is not None:
            self.task.cancel(code)
        if not self._has_begun:  # a task that is cancelled before its first step takes none
            self.work.ended(self, None)

    def overdue(self, now: float) -> bool:
        """Whether its contract's deadline has passed, by the time left that the mesh named."""
        assignment = self.assignment
        if not assignment.HasField("time_left"):
            return False
        return now > self.received + seconds_of_duration(assignment.time_left)

    def has_room(self) -> None:
        """Its window has room for stream items again."""
        if self._port is not None:
            self._port.has_room()

    # --- waiting for children ---------------------------------------------------------------------

    def begin_waiting(self) -> None:
        """Its code awaits a child: the attempt is suspended while it awaits any."""
        self._waiting += 1
        if self._waiting == 1:
            self.work.core.suspend(self.lease)
            if self._turns is not None:
                self._turns.suspend(self.assignment.depth)
            self.work.wake()

    def end_waiting(self) -> None:
        """One await has ended."""
        self._waiting -= 1
        if self._waiting == 0:
            self.work.core.resume(self.lease)
            if self._turns is not None:
                self._turns.resume(self.assignment.depth)
            self.work.wake()

    # --- as a job ---------------------------------------------------------------------------------

    @property
    def key(self) -> Key:
        return self.lease.key

    @property
    def facts(self) -> Facts:
        """What the assignment says."""
        if self._facts is None:
            self._facts = facts_of(self.assignment)
        return self._facts

    @property
    def port(self) -> AttemptPort:
        """What its code says and asks goes through it."""
        if self._port is None:
            self._port = AttemptPort(self)
        return self._port

    @failpoint("attempt_running")
    def started(self) -> None:
        self.work.core.start(self.lease)
        self.work.wake()

    def tell(self, message: Message) -> None:
        sync_desk.tell(self.port, message)

    async def serve(self, message: Message) -> tuple[dict[str, Any], Sequence[Content]]:
        return await sync_desk.serve(self.port, message)
