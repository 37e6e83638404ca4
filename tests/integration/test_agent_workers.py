"""Worker processes: when they start and end, what they can find, and what they cannot break."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from muster.agent import Agent, Client, Host, connect
from muster.agent.capability import Capability
from muster.agent.context import Facts
from muster.agent.failures import Failed
from muster.agent.values import Content
from muster.agent.workers.pipe import Message
from muster.agent.workers.pool import WorkerPool
from tests.sources import ROOT
from tests.support.sample_agents import sample
from tests.support.scripted_mesh import ScriptedMesh, scripted_mesh


@dataclass
class Attempted:
    """A job of which nobody asks anything."""

    key: str
    capability: Capability
    facts: Facts = field(default_factory=lambda: Facts("c", 1))
    cancel_code: str | None = None
    has_started: bool = False

    def started(self) -> None:
        self.has_started = True

    def tell(self, message: Message) -> None:
        raise AssertionError(message)

    async def serve(self, message: Message) -> tuple[dict[str, Any], list[Content]]:
        raise AssertionError(message)


def job(name: str, key: str = "job") -> Attempted:
    return Attempted(key, sample.capabilities[name, "1.0.0"])


async def process_of(pool: WorkerPool) -> int:
    content = await pool.run(job("demo.process"), Content("json", "{}"))
    return int(content.data)


@asynccontextmanager
async def a_pool(**options: Any) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(1, **options)
    try:
        yield pool
    finally:
        await pool.close()


async def until(true: Callable[[], bool]) -> None:
    """Waits for what another process does, which tells nobody."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    await until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_a_worker_is_kept_for_the_next_attempt_and_ends_when_it_is_idle() -> None:
    async with a_pool(idle_seconds=0.1) as pool:
        assert pool.processes == 0
        pid = await process_of(pool)
        assert await process_of(pool) == pid
        await gone(pid)
        assert pool.processes == 0
        assert await process_of(pool) != pid


async def test_a_worker_that_died_while_idle_is_replaced() -> None:
    async with a_pool() as pool:
        pid = await process_of(pool)
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        assert await process_of(pool) != pid


async def test_closing_ends_every_worker() -> None:
    async with a_pool() as pool:
        pid = await process_of(pool)
    assert not alive(pid)


async def test_who_waits_for_a_worker_has_not_started(tmp_path: Path) -> None:
    async with a_pool() as pool, asyncio.TaskGroup() as tasks:
        path = tmp_path / "pid"
        content = Content("json", f'{{"path":"{path}"}}')
        first, second = job("demo.stubborn"), job("demo.process", "second")
        holding = tasks.create_task(swallow(pool.run(first, content)))
        waiting = tasks.create_task(pool.run(second, Content("json", "{}")))
        await until(path.exists)
        await until(lambda: first.has_started)
        assert not second.has_started
        os.kill(int(path.read_text()), signal.SIGSEGV)
        failed = await holding
        assert isinstance(failed, Failed)
        assert (failed.code, failed.permanent) == ("WORKER_DIED", False)
        assert "SIGSEGV" in failed.message
        assert int((await waiting).data) > 0


async def swallow(running: Any) -> object:
    try:
        return await running
    except Failed as failed:
        return failed


async def test_who_gives_up_waiting_gets_no_worker(tmp_path: Path) -> None:
    async with a_pool() as pool, asyncio.TaskGroup() as tasks:
        path = tmp_path / "pid"
        content = Content("json", f'{{"path":"{path}"}}')
        tasks.create_task(swallow(pool.run(job("demo.stubborn"), content)))
        waiting = tasks.create_task(pool.run(job("demo.process", "second"), content))
        await until(path.exists)
        waiting.cancel()
        await asyncio.wait([waiting])
        third = tasks.create_task(process_of(pool))
        os.kill(int(path.read_text()), signal.SIGKILL)
        assert await third > 0


SCRIPT = """
import os, sys
from dataclasses import dataclass
from muster.agent import Agent, SyncContext

@dataclass
class Sum:
    total: int
    by: int

agent = Agent("adder")

@agent.capability("demo.add")
def add(a: int, b: int, ctx: SyncContext) -> Sum:
    print("this must not reach the pipe")
    sys.stdout.flush()
    os.system("echo neither must this")
    ctx.progress(1.0, "added")
    return Sum(a + b, os.getpid())

if __name__ == "__main__":
    agent.run(name="script")
"""


@pytest.fixture
async def mesh() -> AsyncIterator[ScriptedMesh]:
    async with scripted_mesh() as mesh:
        yield mesh


async def added(client: Client) -> int:
    result = await client.call("demo.add", {"a": 1, "b": 2})
    assert result["total"] == 3
    return int(result["by"])


async def test_a_script_finds_its_own_functions_in_its_workers(
    mesh: ScriptedMesh, tmp_path: Path
) -> None:
    script = tmp_path / "adder.py"
    script.write_text(SCRIPT)
    host = await asyncio.create_subprocess_exec(
        sys.executable, str(script), env={**os.environ, "MUSTER_ADDRESS": mesh.target}, cwd=ROOT
    )
    try:
        async with connect(mesh.target) as client:
            worker = await added(client)
        assert worker != host.pid
        host.kill()
        await host.wait()
        await gone(worker)
    finally:
        if host.returncode is None:
            host.kill()
            await host.wait()


async def test_a_file_that_is_no_module_of_its_own_is_loaded_by_its_path(
    mesh: ScriptedMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    script = tmp_path / "adder.py"
    script.write_text(SCRIPT)
    spec = importlib.util.spec_from_file_location("nowhere_to_be_found", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "nowhere_to_be_found", module)
    spec.loader.exec_module(module)
    agent: Agent = module.agent
    host = Host([agent], target=mesh.target, name="host")
    async with asyncio.TaskGroup() as tasks, connect(mesh.target) as client:
        tasks.create_task(host.run())
        assert await added(client) != os.getpid()
        host.leave()


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("muster.agent.workers.worker", "asyncio google grpc logging pydantic ssl"),
        ("tests.support.sample_agents", "asyncio google grpc logging pydantic ssl"),
        ("muster.agent.host", "muster.agent.client pydantic uuid"),
    ],
)
async def test_nothing_heavy_is_loaded_that_is_not_needed(module: str, heavy: str) -> None:
    code = f"import sys, {module}; print(*(set({heavy.split()}) & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    loaded, _ = await process.communicate()
    assert loaded.split() == []
