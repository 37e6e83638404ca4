"""PostgreSQL as Muster runs it: durable, its own user, for nobody but its clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from muster.servers import postgres
from muster.servers.server import ServerError, ServerProcess
from tests.support.processes import free_port, until
from tests.support.servers import postgres_database, prepared, psql

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("servers")]


def test_every_test_has_an_empty_database_of_its_own(
    postgres_server: ServerProcess, postgres_url: str
) -> None:
    with postgres_database(postgres_server) as other:
        psql(postgres_url, "CREATE TABLE mine (id int)")
        assert psql(other, "SELECT to_regclass('mine') IS NULL") == "t"


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
def test_what_it_acknowledges_is_on_disk(postgres_url: str, setting: str) -> None:
    assert psql(postgres_url, f"SHOW {setting}") == "on"


def test_text_is_compared_byte_by_byte(postgres_url: str) -> None:
    assert psql(postgres_url, "SELECT 'B' < 'a', 'é' > 'z'") == "t|t"


def test_nobody_gets_in_without_the_password(postgres_server: ServerProcess) -> None:
    server = postgres_server.server
    password = server.url.partition("muster:")[2].partition("@")[0]
    for wrong in ("guess", ""):
        psql_program = postgres.find_programs()[0].path("psql")
        ended = subprocess.run(
            [psql_program, "--no-password", server.url.replace(password, wrong), "-c", "SELECT 1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode != 0
        assert "password" in ended.stderr
    secret = server.folder.with_name("postgres.password")
    assert secret.read_text().strip() == password
    assert secret.stat().st_mode & 0o077 == 0
    assert password not in server.address
    assert not any(password in word for word in server.command), "ps would show it"


async def test_a_killed_one_finds_its_data_again(postgres_process: ServerProcess) -> None:
    url = postgres_process.server.url
    psql(url, "CREATE TABLE kept AS SELECT 7 AS value")
    await postgres_process.kill()
    assert not await postgres.answers(postgres_process.server.address)
    await postgres_process.start()
    assert psql(url, "SELECT value FROM kept") == "7"


async def test_it_is_the_same_after_it_was_prepared_again(
    postgres_process: ServerProcess,
) -> None:
    first = postgres_process.server
    psql(first.url, "CREATE TABLE kept AS SELECT 7 AS value")
    await postgres_process.stop()
    again = postgres.prepare(first.folder, [free_port()], first.log)
    async with ServerProcess(again):
        assert psql(again.url, "SELECT value FROM kept") == "7"


async def test_a_lost_password_is_made_anew(postgres_process: ServerProcess) -> None:
    first = postgres_process.server
    await postgres_process.stop()
    first.folder.with_name("postgres.password").unlink()
    again = postgres.prepare(first.folder, first.ports, first.log)
    assert again.url != first.url
    async with ServerProcess(again):
        assert psql(again.url, "SELECT 1") == "1"


async def test_stopping_does_not_wait_for_clients(postgres_process: ServerProcess) -> None:
    url = postgres_process.server.url
    program = postgres.find_programs()[0].path("psql")
    client = await asyncio.create_subprocess_exec(
        *(program, url, "-c", "SELECT 'its work', pg_sleep(600)"), stderr=asyncio.subprocess.PIPE
    )
    asks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT ''its work''%'"
    await until(lambda: psql(url, asks) == "1", 20, "the client is at work")
    await postgres_process.stop()
    assert "shut down" in postgres_process.server.log.read_text()
    _, said = await client.communicate()
    assert "terminating connection" in said.decode()


def test_half_made_data_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("15\n")
    server = prepared("postgres", tmp_path)
    assert (server.folder / "PG_VERSION").exists()
    assert not half.exists()


async def test_it_is_not_taken_for_another_one_on_its_port(
    postgres_server: ServerProcess, tmp_path: Path
) -> None:
    server = postgres.prepare(tmp_path / "postgres", postgres_server.server.ports, tmp_path / "log")
    with pytest.raises(ServerError, match="Address already in use"):
        await ServerProcess(server).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_root_runs_it_as_its_own_user(postgres_server: ServerProcess) -> None:
    status = Path(f"/proc/{postgres_server.pid}/status").read_text()
    assert postgres_server.server.user is not None
    (line,) = [line for line in status.splitlines() if line.startswith("Uid:")]
    assert set(line.split()[1:]) == {str(postgres_server.server.user.uid)} != {"0"}
