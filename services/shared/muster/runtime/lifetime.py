"""Tasks with an owner: nothing that is started here outlives whoever started it.

This is the only module that may start a task outside of a task group, because `Owned` must be
startable in one task and stoppable from another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

Run = Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def background(*loops: Run) -> AsyncIterator[None]:
    """Runs the loops while the block runs, and cancels and awaits them at its end.

    A loop that raises cancels the block, which then raises the same (an ExceptionGroup where
    several did), also where a generator that holds the block is being closed at that moment. What
    the block itself raises comes out as it is.
    """
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop()) for loop in loops]
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised below; the group would wrap it
                failure = error
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as errors:
        failures = errors.split(GeneratorExit)[1] or errors
        if len(failures.exceptions) > 1:
            raise failures from None
        raise failures.exceptions[0] from None
    if failure is not None:
        raise failure


class Owned:
    """One task of an object with `start` and `stop`; the object awaits it when it stops."""

    def __init__(self, run: Coroutine[Any, Any, None], name: str) -> None:
        """Starts it; must be called with a running event loop."""
        self._task = asyncio.get_running_loop().create_task(run, name=name)

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._task.done()

    async def wait(self) -> None:
        """Waits for its end, and raises what it raised. The waiter's cancellation is not its."""
        await asyncio.shield(self._task)

    async def wait_for_either(self, other: asyncio.Future[Any]) -> None:
        """Waits for its end or for `other`, and raises nothing."""
        await asyncio.wait({self._task, other}, return_when=asyncio.FIRST_COMPLETED)

    def interrupt(self) -> None:
        """Cancels it, and returns at once."""
        self._task.cancel()

    async def cancel(self) -> None:
        """Cancels it and waits until it has ended. Safe to call twice, and after its end."""
        self._task.cancel()
        await asyncio.wait({self._task})
