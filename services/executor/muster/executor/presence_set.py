"""Reports presence to every registry: those that were configured, and those that are found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from muster.executor.link import Dialler
from muster.executor.link_presence import CallPresence, Presence

Dial = Callable[[str], CallPresence]


class PresenceSet:
    """Keeps a `Presence` for each registry. `run` it until it is cancelled.

    A registry that was configured and is found too has two targets here and takes one stream, the
    newest. So a found one gives way, and is not tried again until it is found elsewhere. One that
    is found no more stays for as long as it is heard.
    """

    def __init__(
        self, configured: Mapping[str, CallPresence], dialler: Dialler, dial: Dial | None = None
    ) -> None:
        self._configured = [Presence(name, call, dialler) for name, call in configured.items()]
        self._known_targets = frozenset(configured)
        self._dialler = dialler
        self._dial = dial
        self._targets: Mapping[str, str] = {}
        self._found: dict[tuple[str, str], Presence] = {}  # by name and target
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def found(self, targets: Mapping[str, str]) -> None:
        """The registries that a directory names: name -> target."""
        if self._dial is not None:
            self._targets = dict(targets)
            self._changed.set()

    @property
    def targets(self) -> list[str]:
        """Of those that are found."""
        return sorted(self._targets.values())

    @property
    def heard(self) -> set[str]:
        """The targets of those that answer now."""
        return {each.name for each in (*self._configured, *self._found.values()) if each.is_heard}

    async def run(self) -> None:
        """Reports to all of them."""
        async with asyncio.TaskGroup() as group:
            for presence in self._configured:
                group.create_task(presence.run())
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._settle(group)

    async def _settle(self, group: asyncio.TaskGroup) -> None:
        wanted = {
            (name, target)
            for name, target in self._targets.items()
            if target not in self._known_targets
        }
        for at in self._running.keys() - wanted:
            if not self._found[at].is_heard:
                await self._end(at)
        names = {name for name, _ in self._running}
        for at in sorted(wanted - self._running.keys()):
            name, target = at
            if name in names:  # it moved, and its old place is heard: that is somebody else's now
                await self._end(next(each for each in self._running if each[0] == name))
            assert self._dial is not None
            call = self._dial(target)
            presence = self._found[at] = Presence(target, call, self._dialler, gives_way=True)
            self._running[at] = group.create_task(presence.run())

    async def _end(self, at: tuple[str, str]) -> None:
        task = self._running.pop(at)
        task.cancel()
        await asyncio.wait({task})
        self._found.pop(at).close()
