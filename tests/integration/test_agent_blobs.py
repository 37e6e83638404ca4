"""Large payloads and blobs, through a connection that breaks."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from muster.agent import Agent, Blob, Client, Context, Host, connect
from muster.model.errors import MusterError
from tests.support.sample_agents import sample
from tests.support.scripted_blobs import CHUNK_BYTES
from tests.support.scripted_mesh import ScriptedMesh, scripted_mesh

DATA = random.Random(1).randbytes(10 * CHUNK_BYTES + 5)

keeper = Agent("keeper")


@keeper.capability("demo.grow")
async def grow(text: str, times: int, ctx: Context) -> str:
    await ctx.output(text * times)
    return text * times


@keeper.capability("demo.pass_down")
async def pass_down(text: str, ctx: Context) -> int:
    grown: str = await ctx.call("demo.grow", {"text": text, "times": 1})
    return len(grown)


@pytest.fixture
async def mesh() -> AsyncIterator[ScriptedMesh]:
    async with scripted_mesh() as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: ScriptedMesh) -> AsyncIterator[Client]:
    host = Host([keeper, sample], target=mesh.target, name="host")
    async with host.running(), connect(mesh.target) as client:
        yield client


async def test_what_is_large_travels_as_a_blob_and_nobody_notices(
    mesh: ScriptedMesh, client: Client
) -> None:
    text = "é" * 100_000
    assert await client.call("demo.grow", {"text": text, "times": 2}) == text * 2
    (contract,) = mesh.contracts.values()
    assert contract.request.payload.blob.media_type == "application/json"
    assert mesh.reports[0].payload.HasField("blob")
    assert mesh.sessions[0].items[0].output.payload.HasField("blob")


async def test_what_is_large_reaches_children_and_workers(client: Client) -> None:
    text = "a" * 200_000
    assert await client.call("demo.pass_down", {"text": text}) == len(text)
    given = {"text": text, "times": 2}
    assert await client.call("demo.repeat_in_worker", given) == text * 2
    blob = await client.call("demo.keep", {"text": text}, returns=Blob)
    assert await client.blobs.get(blob) == text.encode()


# CANCELLED is what gRPC gives a call that reaches a server while it stops; INTERNAL, without a word
# from the mesh, where the server had given a reason while the client was writing.
@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL],
)
async def test_an_upload_goes_on_where_it_broke_off(
    mesh: ScriptedMesh, client: Client, code: grpc.StatusCode
) -> None:
    mesh.blobs.breaks, mesh.blobs.code = 2, code
    large = DATA * 2
    blob = await client.blobs.put(large, "x/y")
    assert mesh.blobs.whole[blob.sha256] == large
    puts = [offset for what, offset in mesh.blobs.calls if what == "put"]
    assert puts == [0, 4 * CHUNK_BYTES, 8 * CHUNK_BYTES]


async def test_a_download_goes_on_where_it_broke_off(mesh: ScriptedMesh, client: Client) -> None:
    blob = await client.blobs.put(DATA)
    mesh.blobs.breaks = 2
    assert await client.blobs.get(blob) == DATA
    gets = [offset for what, offset in mesh.blobs.calls if what == "get"]
    assert gets == [0, CHUNK_BYTES, 2 * CHUNK_BYTES]


async def test_a_range_is_a_range(client: Client) -> None:
    blob = await client.blobs.put(DATA)
    assert await client.blobs.get(blob, 10, 20) == DATA[10:30]
    assert await client.blobs.get(blob, len(DATA) - 3) == DATA[-3:]
    assert await client.blobs.get(blob, len(DATA)) == b""


async def test_files_go_and_come_without_being_held_in_memory(
    client: Client, tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(DATA)
    blob = await client.blobs.put_file(there, "x/y")
    assert (blob.size_bytes, blob.media_type) == (len(DATA), "x/y")
    await client.blobs.get_file(blob, back)
    assert back.read_bytes() == DATA


async def test_an_empty_blob_is_a_blob(client: Client) -> None:
    blob = await client.blobs.put(b"")
    assert await client.blobs.get(blob) == b""


async def test_a_mesh_that_stays_away_is_given_up_on(
    mesh: ScriptedMesh, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.agent.blobs.reconnect_pause", lambda failures, fraction: 0.0)
    mesh.blobs.away = True
    with pytest.raises(MusterError, match="broken off"):
        await client.blobs.put(b"a")
