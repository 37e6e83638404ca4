"""What a client can ask about contracts, agents and capabilities."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from muster.agent.asking import output_of
from muster.agent.events import replay_events, watch_events
from muster.agent.services import Services
from muster.agent.session.core import reconnect_pause
from muster.agent.watching import follow_contract, position, watch_contracts
from muster.model import limits
from muster.model.errors import Unavailable
from muster.v1 import registry_service_pb2 as registry
from muster.v1 import scheduler_service_pb2 as scheduler
from muster.v1.contract_pb2 import ContractFilter
from muster.v1.registry_service_pb2 import AgentFilter
from muster.v1.response_pb2 import ContractState
from muster.wire.errors import answer_of
from muster.wire.times import duration_of_seconds

if TYPE_CHECKING:
    from muster.agent.blobs import Blobs
    from muster.agent.conversations import Conversations
    from muster.agent.events import BusEvent, Replayed
    from muster.agent.inbox import Inbox
    from muster.agent.options import Metadata
    from muster.agent.runs import Workflows
    from muster.agent.states import States
    from muster.agent.watching import Change, Update
    from muster.v1.agent_pb2 import Agent
    from muster.v1.capability_pb2 import CatalogueEntry
    from muster.v1.contract_pb2 import Contract
    from muster.v1.response_pb2 import Response
    from muster.v1.scheduler_service_pb2 import (
        ExplainPlacementResponse,
        GetStatisticsResponse,
    )


class Queries:
    """The calls that are not about new work. Errors of the mesh are `MusterError`s."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def blobs(self) -> Blobs:
        """The tenant's blobs."""
        return self._services.blobs

    @property
    def conversations(self) -> Conversations:
        """Conversations and their memory."""
        from muster.agent.conversations import Conversations

        return Conversations(self._services)

    @property
    def states(self) -> States:
        """What agents keep for themselves."""
        from muster.agent.states import States

        return States(self._services)

    @property
    def inbox(self) -> Inbox:
        """What waits for a person."""
        from muster.agent.inbox import Inbox

        return Inbox(self._services)

    @property
    def workflows(self) -> Workflows:
        """Workflows, and their runs."""
        from muster.agent.runs import Workflows

        return Workflows(self._services)

    async def get(self, contract_id: str = "", *, request_id: str = "") -> Contract:
        """One contract, with its payloads and attempts, by its id or by the caller's own."""
        request = scheduler.GetContractRequest()
        if request_id:
            request.request_id = request_id
        else:
            request.contract_id = contract_id
        return (
            await answer_of(self._services.scheduler.GetContract(request, metadata=self._metadata))
        ).contract

    async def list(self, *, most: int | None = None, **conditions: Any) -> AsyncIterator[Contract]:
        """Contracts that fit, newest first, at most so many; see `contract_filter`."""
        request = scheduler.ListContractsRequest(filter=contract_filter(**conditions))
        request.page_size = min(most or limits.PAGE_SIZE_MAX, limits.PAGE_SIZE_MAX)
        left = most
        while True:
            page = await answer_of(
                self._services.scheduler.ListContracts(request, metadata=self._metadata)
            )
            for contract in page.contracts[:left]:
                yield contract
            left = None if left is None else left - len(page.contracts)
            if not page.next_page_token or (left is not None and left <= 0):
                return
            request.page_token = page.next_page_token

    async def wait(self, contract_id: str, timeout: float | None = None) -> Response | None:
        """Waits for a contract's response; None when `timeout` seconds pass first.

        Goes on across restarts of the mesh, without a timeout for as long as it takes.
        """
        until = None if timeout is None else time.monotonic() + timeout
        failures = 0
        while True:
            left = limits.WAIT_DEFAULT_SECONDS
            if until is not None:
                left = min(left, max(0.0, until - time.monotonic()))
            try:
                response = await self._wait_once(contract_id, left)
                failures = 0
            except Unavailable:
                response = None
                await asyncio.sleep(min(left, reconnect_pause(failures, random.random())))
                failures += 1
            if response is not None or (until is not None and time.monotonic() >= until):
                return response

    async def _wait_once(self, contract_id: str, seconds: float) -> Response | None:
        request = scheduler.WaitContractRequest(contract_id=contract_id)
        request.timeout.CopyFrom(duration_of_seconds(seconds))
        call = self._services.scheduler.WaitContract(request, metadata=self._metadata)
        answer = await answer_of(call)
        return answer.response if answer.HasField("response") else None

    async def result(
        self, contract_id: str, returns: Any = None, *, timeout: float | None = None
    ) -> Any:
        """Waits for a contract's output.

        Raises `ContractFailed` when it ended without one, `TimeoutError` after `timeout` seconds.
        """
        response = await self.wait(contract_id, timeout)
        if response is None:
            message = f"contract {contract_id} has not ended in {timeout} s"
            raise TimeoutError(message)
        return await output_of(response, self.blobs, returns)

    async def cancel(self, contract_id: str, reason: str = "") -> Response:
        """Cancels a contract and its children. Raises `FailedPrecondition` when it has ended."""
        request = scheduler.CancelContractRequest(contract_id=contract_id, reason=reason)
        return (
            await answer_of(
                self._services.scheduler.CancelContract(request, metadata=self._metadata)
            )
        ).response

    async def explain(self, contract_id: str) -> ExplainPlacementResponse:
        """Why a queued contract is where it is: for each agent, why it would not get it now."""
        request = scheduler.ExplainPlacementRequest(contract_id=contract_id)
        return await answer_of(
            self._services.scheduler.ExplainPlacement(request, metadata=self._metadata)
        )

    async def statistics(self) -> GetStatisticsResponse:
        """Counts of contracts, and of what this scheduler has done."""
        request = scheduler.GetStatisticsRequest()
        return await answer_of(
            self._services.scheduler.GetStatistics(request, metadata=self._metadata)
        )

    def follow(self, contract_id: str) -> AsyncIterator[Update]:
        """What happens to a contract: `Change`, `Progress`, `Log`, `Output`, …, at last `Ended`.

        From its beginning, and across restarts of the mesh.
        """
        return follow_contract(self._services, contract_id)

    def watch(self, *, since: str | None = None, **conditions: Any) -> AsyncIterator[Change]:
        """Changes of all contracts that fit, without end; see `contract_filter`.

        From now on, or after the `position` that was asked for before. Goes on across restarts of
        the mesh; the same change may then come twice. The mesh takes the conditions on
        capabilities, conversation and root here, and refuses others.
        """
        return watch_contracts(self._services, contract_filter(**conditions), since)

    async def position(self) -> str:
        """Where the stream of all changes stands now, for a later `watch(since=…)`; opaque."""
        return await position(self._services)

    def events(
        self, pattern: str = ">", *, since: float | None = None, from_sequence: int = 0
    ) -> AsyncIterator[BusEvent]:
        """CloudEvents on the bus whose subject fits, without end: "contract.ended.>".

        From now on, or since an instant (Unix seconds) or from a number (`BusEvent.sequence`), as
        far as they are kept. Goes on across restarts of the mesh; the same event may then come
        twice.
        """
        return watch_events(self._services, pattern, since, from_sequence)

    def replay_events(self, since: float) -> AsyncIterator[Replayed]:
        """Has everything published again that happened since an instant (Unix seconds), for
        subscribers to a bus that has lost it. Yields how far that is, and ends when it is done."""
        return replay_events(self._services, since)

    async def agents(
        self,
        *,
        capability: str = "",
        version: str = "",
        kinds: Sequence[str] = (),
        host: str = "",
        labels: dict[str, str] | None = None,
    ) -> AsyncIterator[Agent]:
        """Agents that fit, by name, as the registry sees them now."""
        wanted = AgentFilter(kinds=kinds, host=host, labels=labels or {})
        if capability:
            wanted.capability.name, wanted.capability.version = capability, version
        request = registry.ListAgentsRequest(filter=wanted, page_size=limits.PAGE_SIZE_MAX)
        while True:
            page = await answer_of(
                self._services.registry.ListAgents(request, metadata=self._metadata)
            )
            for agent in page.agents:
                yield agent
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def capabilities(self, prefix: str = "") -> AsyncIterator[CatalogueEntry]:
        """Every capability version ever offered whose name begins so, with its schemas."""
        request = registry.ListCapabilitiesRequest(
            name_prefix=prefix, page_size=limits.PAGE_SIZE_MAX
        )
        while True:
            page = await answer_of(
                self._services.registry.ListCapabilities(request, metadata=self._metadata)
            )
            for entry in page.entries:
                yield entry
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    @property
    def _metadata(self) -> Metadata:
        return self._services.targets.metadata


def contract_filter(
    *,
    states: Sequence[str] = (),
    capabilities: Sequence[str] = (),
    conversation_id: str = "",
    root_id: str = "",
    parent_id: str = "",
    agent: str = "",
    labels: dict[str, str] | None = None,
) -> ContractFilter:
    """Chooses contracts; `states` are words such as QUEUED or RUNNING."""
    return ContractFilter(
        states=[ContractState.Value(f"CONTRACT_STATE_{state.upper()}") for state in states],
        capabilities=capabilities,
        conversation_id=conversation_id,
        root_id=root_id,
        parent_id=parent_id,
        agent=agent,
        labels=labels or {},
    )
