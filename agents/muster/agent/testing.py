"""Runs capabilities without a mesh.

    bench = Bench(agent)
    bench.child("text.search", returns=["a", "b"])

    run = await bench.run("text.summarize", {"text": "…"})
    assert run.output == "…"
    assert run.progress[-1].fraction == 1.0

    bench.person("Which one?", answers="the first")
    bench.past.keep("seen", 3)              # what ctx.state finds, and
    assert bench.past.state("seen") == 4    # what it has left

Input and output pass through the same checks and encodings as at a host. Async code runs in the
test's event loop, sync code in a thread, where a debugger reaches it. Children are answered by what
the test scripts, or else by the bench's own agents.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from muster.agent.agent import Agent
from muster.agent.bench_past import BenchPast
from muster.agent.bench_port import BenchBlobs, BenchPort, Run, child_failed
from muster.agent.capability import Capability, Runs
from muster.agent.context import Facts
from muster.agent.delegation import Call
from muster.agent.failures import PARKED, Failed
from muster.agent.inquiry import Inquiry
from muster.agent.performing import failed_of, perform_async
from muster.agent.values import Content, content_of, input_content, value_of
from muster.agent.workers.threads import ThreadPool

__all__ = ["Bench", "Run", "Running"]

Reply = Callable[[Any], Any]


class Bench:
    """Agents under test, and the children that they may delegate to."""

    def __init__(self, *agents: Agent) -> None:
        self._capabilities: dict[str, Capability] = {
            capability.name: capability
            for agent in agents
            for capability in agent.capabilities.values()
        }
        self._replies: dict[str, Reply] = {}
        self._people: dict[str, Reply] = {}
        self._numbers = itertools.count(1)
        self.blobs = BenchBlobs()
        self.past = BenchPast()

    def child(
        self,
        capability: str,
        *,
        returns: Any = None,
        fails: Failed | None = None,
        does: Reply | None = None,
    ) -> None:
        """Scripts what children answer: a value, a failure, or what a function says.

        The function gets the child's input and may be async.
        """

        def reply(given: Any) -> Any:
            if fails is not None:
                raise fails
            return does(given) if does is not None else returns

        self._replies[capability] = reply

    def person(self, question: str, *, answers: Any = None, does: Reply | None = None) -> None:
        """Scripts what a person answers to a question of this id or text: a value, or what a
        function says of the question (`Inquiry`). Children's questions are answered too.
        """
        self._people[question] = (lambda _: answers) if does is None else does

    async def run(self, capability: str, input: Any = None, **facts: Any) -> Run:
        """Runs one attempt to its end. `timeout` in seconds sets its deadline and cancels it then.

        One that asks a person is run again with the answer, as often as it asks, as the mesh does;
        where nobody was told to answer, `Run.parked` is the question. Other keyword arguments are
        `Facts`: `attempt=2`, `labels={…}`, `last_failure="…"`, ….
        """
        answers: dict[str, Content] = {}
        asked: list[Inquiry] = []
        while True:
            async with self.start(capability, input, **facts) as running:
                running.port.answers = answers
                run = await running.end()
            asked += run.asked
            run.asked = asked
            inquiry = run.parked
            if inquiry is None:
                return run
            reply = self._people.get(inquiry.id) or self._people.get(inquiry.text)
            if reply is None:
                return run
            answers[inquiry.id] = content_of(reply(inquiry))
            facts = {**facts, "contract_id": running.key, "attempt": running.facts.attempt + 1}

    @asynccontextmanager
    async def start(
        self, capability: str, input: Any = None, *, timeout: float | None = None, **facts: Any
    ) -> AsyncIterator[Running]:
        """Begins an attempt, so that it can be cancelled while it runs; it ends with the block."""
        if capability not in self._capabilities:
            message = f"none of the agents offers {capability}"
            raise LookupError(message)
        facts.setdefault("contract_id", f"{next(self._numbers):016x}")
        facts.setdefault("epoch", 1)
        facts.setdefault("capability", capability)
        if timeout is not None:
            facts.setdefault("deadline", time.time() + timeout)
        running = Running(self, self._capabilities[capability], Facts(**facts))
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(running.perform(input_content(input)))
            running.begin(task, timeout)
            try:
                yield running
            finally:
                running.close()

    async def answer(self, call: Call, content: Content, parent: Facts) -> Content:
        """What a child of an attempt under test answers. Raises `ChildFailed`."""
        reply = self._replies.get(call.capability)
        if reply is None:
            facts = {"parent_id": parent.contract_id, "depth": parent.depth + 1}
            run = await self.run(call.capability, value_of(content), **facts)
            if run.failure is not None:
                raise child_failed(run.failure, call.key)
            return run.content
        try:
            value = reply(value_of(content))
            return content_of(await value if inspect.isawaitable(value) else value)
        except Failed as failed:
            raise child_failed(failed, call.key) from None


class Running:
    """An attempt under test, while it runs."""

    def __init__(self, bench: Bench, capability: Capability, facts: Facts) -> None:
        self.capability = capability
        self.facts = facts
        self.run = Run()
        self.port = BenchPort(
            self.run, capability, facts, bench.answer, bench.blobs, self.park, bench.past
        )
        self.key = facts.contract_id
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begun = asyncio.Event()

    @property
    def cancel_code(self) -> str | None:
        """Why it was cancelled; None while it was not."""
        return self.port.cancel_code

    async def begun(self) -> None:
        """Waits until its code runs."""
        await self._begun.wait()

    def cancel(self, code: str = "CANCELLED") -> None:
        """Cancels it, as the mesh would with this code."""
        if self.port.cancel_code is None and self._task is not None and not self._task.done():
            self.port.cancel_code = code
            self._task.cancel(code)

    def park(self, inquiry: Inquiry) -> None:
        """It asks a person, and is over."""
        if self.port.cancel_code is None:
            self.run.parked = inquiry
            self.cancel(PARKED)

    async def end(self) -> Run:
        """Waits until it has ended."""
        assert self._task is not None
        await asyncio.wait([self._task])
        return self.run

    # --- what the bench and the pool of threads use -----------------------------------------------

    def begin(self, task: asyncio.Task[None], timeout: float | None) -> None:
        """The task that runs it is there."""
        self._task = task
        if timeout is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout, self.cancel, "DEADLINE_EXCEEDED")

    def close(self) -> None:
        """The block ends: so does the attempt."""
        if self._timer is not None:
            self._timer.cancel()
        self.cancel()

    async def perform(self, content: Content) -> None:
        """Runs it and notes how it ends."""
        try:
            if self.capability.runs is Runs.LOOP:
                self.run.content = await perform_async(self, content)
            else:
                pool = ThreadPool(1)
                try:
                    self.run.content = await pool.run(self, content)
                finally:
                    await pool.close()
        except asyncio.CancelledError:
            self.run.failure = Failed(self.cancel_code or "CANCELLED", "it was cancelled")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - all of it is how it ended
            self.run.failure = failed_of(error)

    def started(self) -> None:
        self._begun.set()

    def tell(self, message: Any) -> None:
        self.port.tell(message)

    async def serve(self, message: Any) -> tuple[dict[str, Any], Sequence[Content]]:
        return await self.port.serve(message)
