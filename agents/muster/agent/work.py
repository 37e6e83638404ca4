"""The attempts that a host runs, whatever session they came by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from muster.agent.agent import Agent
from muster.agent.attempt import Attempt, fill_failure
from muster.agent.core import Decision, SessionCore, Verdict
from muster.agent.core_outbox import Key, Lease
from muster.agent.failures import CAPABILITY_UNKNOWN, REPORT_REFUSED, Failed
from muster.agent.values import Content
from muster.model.errors import MusterError
from muster.v1.payload_pb2 import Payload
from muster.v1.session_pb2 import Assignment, Report

logger = logging.getLogger("muster.agent")


class Work:
    """Starts, stops and ends attempts. Its tasks live in the group that its host gives it."""

    def __init__(
        self,
        core: SessionCore,
        agents: Iterable[Agent],
        tasks: asyncio.TaskGroup,
        wake: Callable[[], None],
    ) -> None:
        self.core = core
        self.wake = wake
        self._tasks = tasks
        self.on_drain: Callable[[float], None] = lambda seconds: None
        self._attempts: dict[Key, Attempt] = {}
        self._agents = {agent.name: agent for agent in agents}

    # --- what the mesh asks for -------------------------------------------------------------------

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
        capability = agent.capabilities.get((assignment.capability, assignment.capability_version))
        if capability is None:
            what = f"{agent.name} does not offer {assignment.capability}"
            self._refuse(lease, Failed(CAPABILITY_UNKNOWN, what, permanent=True))
            return
        attempt = self._attempts[key] = Attempt(self, lease, assignment, capability)
        attempt.task = self._tasks.create_task(attempt.run())

    def _refuse(self, lease: Lease, failure: Failed) -> None:
        report = Report()
        report.key.contract_id, report.key.epoch = lease.key
        fill_failure(report.failure, failure)
        self.core.report(lease, report, report.ByteSize())

    def stop(self, key: Key, code: str) -> None:
        """Stops an attempt's code; it says so when it has."""
        attempt = self._attempts.get(key)
        if attempt is not None and attempt.cancel_code is None:
            attempt.cancel_code = code
            if attempt.task is not None:
                attempt.task.cancel(code)

    def report_refused(self, lease: Lease, why: str) -> None:
        """A report was malformed: says so in its place."""
        logger.error("the report on %s was refused: %s", lease.key[0], why)
        self._refuse(lease, Failed(REPORT_REFUSED, why, permanent=True))

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
        else:
            logger.warning("%s of %s refused: %s", field, key[0], error.message)

    def has_room(self, key: Key) -> None:
        """An attempt's window has room again."""

    def drain(self, grace: float) -> None:
        """The mesh wants this host to finish and leave."""
        self.on_drain(grace)

    # --- what attempts say ------------------------------------------------------------------------

    def ended(self, attempt: Attempt, report: Report | None) -> None:
        """An attempt's code has ended; without a report where it was told to."""
        lease = attempt.lease
        self._attempts.pop(lease.key, None)
        if report is None or attempt.cancel_code is not None:
            self.core.stopped(lease)
        else:
            self.core.report(lease, report, report.ByteSize())
        self.wake()

    async def get_content(self, payload: Payload) -> Content:
        """What a payload holds, fetched where it is a blob."""
        kind = payload.WhichOneof("content")
        if kind == "json":
            return Content("json", payload.json)
        if kind == "message":
            return Content("message", payload.message.value, payload.message.TypeName())
        if kind == "binary":
            return Content("binary", payload.binary.data, payload.binary.media_type)
        return Content("")

    async def put_content(self, payload: Payload, content: Content) -> None:
        """Puts content into a payload, as a blob where it is large."""
        if content.kind == "json":
            payload.json = content.data  # type: ignore[assignment]
        elif content.kind == "message":
            payload.message.type_url = f"type.googleapis.com/{content.type_name}"
            payload.message.value = content.data  # type: ignore[assignment]

    def cancel_all(self) -> None:
        """The host ends: whatever still runs is told to stop, and nobody waits to hear of it."""
        for key in list(self._attempts):
            self.stop(key, "HOST_LEAVING")
