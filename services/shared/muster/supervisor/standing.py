"""The servers that a mesh stands on: found where the environment names them, or else kept running.

A server that dies is started again on its data and at its ports, as a service is. It ends after the
services, in its own way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from muster.backends.pool_subprocess.kept import Change, Kept, KeptState
from muster.backends.pool_subprocess.process import Command
from muster.model import limits
from muster.servers.known import KINDS, accepts
from muster.servers.server import Server, ServerError
from muster.supervisor.plan import Backend, Refused, StartError
from muster.supervisor.serving import BackendStatus, require_alive

_LOOK_SECONDS = 0.05  # while it starts: nothing tells when it is ready
_LOOK_AGAIN_SECONDS = 1.0  # while it serves
# After a crash PostgreSQL refuses to start while children of the old one are about to end.
_STARTS_MAX = 4


class Backends:
    """The servers of one mesh. `changed` hears of what happens to those that are kept running."""

    def __init__(
        self,
        inherited: Mapping[str, str],
        changed: Callable[[Change], None],
        answered: Callable[[BackendStatus], None],
    ) -> None:
        self.statuses: list[BackendStatus] = []
        self.environment: dict[str, str] = {}
        # What tells the services where they are.

        self._inherited = inherited
        self._changed = changed
        self._answered = answered
        self._watches: list[asyncio.Task[None]] = []

    async def start(
        self, backends: Sequence[Backend], folder: Path, logs: Path, tasks: asyncio.TaskGroup
    ) -> None:
        """Starts those that are not there; `require_alive` and `all_answer` say what becomes of it.

        Raises `Refused` when one cannot be started.
        """
        for backend in backends:
            kind = KINDS[backend.name]
            answers = kind.answers
            if backend.elsewhere is not None:
                status = BackendStatus(backend.name, backend.elsewhere)
                answers = accepts
            else:
                server = await _prepare(backend, folder, logs)
                if kind.variable is not None:
                    self.environment[kind.variable] = server.url
                kept = Kept(_command(server, self._inherited), self._changed, retry_refused=True)
                status = BackendStatus(backend.name, server.address, kept)
                tasks.create_task(kept.run(), name=f"server {backend.name}")
            self.statuses.append(status)
            self._watches.append(tasks.create_task(self._watch(status, answers)))

    def _kept_changed(self, change: Change) -> None:
        for status in self.statuses:
            # Without waiting for the next look, which may come when it is back already.
            if status.name == change.name and change.state is not KeptState.RUNNING:
                status.answers, status.since = False, time.monotonic()
        self._changed(change)

    async def _watch(
        self, status: BackendStatus, answers: Callable[[str], Awaitable[bool]]
    ) -> None:
        while True:
            now = await answers(status.address)
            if now is not status.answers:
                status.answers, status.since = now, time.monotonic()
                self._answered(status)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS if now else _LOOK_SECONDS)

    def all_answer(self) -> bool:
        """Whether all serve. Raises `StartError` when one has ended instead."""
        for status in self.statuses:
            if status.kept is not None and not status.answers:
                require_alive(status.kept, _STARTS_MAX)
        return all(status.answers for status in self.statuses)

    def late(self) -> StartError:
        """Says which do not answer."""
        status = next(each for each in self.statuses if not each.answers)
        if status.kept is not None:
            return StartError(
                f"{status.name} does not answer at {status.address} after "
                f"{limits.SERVER_START_SECONDS:.0f} s\nits log: {status.kept.log.path}"
            )
        return StartError(
            f"nothing answers at {status.address}, where {KINDS[status.name].variable} says that "
            f"{status.name} is; start it there, or unset {KINDS[status.name].variable} and let "
            "muster run one"
        )

    def hurry(self) -> None:
        """Waits for none of them any more."""
        for status in self.statuses:
            if status.kept is not None:
                status.kept.hurry()

    async def stop(self) -> None:
        """Ends those that it has started, all at once: none needs another."""
        for watch in self._watches:
            watch.cancel()
        kept = [status.kept for status in self.statuses if status.kept is not None]
        for each in kept:
            each.request_stop(limits.SERVER_STOP_SECONDS)
        for each in kept:
            await each.wait()


async def _prepare(backend: Backend, folder: Path, logs: Path) -> Server:
    prepare = KINDS[backend.name].prepare
    log = logs / f"{backend.name}.log"
    try:
        return await asyncio.to_thread(prepare, folder / backend.name, backend.ports, log)
    except ServerError as error:
        raise Refused(str(error)) from None


def _command(server: Server, inherited: Mapping[str, str]) -> Command:
    return Command(
        name=server.name,
        words=server.command,
        environment=server.environment(inherited),
        log=server.log,
        folder=server.folder,
        stop_signal=server.stop_signal,
    )
