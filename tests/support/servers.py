"""Real servers for tests: started by the tests themselves, one of each kind for a worker.

    async def test_something(postgres_url: str) -> None: …      # an empty database of its own

A test that needs a server which is not on this machine is skipped, and says how to get it; with
MUSTER_REQUIRE_BACKENDS=1, as `.ci/run` sets it, it fails instead. `postgres_process` and its like
give a test a server of its own, which it may kill and start again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from muster.servers import postgres
from muster.servers.server import Server, ServerMissing, ServerProcess
from tests.support.processes import free_port

REQUIRE = "MUSTER_REQUIRE_BACKENDS"
_PSQL_SECONDS = 30.0

Prepare = Callable[[Path], Server]


def prepared(prepare: Prepare, folder: Path) -> Server:
    """A server that can be started; skips or fails the test where its program is missing."""
    try:
        return prepare(folder)
    except ServerMissing as missing:
        message = str(missing)
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{message} ({REQUIRE} is set, so this is no skip)", pytrace=False)
    pytest.skip(message)


@contextmanager
def _running(prepare: Prepare) -> Iterator[ServerProcess]:
    """A server that runs outside of any event loop, on data that goes with it."""
    with tempfile.TemporaryDirectory(prefix="muster-server-") as folder:
        process = ServerProcess(prepared(prepare, Path(folder)))
        asyncio.run(process.start())
        try:
            yield process
        finally:
            asyncio.run(process.stop())


@asynccontextmanager
async def _own(prepare: Prepare, folder: Path) -> AsyncIterator[ServerProcess]:
    server = prepared(prepare, folder)
    async with ServerProcess(server) as process:
        yield process


# --- PostgreSQL -----------------------------------------------------------------------------------


def prepare_postgres(folder: Path) -> Server:
    """PostgreSQL with data of its own in `folder`."""
    return postgres.prepare(folder / "postgres", free_port(), folder / "postgres.log")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[ServerProcess]:
    """PostgreSQL that this worker's tests share; they take databases of their own in it."""
    with _running(prepare_postgres) as process:
        yield process


@pytest.fixture
def postgres_url(postgres_server: ServerProcess) -> Iterator[str]:
    """The URL of an empty database that only this test knows."""
    with postgres_database(postgres_server) as url:
        yield url


@pytest.fixture
async def postgres_process(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """PostgreSQL that only this test knows: it may kill it, and start it again."""
    async with _own(prepare_postgres, tmp_path) as process:
        yield process


@contextmanager
def postgres_database(process: ServerProcess) -> Iterator[str]:
    """The URL of an empty database, gone after the block with whoever still uses it."""
    name = f"test_{secrets.token_hex(8)}"
    url = process.server.url
    psql(url, f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        psql(url, f"DROP DATABASE {name} WITH (FORCE)")


def psql(url: str, statement: str) -> str:
    """What a statement gives, as psql prints it without decoration."""
    program = postgres.find_programs()[0].path("psql")
    ended = subprocess.run(
        [program, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", url, "-c", statement],
        capture_output=True,
        text=True,
        timeout=_PSQL_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()
