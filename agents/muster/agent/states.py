"""What agents keep for themselves, as clients and agents' code ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from muster.agent.contents import fill_small, is_small
from muster.agent.services import Services
from muster.agent.values import Content
from muster.model import limits
from muster.model.errors import InvalidArgument
from muster.v1 import agent_state_service_pb2 as pb
from muster.wire.errors import answer_of

if TYPE_CHECKING:
    from muster.agent.options import Metadata
    from muster.v1.agent_state_pb2 import KeptState
    from muster.v1.agent_state_service_pb2_grpc import AgentStateServiceStub


class States:
    """Values of the tenant's agents. Errors of the mesh are `MusterError`s."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def get(self, agent: str, name: str) -> KeptState:
        """One value. Raises `NotFound`, with STATE_UNKNOWN."""
        request = pb.GetStateRequest(agent=agent, name=name)
        return (await answer_of(self._stub.GetState(request, metadata=self._metadata))).state

    async def put(
        self,
        agent: str,
        name: str,
        content: Content,
        *,
        expected_revision: int | None = None,
        put_id: str = "",
    ) -> KeptState:
        """Writes, and returns the state without its value once it is durable. Raises `MusterError`
        with STATE_CHANGED where the revision is not the expected one."""
        if not is_small(content):
            most = limits.AGENT_STATE_BYTES_MAX
            text = f"an agent keeps at most {most} bytes under a name; put a blob, and keep that"
            raise InvalidArgument(text)
        request = pb.PutStateRequest(
            agent=agent, name=name, expected_revision=expected_revision, put_id=put_id
        )
        fill_small(request.value, content)
        return (await answer_of(self._stub.PutState(request, metadata=self._metadata))).state

    async def list(self, agent: str, prefix: str = "") -> AsyncIterator[KeptState]:
        """What an agent keeps, by name, without values."""
        request = pb.ListStateRequest(
            agent=agent, name_prefix=prefix, page_size=limits.PAGE_SIZE_MAX
        )
        while True:
            page = await answer_of(self._stub.ListState(request, metadata=self._metadata))
            for state in page.states:
                yield state
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    async def delete(self, agent: str, name: str, *, expected_revision: int | None = None) -> bool:
        """Whether there was something to delete. Raises as `put`."""
        request = pb.DeleteStateRequest(agent=agent, name=name, expected_revision=expected_revision)
        return (await answer_of(self._stub.DeleteState(request, metadata=self._metadata))).deleted

    @property
    def _stub(self) -> AgentStateServiceStub:
        return self._services.states

    @property
    def _metadata(self) -> Metadata:
        return self._services.targets.metadata
