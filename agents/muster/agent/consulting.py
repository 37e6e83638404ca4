"""Answers what agents' code asks about the past, at the host that runs it; see `remembering`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from muster.agent.asking import state_name
from muster.agent.contents import content_in
from muster.agent.conversations import Conversations
from muster.agent.remembering import Consulted
from muster.agent.services import Services
from muster.agent.states import States
from muster.agent.values import Content
from muster.model.errors import NotFound
from muster.v1.contract_pb2 import ContractFilter
from muster.wire.keyed_locks import KeyedLocks
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.conversation_pb2 import ContractDigest
    from muster.v1.conversation_service_pb2 import MemoryMatch
    from muster.v1.memory_pb2 import MemoryBlock


class Consultant:
    """One for all agents of a host."""

    def __init__(self, services: Services) -> None:
        self._conversations = Conversations(services)
        self._states = States(services)
        self._locks = KeyedLocks()

    async def consult(
        self,
        agent: str,
        contract_id: str,
        what: str,
        args: Mapping[str, Any],
        contents: Sequence[Content],
    ) -> Consulted:
        """The answer to what an agent's code asks. Raises `MusterError`."""
        match what:
            case "memory":
                return {"blocks": await self._memory(**args)}, ()
            case "search_memory":
                return {"blocks": await self._search_memory(**args)}, ()
            case "conversation":
                return {"contracts": await self._contracts(contract_id, **args)}, ()
            case "get_state":
                return await self._get(agent, **args)
            case "put_state":
                state = await self._states.put(agent, content=contents[0], **args)
                return {"revision": state.revision}, ()
            case "delete_state":
                return {"deleted": await self._states.delete(agent, **args)}, ()
            case "list_state":
                names = [each.name async for each in self._states.list(agent, **args)]
                return {"names": names}, ()
        message = f"nobody can be asked for {what!r}"
        raise ValueError(message)

    def hold(self, agent: str, name: str) -> AbstractAsyncContextManager[None]:
        """Code of one host that updates the same state takes turns."""
        return self._locks.hold((agent, name))

    async def _memory(self, conversation_id: str, most: int) -> list[dict[str, Any]]:
        found = self._conversations.memory(conversation_id, most=most)
        newest = [_block(block) async for block in found]
        return newest[::-1]

    async def _search_memory(
        self, conversation_id: str, text: str, most: int
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async for page in self._conversations.search_memory(text, conversation_id, most=most):
            found.extend(map(_match, page.matches))
        return found

    async def _contracts(
        self, contract_id: str, conversation_id: str, text: str, most: int
    ) -> list[dict[str, Any]]:
        wanted = ContractFilter(conversation_id=conversation_id)
        found: list[dict[str, Any]] = []
        async for page in self._conversations.search(text, wanted, most=most + 1):
            found.extend(
                _contract(match.contract)
                for match in page.matches
                if match.contract.contract_id != contract_id
            )
        return found[:most][::-1]

    async def _get(self, agent: str, name: str) -> Consulted:
        try:
            state = await self._states.get(agent, name)
        except NotFound:
            return {"revision": 0}, ()
        return {"revision": state.revision}, [content_in(state.value)]


def _block(block: MemoryBlock) -> dict[str, Any]:
    return {
        "conversation_id": block.conversation_id,
        "number": block.number,
        "text": block.text,
        "contracts": block.contracts,
        "first_time": seconds_of_timestamp(block.first_time),
        "last_time": seconds_of_timestamp(block.last_time),
    }


def _match(match: MemoryMatch) -> dict[str, Any]:
    return {**_block(match.block), "snippets": [each.text for each in match.snippets]}


def _contract(digest: ContractDigest) -> dict[str, Any]:
    ended = digest.HasField("end_time")
    return {
        "contract_id": digest.contract_id,
        "capability": digest.capability,
        "state": state_name(digest.state),
        "by": digest.actor or digest.principal,
        "agent": digest.agent,
        "asked": digest.asked,
        "produced": digest.produced,
        "failure": f"{digest.code}: {digest.message}" if digest.code else "",
        "accepted": seconds_of_timestamp(digest.accept_time),
        "ended": seconds_of_timestamp(digest.end_time) if ended else None,
    }
