"""The servers as Muster runs them: on loopback, durable, ready when they say so."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from muster.servers.known import KINDS, accepts
from muster.servers.server import ServerProcess
from tests.support.processes import free_port, until
from tests.support.servers import own_server, prepared

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("servers")]


@pytest.fixture(params=KINDS)
async def process(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with own_server(request.param, tmp_path) as process:
        yield process


async def test_it_answers_from_start_to_end(process: ServerProcess) -> None:
    server = process.server
    for again in range(2):
        assert await server.answers(server.address), again
        assert await accepts(server.address)
        await process.stop()
        await process.stop()
        assert not await server.answers(server.address)
        assert not await accepts(server.address)
        await process.start()


async def test_it_listens_on_loopback_only(process: ServerProcess) -> None:
    assert process.pid is not None
    listening = [
        each.laddr
        for each in psutil.Process(process.pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert set(process.server.ports) <= {address.port for address in listening}


async def test_it_comes_back_after_a_kill(process: ServerProcess) -> None:
    first = process.pid
    await process.kill()
    await process.start()
    assert process.pid not in (None, first)


@pytest.mark.parametrize("name", KINDS)
async def test_it_ends_with_whoever_started_it(name: str, tmp_path: Path) -> None:
    server = prepared(name, tmp_path)
    starter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _STARTER, name, str(tmp_path), json.dumps(server.ports)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert starter.stdout is not None
    pid = int(await starter.stdout.readline())
    assert await server.answers(server.address)
    starter.send_signal(signal.SIGKILL)
    await starter.wait()
    await until(lambda: not psutil.pid_exists(pid), 20, "the server has ended")


_STARTER = """
import asyncio, json, sys
from pathlib import Path
from muster.servers.known import KINDS
from muster.servers.server import ServerProcess

async def main():
    name, folder, ports = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    async with ServerProcess(KINDS[name].prepare(folder / name, ports, folder / "log")) as process:
        print(process.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


# --- NATS -----------------------------------------------------------------------------------------


async def test_nats_has_written_what_it_acknowledges(nats_process: ServerProcess) -> None:
    """Killed right after an acknowledgement; the configuration says that it syncs before it."""
    server = nats_process.server
    await ask_nats(server.address, "$JS.API.STREAM.CREATE.kept", '{"name":"kept","subjects":["k"]}')
    assert json.loads(await ask_nats(server.address, "k", "first"))["seq"] == 1
    await nats_process.kill()
    await nats_process.start()
    stream = json.loads(await ask_nats(server.address, "$JS.API.STREAM.INFO.kept", ""))
    assert stream["state"]["messages"] == 1
    assert "sync_interval: always" in (server.folder / "nats.conf").read_text()


async def ask_nats(address: str, subject: str, payload: str) -> str:
    """One request and its answer, in NATS's own protocol."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\n')
        writer.write(f"PUB {subject} answer {len(payload)}\r\n{payload}\r\n".encode())
        while not (line := await reader.readline()).startswith(b"MSG "):
            assert line.startswith(b"PING"), line
        return (await reader.readexactly(int(line.split()[-1]))).decode()
    finally:
        writer.close()


# --- Consul ---------------------------------------------------------------------------------------


async def test_consul_keeps_its_data_also_at_other_ports(
    consul_process: ServerProcess, tmp_path: Path
) -> None:
    server = consul_process.server
    assert await asyncio.to_thread(consul, server.address, "PUT", "/v1/kv/kept", b"7") == "true"
    await consul_process.kill()
    await consul_process.start()
    assert await asyncio.to_thread(consul, server.address, "GET", "/v1/kv/kept?raw") == "7"
    await consul_process.stop()
    ports = [free_port() for _ in server.ports]
    moved = KINDS["consul"].prepare(server.folder, ports, tmp_path / "moved.log")
    async with ServerProcess(moved):
        assert await asyncio.to_thread(consul, moved.address, "GET", "/v1/kv/kept?raw") == "7"


def consul(address: str, method: str, path: str, body: bytes | None = None) -> str:
    """What Consul's HTTP API answers."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, body)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
