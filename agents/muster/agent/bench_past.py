"""The past of an attempt on a test bench: what agents keep, and what the test says there was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from muster.agent.remembering import Consulted, MemoryBlock, PastContract
from muster.agent.values import Content, content_of, value_of
from muster.model.errors import MusterError


@dataclass
class BenchPast:
    """What is kept, by agent and name, and what contexts find when they look back."""

    memory: list[MemoryBlock] = field(default_factory=list)
    contracts: list[PastContract] = field(default_factory=list)
    _kept: dict[tuple[str, str], tuple[Content, int]] = field(default_factory=dict)
    _revision: int = 0

    def state(self, name: str, agent: str = "") -> Any:
        """What an agent keeps under a name; None where there is nothing."""
        found = self._kept.get((agent, name))
        return None if found is None else value_of(found[0])

    def keep(self, name: str, value: Any, agent: str = "") -> None:
        """Puts something there before an attempt runs."""
        self._put((agent, name), content_of(value), None)

    def consult(
        self, agent: str, what: str, args: Mapping[str, Any], contents: Sequence[Content]
    ) -> Consulted:
        """The answer to what code asks; see `remembering`."""
        match what:
            case "memory" | "search_memory":
                return {"blocks": self._blocks(**args)}, ()
            case "conversation":
                return {"contracts": self._contracts(**args)}, ()
            case "get_state":
                found = self._kept.get((agent, args["name"]))
                return ({"revision": 0}, ()) if found is None else _told(found)
            case "put_state":
                key = (agent, args["name"])
                return {"revision": self._put(key, contents[0], args["expected_revision"])}, ()
            case "delete_state":
                self._compare((agent, args["name"]), args["expected_revision"])
                return {"deleted": self._kept.pop((agent, args["name"]), None) is not None}, ()
        prefix = args["prefix"]
        names = [name for of, name in self._kept if of == agent and name.startswith(prefix)]
        return {"names": sorted(names)}, ()

    def _put(self, key: tuple[str, str], content: Content, expected: int | None) -> int:
        self._compare(key, expected)
        self._revision += 1
        self._kept[key] = (content, self._revision)
        return self._revision

    def _compare(self, key: tuple[str, str], expected: int | None) -> None:
        revision = self._kept[key][1] if key in self._kept else 0
        if expected is not None and expected != revision:
            message = f"{key[1]!r} has revision {revision}, and {expected} was expected"
            raise MusterError(message, reason="STATE_CHANGED")

    def _blocks(self, conversation_id: str, most: int, text: str = "") -> list[dict[str, Any]]:
        found = [
            asdict(each)
            for each in self.memory
            if conversation_id in ("", each.conversation_id) and _has(text, each.text)
        ]
        return found[-most:][:: -1 if text else 1]

    def _contracts(self, conversation_id: str, text: str, most: int) -> list[dict[str, Any]]:
        return [
            asdict(each)
            for each in self.contracts
            if _has(text, f"{each.capability} {each.asked} {each.produced} {each.failure}")
        ][-most:]


def _told(found: tuple[Content, int]) -> Consulted:
    return {"revision": found[1]}, [found[0]]


def _has(words: str, text: str) -> bool:
    return all(word in text.lower() for word in words.lower().split())
