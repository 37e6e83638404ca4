"""Connections to the services, opened when they are first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.agent.blobs import Blobs
from muster.agent.options import Targets
from muster.telemetry import tracing
from muster.wire.channel import Channels

if TYPE_CHECKING:
    import grpc

    from muster.agent.runs_starting import Starts
    from muster.agent.spans import Spans
    from muster.v1.agent_state_service_pb2_grpc import AgentStateServiceStub
    from muster.v1.blob_service_pb2_grpc import BlobServiceStub
    from muster.v1.conversation_service_pb2_grpc import ConversationServiceStub
    from muster.v1.event_service_pb2_grpc import EventServiceStub
    from muster.v1.inbox_service_pb2_grpc import InboxServiceStub
    from muster.v1.registry_service_pb2_grpc import RegistryServiceStub
    from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub
    from muster.v1.scheduler_service_pb2 import SubmitStreamRequest, SubmitStreamResponse
    from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
    from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub

    SubmitCall = grpc.aio.StreamStreamCall[SubmitStreamRequest, SubmitStreamResponse]


def spans_of_process(service: str, instance: str) -> Spans | None:
    """What makes spans in this process; None, and nothing is imported, while traces are off."""
    if not tracing.may_be_on():
        return None
    from muster.agent.spans import Spans

    return Spans.of_process(service, instance)


class Services:
    """Stubs of the services, one channel to each address."""

    def __init__(self, targets: Targets) -> None:
        self.targets = targets
        self._channels = Channels(targets.security)
        self._blobs: Blobs | None = None
        self._starts: Starts | None = None

    def _channel(self, target: str) -> grpc.aio.Channel:
        return self._channels.to(target)

    @property
    def scheduler(self) -> SchedulerServiceStub:
        from muster.v1.scheduler_service_pb2_grpc import SchedulerServiceStub

        return SchedulerServiceStub(self._channel(self.targets.scheduler))

    @property
    def events(self) -> EventServiceStub:
        from muster.v1.event_service_pb2_grpc import EventServiceStub

        return EventServiceStub(self._channel(self.targets.scheduler))

    @property
    def inbox(self) -> InboxServiceStub:
        from muster.v1.inbox_service_pb2_grpc import InboxServiceStub

        return InboxServiceStub(self._channel(self.targets.scheduler))

    @property
    def conversations(self) -> ConversationServiceStub:
        from muster.v1.conversation_service_pb2_grpc import ConversationServiceStub

        return ConversationServiceStub(self._channel(self.targets.scheduler))

    @property
    def states(self) -> AgentStateServiceStub:
        from muster.v1.agent_state_service_pb2_grpc import AgentStateServiceStub

        return AgentStateServiceStub(self._channel(self.targets.scheduler))

    @property
    def workflows(self) -> WorkflowServiceStub:
        from muster.v1.workflow_service_pb2_grpc import WorkflowServiceStub

        return WorkflowServiceStub(self._channel(self.targets.scheduler))

    @property
    def starts(self) -> Starts:
        from muster.agent.runs_starting import Starts

        if self._starts is None:
            self._starts = Starts(self)
        return self._starts

    @property
    def schedules(self) -> ScheduleServiceStub:
        from muster.v1.schedule_service_pb2_grpc import ScheduleServiceStub

        return ScheduleServiceStub(self._channel(self.targets.scheduler))

    @property
    def registry(self) -> RegistryServiceStub:
        from muster.v1.registry_service_pb2_grpc import RegistryServiceStub

        return RegistryServiceStub(self._channel(self.targets.registry))

    @property
    def blobs(self) -> Blobs:
        if self._blobs is None:
            self._blobs = Blobs(self._blob_stub, self.targets.metadata)
        return self._blobs

    def _blob_stub(self) -> BlobServiceStub:
        from muster.v1.blob_service_pb2_grpc import BlobServiceStub

        return BlobServiceStub(self._channel(self.targets.scheduler))

    def submit_stream(self) -> SubmitCall:
        """Begins a new call of SubmitStream."""
        return self.scheduler.SubmitStream(metadata=self.targets.metadata)

    async def close(self) -> None:
        """Closes every channel; calls that still run end."""
        await self._channels.close()
