"""Keeps agents in the directory as presence has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from muster.model.directory import Found, State
from muster.registry.core import Presence
from muster.registry.core_agents import Agent
from muster.registry.core_enrolment import Enrolment, Grain
from muster.registry.servicer_messages import Body
from muster.runtime.logs import get_logger
from muster.runtime.registering import Keeper
from muster.v1 import agent_pb2

_LOOK_SECONDS = 0.5  # from a change of presence to one of the directory
_CHANGES_AT_ONCE = 1_000

_log = get_logger("muster.registry")


class Enrolling:
    """One registry's share. `run` it until it is cancelled; `found_registries` may be called any
    time."""

    def __init__(self, name: str, agents_max: int, presence: Presence) -> None:
        self._grain: Grain | None = None  # None: nothing has been registered yet
        self._name = name
        self._agents_max = agents_max
        self._presence = presence
        self._members: frozenset[str] | None = None

    def found_registries(self, level: Sequence[Found]) -> None:
        """The registries that the directory names. While none of them passes, as in the moment
        after all have started, those that are named share."""
        passing = [each for each in level if each.state is State.PASSING]
        self._members = frozenset(each.meta.get("name", each.id) for each in passing or level)

    async def run(self, keeper: Keeper) -> None:
        """Says to `keeper` what should be there, without end."""
        enrolment = Enrolment(self._name, self._agents_max, keeper.upkeep, _version_of)
        revision: int | None = None
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._members is None:
                continue  # the directory has not been there yet
            if enrolment.members(self._members):
                revision = None
            revision = await self._catch_up(enrolment, keeper, revision)

    async def _catch_up(
        self, enrolment: Enrolment, keeper: Keeper, revision: int | None
    ) -> int | None:
        """Tells what has changed since a revision; returns the one that everything is told of."""
        while revision != self._presence.revision:
            changes = None
            if revision is not None:
                changes = self._presence.changes_after(revision, _CHANGES_AT_ONCE)
            if changes:
                revision = changes[-1].revision
                if enrolment.changes(changes):
                    changes = None
            if changes is None:
                enrolment.level(list(self._presence.agents()))
                revision = self._presence.revision
                self._tell(enrolment.grain, keeper)
            keeper.wake()
            await asyncio.sleep(0)
        return revision

    def _tell(self, grain: Grain, keeper: Keeper) -> None:
        if grain is self._grain:
            return
        if self._grain is not None or grain is not Grain.AGENTS:
            count, most = len(self._presence), self._agents_max
            _log.warning(f"the directory has {grain.value} from now on", agents=count, limit=most)
        self._grain = grain
        keeper.remark("registry", "registers", grain.value)


def _version_of(agent: Agent) -> str:
    assert isinstance(agent.body, Body)
    return agent_pb2.Agent.FromString(agent.body.told).spec.version
