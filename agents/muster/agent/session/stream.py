"""One stream of the agent session: what the core wants said goes out, what comes in is applied.

Frames batch by themselves: while one is being written, what accumulates goes into the next. The
read path never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc

from muster.agent.session.core import SessionCore
from muster.agent.session.frames import fill_held, request_of
from muster.model import limits
from muster.model.errors import Code, MusterError
from muster.v1.session_pb2 import AttachResult, Hello, ItemRefusal, ReportAck, Welcome
from muster.wire.errors import error_of_status
from muster.wire.times import seconds_of_duration

if TYPE_CHECKING:
    from muster.agent.agent import Agent
    from muster.agent.work import Work
    from muster.v1.agent_pb2 import AgentSpec
    from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse

    Call = grpc.aio.StreamStreamCall[ConnectRequest, ConnectResponse]

logger = logging.getLogger("muster.agent")

PROTOCOL_VERSION = 1
_TRY_AGAIN = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.INTERNAL})


class Session:
    """One stream. `run` returns when it has ended, and raises what ended it."""

    def __init__(
        self,
        core: SessionCore,
        work: Work,
        agents: dict[str, Agent],
        host: str,
        wake: asyncio.Event,
        clock: Callable[[], float],
    ) -> None:
        self._core = core
        self._work = work
        self._agents = agents
        self._host = host
        self._wake = wake
        self._clock = clock
        self._attach_again: set[str] = set()
        self._patience = asyncio.timeout(None)
        self.welcome: Welcome | None = None
        self.on_welcome: Callable[[Welcome], None] = lambda welcome: None
        self.on_settled: Callable[[], None] = lambda: None  # once, when every attach is answered
        self.on_drain: Callable[[float | None], None] = lambda grace: None
        self._unanswered = set(agents)
        self.refused: dict[str, MusterError] = {}  # agents that could not be attached, and why

    async def run(self, call: Call) -> None:
        """Talks until the stream ends, or until a host that leaves holds nothing more."""
        broken: grpc.RpcError | None = None
        async with asyncio.timeout(limits.HELLO_SECONDS) as self._patience:
            await call.write(self._greeting())
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(self._write(call))
                try:
                    await self._read(call)
                except grpc.RpcError as error:
                    broken = error
                finally:
                    writing.cancel()
        if broken is not None:
            raise broken

    def _greeting(self) -> ConnectRequest:
        frame = self._core.open()
        self._work.topics.new_session()
        request = request_of(frame, self._spec_of, 0)
        hello = request.hello
        hello.protocol_version = PROTOCOL_VERSION
        hello.host = self._host
        hello.last_session_epoch = self._core.session_epoch
        hello.frame_bytes_max = limits.MESSAGE_BYTES_MAX
        hello.reports_start = True
        hello.user_agent = "muster-python"
        fill_held(hello.held, frame.hello or ())
        self._introduce(hello)
        return request

    def _introduce(self, hello: Hello) -> None:
        """Names the agents; those that would make the hello too large are attached after it."""
        size = 0
        for name in self._agents:
            if size > limits.ITEM_BYTES_MAX // 2:
                self._attach_again.add(name)
                continue
            spec = self._spec_of(name)
            size += spec.ByteSize()
            hello.agents.append(spec)

    def _spec_of(self, name: str) -> AgentSpec:
        spec = self._agents[name].spec()
        if spec.event_subscriptions:
            self._work.topics.resume(spec)
        return spec

    @property
    def rejection(self) -> MusterError | None:
        """Why the mesh will have none of the agents; None while it has one."""
        if not self.refused or len(self.refused) < len(self._agents):
            return None
        return next(iter(self.refused.values()))

    # --- out --------------------------------------------------------------------------------------

    async def _write(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        core, wake = self._core, self._wake
        # What breaks a write breaks the read too, and there it is dealt with.
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            while not core.finished():
                frame = core.take(self._clock())
                if frame is not None:
                    if frame.heartbeat is not None:
                        self._retry_attaches()
                        self._work.end_overdue()
                    await call.write(request_of(frame, self._spec_of, core.items_dropped))
                    continue
                beat = loop.call_at(core.heartbeat_due, wake.set) if core.welcomed else None
                try:
                    await wake.wait()
                    wake.clear()
                finally:
                    if beat is not None:
                        beat.cancel()
            await call.done_writing()

    def _retry_attaches(self) -> None:
        for name in self._attach_again:
            self._core.outbox.attach(name)
        self._attach_again.clear()

    # --- in ---------------------------------------------------------------------------------------

    async def _read(self, call: Call) -> None:
        while True:
            frame = await call.read()
            if frame is grpc.aio.EOF:
                return
            self._apply(frame)  # type: ignore[arg-type]
            if self.rejection is not None:
                return

    def _apply(self, frame: ConnectResponse) -> None:
        core, work = self._core, self._work
        if frame.HasField("welcome"):
            self._apply_welcome(frame.welcome)
        for result in frame.attach_results:
            self._apply_attach(result)
        for verdict in frame.verdicts:
            lost = core.decide((verdict.key.contract_id, verdict.key.epoch), verdict.decision)
            if lost is not None:
                work.stop(lost.key, "LEASE_LOST")
        for ack in frame.report_acks:
            self._apply_ack(ack)
        for item_ack in frame.item_acks:
            key = (item_ack.key.contract_id, item_ack.key.epoch)
            if core.acknowledge_items(key, item_ack.index):
                work.has_room(key)
        for refusal in frame.refusals:
            self._apply_refusal(refusal)
        for cancel in frame.cancels:
            key = (cancel.key.contract_id, cancel.key.epoch)
            if core.cancel(key) is not None:
                work.stop(key, cancel.code or "CANCELLED")
        for assignment in frame.assignments:
            work.assign(assignment)
        for published in frame.publish_results:
            work.topics.published(published)
        for gap in frame.event_gaps:
            work.topics.missed(gap)
        for event in frame.events:
            work.topics.deliver(event)
        if frame.HasField("drain") and not frame.drain.agents:
            self.on_drain(seconds_of_duration(frame.drain.grace) or None)
        if frame.HasField("heartbeat_period") or frame.HasField("lease_duration"):
            self._set_pace(frame)
        core.seen(frame.frame_seq)
        if not core.outbox.empty:
            self._wake.set()

    def _apply_welcome(self, welcome: Welcome) -> None:
        self.welcome = welcome
        self._patience.reschedule(None)
        self._set_pace(welcome)
        self._core.set_limits(
            welcome.frame_items_max,
            welcome.frame_bytes_max,
            welcome.items_unacked_max,
            welcome.items_unacked_bytes_max,
        )
        self._core.welcome(welcome.session_epoch, self._clock())
        self._retry_attaches()
        self.on_welcome(welcome)
        self._settle()
        self._wake.set()

    def _set_pace(self, said: Welcome | ConnectResponse) -> None:
        self._core.set_pace(
            seconds_of_duration(said.heartbeat_period),
            seconds_of_duration(said.lease_duration),
            self._clock(),
        )

    def _apply_attach(self, result: AttachResult) -> None:
        error = error_of_status(result.error) if result.HasField("error") else None
        if error is not None and error.code in _TRY_AGAIN:
            self._attach_again.add(result.agent)  # with the next heartbeat
            return
        if error is None:
            self.refused.pop(result.agent, None)
        else:
            logger.error("%s was not attached: %s", result.agent, error.message)
            self.refused[result.agent] = error
        self.expect_no_result(result.agent)

    def expect_no_result(self, agent: str) -> None:
        """Nothing more is to come on an agent's attach: it is answered, or the agent taken off."""
        if agent in self._unanswered:
            self._unanswered.remove(agent)
            self._settle()

    def _settle(self) -> None:
        if self.welcome is not None and not self._unanswered:
            self.on_settled()

    def _apply_ack(self, ack: ReportAck) -> None:
        lease = self._core.acknowledge((ack.key.contract_id, ack.key.epoch), ack.verdict)
        if lease is not None:
            self._work.report_refused(lease, ack.error.message)

    def _apply_refusal(self, refusal: ItemRefusal) -> None:
        error = error_of_status(refusal.error)
        key = (refusal.key.contract_id, refusal.key.epoch)
        self._work.refused(key, refusal.field, error)
