"""Real servers for tests: started by the tests themselves, one of each kind for a worker.

    async def test_something(postgres_url: str) -> None: …      # an empty database of its own
    async def test_other(nats_process: ServerProcess) -> None: …  # may kill it and start it again

`postgres_server`, `consul_server` and so on are shared by a worker's tests: use names of your own
there, and leave them running. The `…_process` ones belong to one test; that of NATS is there in
0.1 s, those of Consul, Temporal and PostgreSQL take one or two. A test that needs a server which is
not on this machine is skipped, and says how to get it; with MUSTER_REQUIRE_BACKENDS=1, as `.ci/run`
sets it, it fails instead.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from muster.servers import postgres
from muster.servers.finding import PROGRAMS
from muster.servers.known import KINDS
from muster.servers.server import Server, ServerMissing, ServerProcess
from tests.support.processes import free_port

REQUIRE = "MUSTER_REQUIRE_BACKENDS"
_PSQL_SECONDS = 30.0
_WANT = "a server is missing: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many tests were skipped for want of a server, and how to get it."""
    skipped = Counter(
        report.longrepr[2].partition(_WANT)[2]
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple) and _WANT in report.longrepr[2]
    )
    if skipped:
        terminalreporter.section("NOT TESTED, for want of a server", yellow=True)
        for reason, count in skipped.items():
            terminalreporter.line(f"{count} skipped: {reason}", yellow=True)


def missing(reason: ServerMissing) -> None:
    """Skips the test, and says why; fails it where everything has to be there."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{_WANT}{reason} ({REQUIRE} is set, so this is no skip)", pytrace=False)
    pytest.skip(f"{_WANT}{reason}")


def require(*names: str) -> None:
    """Returns if these programs or servers can be started here: "postgres", "consul", "grpcurl"."""
    for name in names:
        try:
            look_for(name)
        except ServerMissing as reason:
            missing(reason)


def look_for(name: str) -> None:
    """Returns if this program or server can be started here; raises `ServerMissing`."""
    if name == postgres.NAME:
        postgres.choose(postgres.find_programs(), Path(os.devnull))
    else:
        PROGRAMS["nats-server" if name == "nats" else name].find()


def prepared(name: str, folder: Path) -> Server:
    """A server that can be started, on free ports, with its data in `folder`."""
    kind = KINDS[name]
    ports: set[int] = set()
    while len(ports) < kind.ports:
        ports.add(free_port())
    require(name)
    return kind.prepare(folder / name, sorted(ports), folder / f"{name}.log")


@contextmanager
def _shared(name: str) -> Iterator[ServerProcess]:
    """A server that runs outside of any event loop, on data that goes with it."""
    with tempfile.TemporaryDirectory(prefix=f"muster-{name}-") as folder:
        process = ServerProcess(prepared(name, Path(folder)))
        asyncio.run(process.start())
        try:
            yield process
        finally:
            asyncio.run(process.stop())


@asynccontextmanager
async def own_server(name: str, folder: Path) -> AsyncIterator[ServerProcess]:
    """A server that runs inside of the block, with its data in `folder`."""
    async with ServerProcess(prepared(name, folder)) as process:
        yield process


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[ServerProcess]:
    """PostgreSQL that this worker's tests share; they take databases of their own in it."""
    with _shared("postgres") as process:
        yield process


@pytest.fixture(scope="session")
def nats_server() -> Iterator[ServerProcess]:
    """NATS with JetStream that this worker's tests share."""
    with _shared("nats") as process:
        yield process


@pytest.fixture(scope="session")
def consul_server() -> Iterator[ServerProcess]:
    """Consul that this worker's tests share."""
    with _shared("consul") as process:
        yield process


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[ServerProcess]:
    """Temporal that this worker's tests share."""
    with _shared("temporal") as process:
        yield process


@pytest.fixture
async def postgres_process(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """PostgreSQL that only this test knows."""
    async with own_server("postgres", tmp_path) as process:
        yield process


@pytest.fixture
async def nats_process(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """NATS with JetStream that only this test knows."""
    async with own_server("nats", tmp_path) as process:
        yield process


@pytest.fixture
async def consul_process(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Consul that only this test knows."""
    async with own_server("consul", tmp_path) as process:
        yield process


@pytest.fixture
async def temporal_process(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Temporal that only this test knows."""
    async with own_server("temporal", tmp_path) as process:
        yield process


@pytest.fixture
def postgres_url(postgres_server: ServerProcess) -> Iterator[str]:
    """The URL of an empty database that only this test knows."""
    with postgres_database(postgres_server) as url:
        yield url


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
