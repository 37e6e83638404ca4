"""Worker processes of a host, for code that computes.

They are started when there is work for them, kept for the next, and ended when they have been idle
for a while. Each runs one attempt at a time. One that dies fails its attempt and nothing else.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from muster.agent.failures import WORKER_DIED, Failed
from muster.agent.values import Content, value_of
from muster.agent.workers import pipe
from muster.agent.workers.slots import Slots
from muster.agent.workers.turns import Job, Turns
from muster.model import limits
from muster.telemetry import tracing


class WorkerDied(Failed):
    """The process ended under the attempt."""

    def __init__(self, code: int | None) -> None:
        super().__init__(WORKER_DIED, f"the worker process that ran it {_how(code)}")


def _how(code: int | None) -> str:
    if code is None:
        return "went away"
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class WorkerProcess:
    """The host's end of a worker."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._out = process.stdin
        self._in = process.stdout
        self._prefix = b""
        self.has_begun = False  # with what it was last asked to run
        self.idle_timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls) -> WorkerProcess:
        """A new process; it loads what it needs when it is first asked to run something."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "muster.agent.workers.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._in.at_eof()

    async def send(self, said: dict[str, Any], contents: Sequence[Content] = ()) -> None:
        """Says something; a worker that is gone is noticed when it does not answer."""
        try:
            self._out.write(pipe.encode(said, contents))
            await self._out.drain()
        except (ConnectionError, RuntimeError):
            return

    async def receive(self) -> pipe.Message:
        """The next thing the worker says. Raises `WorkerDied`. Loses nothing when cancelled."""
        try:
            if not self._prefix:
                self._prefix = await self._in.readexactly(pipe.PREFIX_BYTES)
            text, rest = pipe.lengths(self._prefix)
            body = await self._in.readexactly(text + rest)
        except asyncio.IncompleteReadError:
            raise WorkerDied(await self._process.wait()) from None
        self._prefix = b""
        return pipe.decode(body[:text], body[text:])

    def close(self) -> None:
        """Lets the worker end; nothing of it is running."""
        self._out.close()

    def kill(self) -> None:
        """Ends the worker whatever it does."""
        if self._process.returncode is None:
            self._process.kill()

    async def wait(self) -> None:
        """Waits until the process is gone."""
        await self._process.wait()


class WorkerPool:
    """Hands attempts to workers. Nothing is started before the first attempt comes."""

    def __init__(
        self,
        size: int,
        *,
        idle_seconds: float = limits.WORKER_IDLE_SECONDS,
        stop_seconds: float = limits.WORKER_STOP_SECONDS,
        suspended_max: int = limits.WORKERS_SUSPENDED_MAX,
    ) -> None:
        self.turns = Turns(Slots(size, suspended_max))
        self._idle: list[WorkerProcess] = []
        self._all: set[WorkerProcess] = set()
        self._idle_seconds = idle_seconds
        self._stop_seconds = stop_seconds

    @property
    def processes(self) -> int:
        """How many there are, idle ones included."""
        return len(self._all)

    async def run(self, job: Job, content: Content) -> Content:
        """Runs a capability in a worker and returns its output; raises `Failed`.

        A worker that died while it was idle is nobody's failure: another one begins. When the
        caller is cancelled, the code is told so, and its process is killed if it does not end in
        time.
        """
        async with self.turns.turn(job.key, job.facts.depth):
            while True:
                worker = self._idle_worker()
                was_idle = worker is not None
                worker = worker or await self._new_worker()
                worker.has_begun = False
                try:
                    return await self._follow(worker, job, content)
                except WorkerDied:
                    if worker.has_begun or not was_idle:
                        raise
                finally:
                    self._give_back(worker)

    async def _follow(self, worker: WorkerProcess, job: Job, content: Content) -> Content:
        try:
            await worker.send(_run_message(job), [content])
            while True:
                message = await worker.receive()
                match message.said["say"]:
                    case "begun":
                        worker.has_begun = True
                        job.started()
                    case "tell":
                        job.tell(message)
                    case "ask":
                        said, contents = await job.serve(message)
                        await worker.send({"do": "answer", **said}, contents)
                    case "done":
                        return message.contents[0]
                    case "failed":
                        raise _failed(message)
        except asyncio.CancelledError:
            await self._stop(worker, job.cancel_code or "CANCELLED")
            raise
        except WorkerDied:
            self._all.discard(worker)
            raise

    async def _stop(self, worker: WorkerProcess, code: str) -> None:
        """Tells the code to stop, and waits until it has, or until its time is up."""
        try:
            async with asyncio.timeout(self._stop_seconds):
                await worker.send({"do": "cancel", "code": code})
                while (await worker.receive()).said["say"] not in ("done", "failed"):
                    continue
        except (TimeoutError, WorkerDied, asyncio.CancelledError):
            # Before Python 3.11.3, a timeout in a task that is being cancelled comes out as its
            # cancellation (gh-102780). Either way nobody waits for this worker any more.
            await self._end(worker)

    # --- processes --------------------------------------------------------------------------------

    def _idle_worker(self) -> WorkerProcess | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.idle_timer is not None:
                worker.idle_timer.cancel()
            if worker.alive:
                return worker
            self._all.discard(worker)
        return None

    async def _new_worker(self) -> WorkerProcess:
        worker = await WorkerProcess.start()
        self._all.add(worker)
        return worker

    def _give_back(self, worker: WorkerProcess) -> None:
        if worker in self._all:
            loop = asyncio.get_running_loop()
            worker.idle_timer = loop.call_later(self._idle_seconds, self._retire, worker)
            self._idle.append(worker)

    def _retire(self, worker: WorkerProcess) -> None:
        self._idle.remove(worker)
        self._all.discard(worker)
        worker.close()

    async def _end(self, worker: WorkerProcess) -> None:
        self._all.discard(worker)
        worker.kill()
        await worker.wait()

    async def _let_end(self, workers: Sequence[WorkerProcess]) -> None:
        """Gives workers the time to get rid of their spans; those that take longer are killed."""
        for worker in workers:
            worker.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.SPANS_EXIT_SECONDS):
                for worker in workers:
                    await worker.wait()

    async def close(self) -> None:
        """Ends every worker."""
        for worker in self._idle:
            if worker.idle_timer is not None:
                worker.idle_timer.cancel()
        if tracing.current() is not None:
            await self._let_end(self._idle)
        self._idle.clear()
        for worker in list(self._all):
            await self._end(worker)


def _run_message(job: Job) -> dict[str, Any]:
    function = job.capability.function
    module = sys.modules.get(function.__module__)
    spec = getattr(module, "__spec__", None)
    name = function.__module__
    if name == "__main__" and spec is not None:
        name = spec.name  # python -m package.module: importable by its name
    return {
        "do": "run",
        "module": name,
        "file": getattr(module, "__file__", None),
        "function": function.__qualname__,
        "name": job.capability.name,
        "version": job.capability.version,
        "facts": asdict(job.facts),
        "path": sys.path,
    }


def _failed(message: pipe.Message) -> Failed:
    said = message.said
    details = value_of(message.contents[0]) if message.contents else None
    return Failed(
        said["code"],
        said["message"],
        permanent=said["permanent"],
        retry_after=said["retry_after"],
        details=details,
    )
