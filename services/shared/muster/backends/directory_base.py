"""Where services and agents are: a hint for whoever looks for them, never a fence.

Nothing may wait for a directory, or believe it against its own eyes: a connection that stands is
kept whatever the directory says, and what it last said holds while it is away.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol, Self

from muster.model.directory import Change, Found


class DirectoryError(Exception):
    """The directory does not answer, or refuses; the message says why, and holds no secret."""


class Directory(Protocol):
    """Holds entries. Used inside `async with`; when that is left, every call of it has ended.

    Each method raises `DirectoryError`, within seconds; another try may help.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def apply(self, changes: Sequence[Change]) -> None:
        """Makes the changes, in order. Where one fails, those before it have been made.

        Renewing an entry that is not there fails: the directory has forgotten it.
        """
        ...

    async def read(self, owner: str) -> Mapping[str, str]:
        """The digest of each entry that this owner has put, by id, as of now."""
        ...

    def watch(self, kind: str) -> AsyncGenerator[Sequence[Found], None]:
        """Every entry of a kind, ordered by id: as they are, then at each change. No end.

        Changes that come soon after each other may be seen as one.
        """
        ...
