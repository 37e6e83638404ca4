"""Values that agents keep, as rows of the ledger. Only the owner of the agent's shard writes them,
one write at a time for each agent: what it has read is what it compares with."""

from __future__ import annotations

from typing import NamedTuple

from muster.model import limits
from muster.model.errors import MusterError, NotFound, ResourceExhausted
from muster.model.ids import shard_of_scope
from muster.model.records import Action, RowQuery
from muster.scheduler.messages_out import set_ms
from muster.scheduler.recording import record_row
from muster.scheduler.service import Scheduler
from muster.v1.agent_state_pb2 import KeptState
from muster.v1.payload_pb2 import Payload
from muster.wire.keyed_locks import KeyedLocks

TABLE = "agent_states"
_LISTED = ("agent", "name", "revision", "changed_ms", "principal", "size_bytes")
_HEAD = ("revision", "changed_ms", "principal", "put_id", "size_bytes")


class StateChanged(MusterError):
    """The state has another revision than the caller expected."""

    reason = "STATE_CHANGED"


class Name(NamedTuple):
    """What names a value."""

    tenant: str
    agent: str
    name: str


class _Head(NamedTuple):
    """A row without its value."""

    revision: int
    changed_ms: int
    principal: str
    put_id: str
    size_bytes: int


def shard_of_agent(tenant: str, agent: str) -> int:
    """The shard whose owner writes what an agent keeps."""
    return shard_of_scope(tenant, "", f"agent:{agent}")


class AgentStates:
    """What agents keep, of whichever shard to read, and of those owned here to write."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._locks = KeyedLocks()

    async def get(self, name: Name) -> KeptState:
        """With its value. Raises `NotFound`."""
        rows = await self._scheduler.ledger.rows(
            RowQuery(TABLE, _key(name), limit=1, columns=(*_LISTED, "value"))
        )
        if not rows:
            raise NotFound(
                f"agent {name.agent} keeps nothing called {name.name!r}; what it keeps: "
                f"muster state list {name.agent}",
                reason="STATE_UNKNOWN",
            )
        made = _message(*rows[0][:-1])
        made.value.ParseFromString(rows[0][-1])
        return made

    async def page(
        self, tenant: str, agent: str, prefix: str, after: str, size: int
    ) -> list[KeptState]:
        """Without values, by name; those after a name that begin with the prefix."""
        found: list[KeptState] = []
        rows = await self._scheduler.ledger.rows(
            RowQuery(
                TABLE,
                {"tenant": tenant, "agent": agent},
                order=("name",),
                after=(after,) if after else None,
                # There are no more of one agent.
                limit=limits.AGENT_STATES_PER_AGENT_MAX,
                columns=_LISTED,
            )
        )
        for row in rows:
            made = _message(*row)
            if made.name.startswith(prefix):
                found.append(made)
                if len(found) == size:
                    break
        return found

    async def put(
        self,
        name: Name,
        value: Payload,
        principal: str,
        expected: int | None = None,
        put_id: str = "",
    ) -> KeptState:
        """Writes; returns when that is durable, the state without its value.

        `expected` is the revision that it must have, 0 for none. Raises `StateChanged`, and
        `ResourceExhausted` where the agent keeps too many already.
        """
        async with self._locks.hold(name[:2]):
            head = await self._head(name)
            if head is not None and put_id and head.put_id == put_id:
                return _message(name.agent, name.name, *head[:3], head.size_bytes)
            _compare(name, head, expected)
            if head is None:
                await self._require_room(name)
            now_ms = self._scheduler.clock().wall_ms
            # From the clock, so that a name which was deleted does not begin with old revisions.
            revision = now_ms if head is None else max(head.revision + 1, now_ms)
            raw, size = value.SerializeToString(deterministic=True), content_bytes(value)
            row = (*name, revision, now_ms, principal, put_id, size, raw)
            shard = shard_of_agent(name.tenant, name.agent)
            await record_row(self._scheduler, Action.PUT, TABLE, row, shard)
            return _message(name.agent, name.name, revision, now_ms, principal, size)

    async def delete(self, name: Name, expected: int | None = None) -> bool:
        """Whether there was something to delete. Raises `StateChanged`."""
        async with self._locks.hold(name[:2]):
            head = await self._head(name)
            _compare(name, head, expected)
            if head is None:
                return False
            shard = shard_of_agent(name.tenant, name.agent)
            await record_row(self._scheduler, Action.DELETE, TABLE, tuple(name), shard)
            return True

    async def _head(self, name: Name) -> _Head | None:
        query = RowQuery(TABLE, _key(name), limit=1, columns=_HEAD)
        rows = await self._scheduler.ledger.rows(query)
        return _Head(*rows[0]) if rows else None

    async def _require_room(self, name: Name) -> None:
        most = limits.AGENT_STATES_PER_AGENT_MAX
        equal = {"tenant": name.tenant, "agent": name.agent}
        rows = await self._scheduler.ledger.rows(
            RowQuery(TABLE, equal, limit=most, columns=("name",))
        )
        if len(rows) >= most:
            raise ResourceExhausted(
                f"agent {name.agent} keeps {most} values already; delete some, or keep more in one",
                reason="TOO_MANY",
            )


def content_bytes(value: Payload) -> int:
    """How many bytes the content has; of a reference to a blob, none of it is here."""
    match value.WhichOneof("content"):
        case "json":
            return len(value.json.encode())
        case "message":
            return len(value.message.value)
        case "binary":
            return len(value.binary.data)
    return value.ByteSize()


def _compare(name: Name, head: _Head | None, expected: int | None) -> None:
    revision = head.revision if head is not None else 0
    if expected is None or expected == revision:
        return
    now = f"has revision {revision}" if revision else "is not there"
    wanted = f"revision {expected} was expected" if expected else "it was expected not to be there"
    raise StateChanged(
        f"{name.name!r} of agent {name.agent} {now}, and {wanted}; read it, and write again"
    )


def _key(name: Name) -> dict[str, str]:
    return {"tenant": name.tenant, "agent": name.agent, "name": name.name}


def _message(
    agent: str, name: str, revision: int, changed_ms: int, principal: str, size_bytes: int
) -> KeptState:
    made = KeptState(
        agent=agent, name=name, revision=revision, principal=principal, size_bytes=size_bytes
    )
    set_ms(made.change_time, changed_ms)
    return made
