"""Threads of a host, for sync capabilities that only wait.

A thread cannot be stopped: a cancelled attempt keeps its slot until its code has ended.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Sequence
from typing import Any

from muster.agent.failures import AttemptCancelled, Failed
from muster.agent.performing import failed_of, perform_sync
from muster.agent.values import Content
from muster.agent.workers.pipe import Message
from muster.agent.workers.slots import Slots
from muster.agent.workers.sync_port import Channel, SyncAttemptPort
from muster.agent.workers.turns import Job, Turns
from muster.model import limits
from muster.model.limits import TREE_DEPTH_MAX


class ThreadChannel(Channel):
    """From the thread that runs an attempt's code to the event loop."""

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop
        self._asking: concurrent.futures.Future[Any] | None = None

    @property
    def cancel_code(self) -> str | None:
        return self._job.cancel_code

    def tell(self, op: str, *args: Any) -> None:
        message = Message({"op": op, "args": args})
        self._loop.call_soon_threadsafe(self._job.tell, message)

    def ask(self, op: str, *args: Any, contents: Sequence[Content] = ()) -> Message:
        if not self._is_over():
            question = Message({"op": op, "args": args}, tuple(contents))
            coroutine = self._job.serve(question)
            self._asking = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            if self._is_over():  # `interrupt` may have come too early to see it
                self._asking.cancel()
            try:
                said, answers = self._asking.result()
                return Message(said, tuple(answers))
            except concurrent.futures.CancelledError:
                pass
            finally:
                self._asking = None
        raise AttemptCancelled(self._job.cancel_code or "CANCELLED")

    def _is_over(self) -> bool:
        return self._job.cancel_code is not None

    def interrupt(self) -> None:
        """Ends a question that is being waited for; what is asked later is refused at once."""
        asking = self._asking
        if asking is not None:
            asking.cancel()


class ThreadPool:
    """Runs attempts in threads, which are started as they are needed."""

    def __init__(
        self,
        size: int = limits.THREADS_MAX,
        suspended_max: int = limits.WORKERS_SUSPENDED_MAX,
    ) -> None:
        self.turns = Turns(Slots(size, suspended_max))
        # Those that wait for children hold their threads, so there are more threads than slots.
        self._executor = concurrent.futures.ThreadPoolExecutor(
            size * (TREE_DEPTH_MAX + 1) + suspended_max, thread_name_prefix="capability"
        )

    async def run(self, job: Job, content: Content) -> Content:
        """Runs a capability in a thread and returns its output; raises `Failed`."""
        loop = asyncio.get_running_loop()
        channel = ThreadChannel(job, loop)

        def perform() -> Content | Failed:
            loop.call_soon_threadsafe(job.started)
            port = SyncAttemptPort(channel, job.capability)
            try:
                return perform_sync(job.capability, content, job.facts, port)
            except BaseException as error:  # noqa: BLE001 - the thread's end is the attempt's end
                return failed_of(error)

        async with self.turns.turn(job.key, job.facts.depth):
            running = loop.run_in_executor(self._executor, perform)
            try:
                outcome = await asyncio.shield(running)
            except asyncio.CancelledError:
                channel.interrupt()
                await asyncio.wait([running])
                raise
        if isinstance(outcome, Failed):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Starts nothing more. Code that still runs is left to end by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)
