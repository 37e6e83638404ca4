"""What the shell offers when a person presses Tab: asked of the mesh, quickly or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muster.agent.client import Client

_SECONDS = 1.0
_OFFERED_MAX = 50


def contract_states(incomplete: str) -> list[str]:
    """The states of contracts."""
    from muster.model.states import ContractState

    names = (state.name.lower() for state in ContractState)
    return [name for name in names if name.startswith(incomplete.lower())]


def capability_names(incomplete: str) -> list[str]:
    """Capabilities of the mesh, by name."""

    async def ask(client: Client) -> AsyncIterator[str]:
        async for entry in client.capabilities(incomplete):
            yield entry.capability.name

    return _offered(ask, "registry")


def contract_ids(incomplete: str) -> list[str]:
    """The newest contracts."""

    async def ask(client: Client) -> AsyncIterator[str]:
        async for contract in client.list(most=_OFFERED_MAX):
            if contract.id.startswith(incomplete):
                yield contract.id

    return _offered(ask, "scheduler")


def conversation_ids(incomplete: str) -> list[str]:
    """The newest conversations."""

    async def ask(client: Client) -> AsyncIterator[str]:
        async for found in client.conversations.list(most=_OFFERED_MAX):
            if found.id.startswith(incomplete):
                yield found.id

    return _offered(ask, "scheduler")


def run_states(incomplete: str) -> list[str]:
    """The states of runs."""
    names = ("running", "unwinding", "succeeded", "failed", "cancelled", "open", "ended")
    return [name for name in names if name.startswith(incomplete.lower())]


def workflow_names(incomplete: str) -> list[str]:
    """Workflows of the mesh, by name, and those that come with Muster."""
    from muster.workflows import TEMPLATES

    async def ask(client: Client) -> AsyncIterator[str]:
        async for version in client.workflows.list():
            if version.workflow.name.startswith(incomplete):
                yield version.workflow.name

    shipped = [name for name in TEMPLATES if name.startswith(incomplete)]
    return list(dict.fromkeys([*_offered(ask, "scheduler"), *shipped]))


def run_ids(incomplete: str) -> list[str]:
    """The newest runs."""

    async def ask(client: Client) -> AsyncIterator[str]:
        async for run in client.workflows.runs(most=_OFFERED_MAX):
            if run.id.startswith(incomplete):
                yield run.id

    return _offered(ask, "scheduler")


def agent_names(incomplete: str) -> list[str]:
    """Agents that are there."""

    async def ask(client: Client) -> AsyncIterator[str]:
        async for agent in client.agents():
            if agent.spec.name.startswith(incomplete):
                yield agent.spec.name

    return _offered(ask, "registry")


def question_subjects(incomplete: str) -> list[str]:
    """Contracts and runs that wait for a person."""

    async def ask(client: Client) -> AsyncIterator[str]:
        async for entry in client.inbox.list(most=_OFFERED_MAX):
            if entry.subject_id.startswith(incomplete):
                yield entry.subject_id

    return _offered(ask, "scheduler")


def _offered(ask: Callable[[Client], AsyncIterator[str]], service: str) -> list[str]:
    import asyncio

    from muster.cli.place import Place, connected

    async def collect() -> list[str]:
        found: dict[str, None] = {}
        async with asyncio.timeout(_SECONDS), connected(Place(), service) as client:
            async for name in ask(client):
                found[name] = None
                if len(found) >= _OFFERED_MAX:
                    break
        return list(found)

    try:
        return asyncio.run(collect())
    except Exception:  # noqa: BLE001 - whatever it is, nothing is offered, and the line stays whole
        return []
