"""Child contracts, as a capability asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict


class CallOptions(TypedDict, total=False):
    """What can be said about a child besides its capability and input; see `Call`."""

    version: str
    key: str
    timeout: float | None
    schedule_to_start: float | None
    attempts: int
    on_parent_close: Literal["cancel", "abandon"]
    labels: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Call:
    """A piece of work to be delegated.

    With a `key`, which is unique among the contract's children, a later attempt finds the same
    child again instead of starting another. `timeout` is in seconds from now; the parent's own
    deadline holds anyway. `schedule_to_start` is how many seconds it may wait for an agent.
    `attempts` is how many may fail before it does; 0 is the mesh's default, 5, and 1 no retry.
    `version` selects versions: "2", "2.1" or "2.1.3"; empty for the newest major.
    """

    capability: str
    input: Any = None
    version: str = ""
    key: str = ""
    timeout: float | None = None
    schedule_to_start: float | None = None
    attempts: int = 0
    on_parent_close: Literal["cancel", "abandon"] = "cancel"
    labels: Mapping[str, str] | None = None


class ChildHandle(Protocol):
    """A child that was delegated by async code."""

    @property
    def key(self) -> str:
        """Its key, or its number within the attempt."""

    @property
    def attempts(self) -> int:
        """The number of its last attempt; 0 while it goes on, and when there was none."""

    async def result(self) -> Any:
        """Waits for its output, suspended meanwhile. Raises `ChildFailed`."""


class SyncChildHandle(Protocol):
    """A child that was delegated by sync code."""

    @property
    def key(self) -> str:
        """Its key, or its number within the attempt."""

    def result(self) -> Any:
        """Waits for its output, suspended meanwhile. Raises `ChildFailed`."""
