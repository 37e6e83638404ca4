"""What code finds again: the memory of its conversation, and what its agent keeps for itself.

Without protobuf, as worker processes have it too: what is asked and answered goes through the port
in plain values (`Consulted`). Each thing has an async and a sync form; what they make of an answer
is the same functions.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from muster.agent.context import Facts
    from muster.agent.values import Content

MOST_DEFAULT = 20
# What an answer says, in values of JSON, and the contents that come with it.
Consulted = tuple[dict[str, Any], Sequence["Content"]]


class Consulting(Protocol):
    """What the async forms need of a port."""

    async def consult(
        self, what: str, args: Mapping[str, Any], contents: Sequence[Content] = ()
    ) -> Consulted: ...

    def hold_state(self, name: str) -> AbstractAsyncContextManager[None]: ...


class ConsultingSync(Protocol):
    """What the sync forms need of a port."""

    def consult(
        self, what: str, args: Mapping[str, Any], contents: Sequence[Content] = ()
    ) -> Consulted: ...


@dataclass(frozen=True, slots=True)
class MemoryBlock:
    """What is left of a part of a conversation. Times are Unix seconds."""

    conversation_id: str
    number: int  # counted from 1
    text: str  # what was asked, decided and produced, by whom; at most 8 KiB
    contracts: int
    first_time: float
    last_time: float
    snippets: tuple[str, ...] = ()  # where the words occur that were searched for


@dataclass(frozen=True, slots=True)
class PastContract:
    """A contract of the conversation, in a few words. Times are Unix seconds."""

    contract_id: str
    capability: str
    state: str  # SUCCEEDED, FAILED, RUNNING, …
    by: str  # the principal that asked, or the agent that delegated it
    agent: str  # of the last attempt; empty when there was none
    asked: str  # the beginning of the input
    produced: str  # the beginning of the output
    failure: str  # its code and message; empty when there was none
    accepted: float
    ended: float | None


class Kept(NamedTuple):
    """A value that the agent keeps, and its revision."""

    value: Any
    revision: int


# --- what answers become --------------------------------------------------------------------------


def _blocks(answer: Consulted) -> list[MemoryBlock]:
    said, _ = answer
    return [
        MemoryBlock(**{**each, "snippets": tuple(each.get("snippets", ()))})
        for each in said["blocks"]
    ]


def _contracts(answer: Consulted) -> list[PastContract]:
    return [PastContract(**each) for each in answer[0]["contracts"]]


def _kept(answer: Consulted) -> Kept | None:
    from muster.agent.values import value_of

    said, contents = answer
    return Kept(value_of(contents[0]), said["revision"]) if said["revision"] else None


def _content(value: Any) -> list[Content]:
    from muster.agent.values import content_of

    return [content_of(value)]


def _write(name: str, expected: int | None) -> dict[str, Any]:
    # Sent again after a lost answer, it is the same write.
    return {"name": name, "expected_revision": expected, "put_id": secrets.token_hex(8)}


def _draft(kept: Kept | None, default: Any) -> Any:
    value = kept.value if kept is not None else {} if default is None else copy.deepcopy(default)
    if not isinstance(value, dict | list):
        message = (
            f"update() changes a dict or a list in place, and this is a {type(value).__name__}; "
            "use get() and put()"
        )
        raise TypeError(message)
    return value


# --- for async code -------------------------------------------------------------------------------


class Memory:
    """What is kept of conversations: `await ctx.memory()`, `await ctx.memory.search(text)`."""

    __slots__ = ("_conversation", "_port")

    def __init__(self, port: Consulting, conversation_id: str) -> None:
        self._port = port
        self._conversation = conversation_id

    async def __call__(
        self, *, most: int = MOST_DEFAULT, conversation_id: str = ""
    ) -> list[MemoryBlock]:
        """The newest memory blocks of the contract's conversation, or of another one, oldest first.

        Empty when there is no memory, or the contract belongs to no conversation.
        """
        conversation = conversation_id or self._conversation
        if not conversation:
            return []
        args = {"conversation_id": conversation, "most": most}
        return _blocks(await self._port.consult("memory", args))

    async def search(
        self, text: str, *, most: int = MOST_DEFAULT, everywhere: bool = False
    ) -> list[MemoryBlock]:
        """Memory blocks in which all of the words occur, newest first; of the contract's
        conversation, or with `everywhere` (and outside of conversations) of all of the tenant."""
        conversation = "" if everywhere else self._conversation
        args = {"conversation_id": conversation, "text": text, "most": most}
        return _blocks(await self._port.consult("search_memory", args))


class State:
    """What the agent keeps for itself: values of JSON, bytes or messages of at most 64 KiB, under
    names. They are there for the next attempt, handler and process of the agent's name. Errors of
    the mesh are `MusterError`s; STATE_CHANGED says that a revision was not the expected one."""

    __slots__ = ("_port",)

    def __init__(self, port: Consulting) -> None:
        self._port = port

    async def get(self, name: str, default: Any = None) -> Any:
        """The value, or the default where there is none."""
        kept = await self.read(name)
        return default if kept is None else kept.value

    async def read(self, name: str) -> Kept | None:
        """The value with its revision; None where there is none."""
        return _kept(await self._port.consult("get_state", {"name": name}))

    async def put(self, name: str, value: Any, *, expected_revision: int | None = None) -> int:
        """Keeps a value and returns its revision, once it is durable. `expected_revision` is what
        it must have now, 0 for none at all."""
        args = _write(name, expected_revision)
        said, _ = await self._port.consult("put_state", args, _content(value))
        return int(said["revision"])

    async def delete(self, name: str, *, expected_revision: int | None = None) -> bool:
        """Whether there was something to delete."""
        args = {"name": name, "expected_revision": expected_revision}
        return bool((await self._port.consult("delete_state", args))[0]["deleted"])

    async def names(self, prefix: str = "") -> list[str]:
        """The names under which something is kept."""
        return list((await self._port.consult("list_state", {"prefix": prefix}))[0]["names"])

    @asynccontextmanager
    async def update(self, name: str, default: Any = None) -> AsyncIterator[Any]:
        """Gives a dict or list to change in place, and keeps it when the block ends well.

        Blocks of one host take turns. Where somebody else has written meanwhile, nothing is kept:
        it raises STATE_CHANGED.
        """
        async with self._port.hold_state(name):
            kept = await self.read(name)
            value = _draft(kept, default)
            yield value
            await self.put(name, value, expected_revision=kept.revision if kept else 0)


class Past:
    """What the async context gets from here."""

    __slots__ = ()
    facts: Facts
    _port: Any

    @property
    def memory(self) -> Memory:
        """What is kept of the conversation: `await ctx.memory()`, `ctx.memory.search(text)`."""
        return Memory(self._port, self.facts.conversation_id)

    @property
    def state(self) -> State:
        """What the agent keeps for itself."""
        return State(self._port)

    async def conversation(self, text: str = "", *, most: int = MOST_DEFAULT) -> list[PastContract]:
        """The newest other contracts of the conversation that the mesh still has, oldest first;
        with `text`, those in which all of its words occur."""
        facts = self.facts
        if not facts.conversation_id:
            return []
        args = {"conversation_id": facts.conversation_id, "text": text, "most": most}
        return _contracts(await self._port.consult("conversation", args))


# --- for code that blocks -------------------------------------------------------------------------


class SyncMemory:
    """`Memory` for sync code."""

    __slots__ = ("_conversation", "_port")

    def __init__(self, port: ConsultingSync, conversation_id: str) -> None:
        self._port = port
        self._conversation = conversation_id

    def __call__(self, *, most: int = MOST_DEFAULT, conversation_id: str = "") -> list[MemoryBlock]:
        """See `Memory.__call__`."""
        conversation = conversation_id or self._conversation
        if not conversation:
            return []
        args = {"conversation_id": conversation, "most": most}
        return _blocks(self._port.consult("memory", args))

    def search(
        self, text: str, *, most: int = MOST_DEFAULT, everywhere: bool = False
    ) -> list[MemoryBlock]:
        """See `Memory.search`."""
        conversation = "" if everywhere else self._conversation
        args = {"conversation_id": conversation, "text": text, "most": most}
        return _blocks(self._port.consult("search_memory", args))


class SyncState:
    """`State` for sync code."""

    __slots__ = ("_port",)

    def __init__(self, port: ConsultingSync) -> None:
        self._port = port

    def get(self, name: str, default: Any = None) -> Any:
        """See `State.get`."""
        kept = self.read(name)
        return default if kept is None else kept.value

    def read(self, name: str) -> Kept | None:
        """See `State.read`."""
        return _kept(self._port.consult("get_state", {"name": name}))

    def put(self, name: str, value: Any, *, expected_revision: int | None = None) -> int:
        """See `State.put`."""
        args = _write(name, expected_revision)
        return int(self._port.consult("put_state", args, _content(value))[0]["revision"])

    def delete(self, name: str, *, expected_revision: int | None = None) -> bool:
        """See `State.delete`."""
        args = {"name": name, "expected_revision": expected_revision}
        return bool(self._port.consult("delete_state", args)[0]["deleted"])

    def names(self, prefix: str = "") -> list[str]:
        """See `State.names`."""
        return list(self._port.consult("list_state", {"prefix": prefix})[0]["names"])

    @contextmanager
    def update(self, name: str, default: Any = None) -> Iterator[Any]:
        """See `State.update`; but blocks do not take turns, so two at once may raise
        STATE_CHANGED."""
        kept = self.read(name)
        value = _draft(kept, default)
        yield value
        self.put(name, value, expected_revision=kept.revision if kept else 0)


class SyncPast:
    """What the sync context gets from here."""

    __slots__ = ()
    facts: Facts
    _port: Any

    @property
    def memory(self) -> SyncMemory:
        """What is kept of the conversation: `ctx.memory()`, `ctx.memory.search(text)`."""
        return SyncMemory(self._port, self.facts.conversation_id)

    @property
    def state(self) -> SyncState:
        """What the agent keeps for itself."""
        return SyncState(self._port)

    def conversation(self, text: str = "", *, most: int = MOST_DEFAULT) -> list[PastContract]:
        """See `Past.conversation`."""
        facts = self.facts
        if not facts.conversation_id:
            return []
        args = {"conversation_id": facts.conversation_id, "text": text, "most": most}
        return _contracts(self._port.consult("conversation", args))
