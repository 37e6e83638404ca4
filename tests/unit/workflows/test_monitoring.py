"""Looking at things: what is seen, what has changed, what is told."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from muster.agent.testing import Bench
from muster.workflows.monitoring import agents as watching
from muster.workflows.monitoring import comparing, history, probing, targets
from muster.workflows.monitoring.shapes import Probe, Seen, Target
from tests.unit.workflows.running import Page, files_in, monitoring, text_of

URL = "http://a/b"


def probe(**changes: Any) -> Probe:
    return replace(Probe(URL, "a", True, "200", "d1", 10.0, 100.0), **changes)


def seen(*probes: Probe, run: str = "r", at: float = 0.0) -> Seen:
    return Seen(run, at, list(probes), [])


def kinds(probes: list[Probe], *before: Seen) -> list[str]:
    return [change.kind for change in comparing.compare("now", probes, before).changes]


# --- changes --------------------------------------------------------------------------------------


def test_nothing_has_changed_at_the_first_look():
    found = comparing.compare("r", [probe(up=False)], [])
    assert (found.first, found.changes, found.down) == (True, [], 1)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, []),
        ({"up": False, "code": "REFUSED"}, ["DOWN"]),
        ({"code": "204"}, ["CODE"]),
        ({"digest": "d2"}, ["CONTENT"]),
        ({"digest": ""}, []),
        ({"latency_ms": 5_000.0}, []),  # nobody knows yet what is usual
        ({"code": "204", "digest": "d2"}, ["CODE", "CONTENT"]),
    ],
)
def test_each_change_is_found(now: dict[str, Any], expected: list[str]):
    assert kinds([probe(**now)], seen(probe())) == expected


def test_what_comes_back_comes_and_goes_is_news():
    down = probe(up=False, code="TIMEOUT", detail="no answer in 2 s")
    assert kinds([probe()], seen(down)) == ["UP"]
    assert kinds([down], seen(down)) == []
    assert kinds([probe(), probe(url="http://c")], seen(probe())) == ["NEW"]
    assert kinds([probe()], seen(probe(), probe(url="http://c"))) == ["GONE"]
    change = comparing.compare("r", [down], [seen(probe())]).changes[0]
    assert (change.before, change.after) == ("200", "TIMEOUT")
    assert change.text == "a is down: no answer in 2 s"


def test_only_the_first_slow_look_in_a_row_is_news():
    usual = [seen(probe(latency_ms=10.0 + n % 3)) for n in range(6)]
    slow = probe(latency_ms=400.0)
    assert kinds([slow], *usual) == ["SLOW"]
    assert kinds([slow], *usual, seen(slow)) == []
    assert kinds([probe(latency_ms=45.0)], *usual) == []  # the machine's own unrest
    assert kinds([slow], *usual[:4]) == []


# --- history --------------------------------------------------------------------------------------


def test_a_look_is_kept_once_however_often_it_is_written(tmp_path: Path):
    first = seen(probe(), run="a/b", at=1_000.5)
    for _ in range(2):
        history.keep(tmp_path, first)
    assert list(files_in(tmp_path)) == ["0000001000500-a_b.json"]
    assert history.latest(tmp_path, 5) == [first]


def test_what_was_seen_before_leaves_out_the_same_run_and_later_ones(tmp_path: Path):
    looks = [seen(probe(), run=f"r{n}", at=float(n)) for n in range(1, 6)]
    for look in looks:
        history.keep(tmp_path, look)
    (tmp_path / "0000000000001-junk.json").write_text("[not json")
    assert [look.run for look in history.before(tmp_path, "r4", 4.0, 10)] == ["r1", "r2", "r3"]
    assert [look.run for look in history.before(tmp_path, "r4", 4.0, 2)] == ["r2", "r3"]
    assert history.before(tmp_path / "none", "r", 1.0, 5) == []


def test_history_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "LOOKS_KEPT_MAX", 3)
    for n in range(6):
        history.keep(tmp_path, seen(run=f"r{n}", at=float(n)))
    assert [look.run for look in history.latest(tmp_path, 9)] == ["r3", "r4", "r5"]


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://a", "begins with"),
        ("a:80", "begins with"),
        ("tcp://a", "needs a port"),
        ("grpc://a/x", "needs a port"),
        ("http://", "names nothing"),
        ("http://a:99999", "port"),
    ],
)
def test_a_target_that_nobody_can_look_at_is_refused(url: str, says: str):
    with pytest.raises(targets.TargetError, match=says):
        targets.parse(url)


def test_a_mesh_has_its_services_ports_pages_and_agents():
    found = targets.unique(
        targets.of_mesh(["h:7171"], ["h:7180"], ["muster.v1.BlobService"], ["writer"])
    )
    assert [target.url for target in found] == [
        "grpc://h:7171/",
        "grpc://h:7171/live",
        "grpc://h:7171/muster.v1.BlobService",
        "http://h:7180/live",
        "http://h:7180/ready",
        "http://h:7180/metrics",
        "tcp://h:7171",
        "tcp://h:7180",
        "agents://writer",
    ]
    assert [target.url for target in found if not target.content] == ["http://h:7180/metrics"]
    with pytest.raises(targets.TargetError, match="nothing to look at"):
        targets.unique([])


# --- probes, of real servers ----------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """Answers what its server says."""

    def do_GET(self) -> None:
        code, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def web() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.answer = (200, b"hello")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def address_of(server: Any) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


@asynccontextmanager
async def health_server() -> AsyncIterator[tuple[str, Any]]:
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", servicer
    finally:
        await server.stop(None)


async def look(url: str, timeout: float = 5.0) -> Probe:
    return await probing.probe(targets.parse(url), timeout)


async def test_a_page_is_seen_with_its_status_and_content():
    with web() as server:
        url = f"http://{address_of(server)}/x"
        one = await look(url)
        assert (one.up, one.code) == (True, "200")
        assert one.latency_ms > 0
        assert (await look(url)).digest == one.digest != ""
        server.answer = (200, b"hello, you")
        assert (await look(url)).digest != one.digest
        assert (await probing.probe(Target(url, "x", content=False), 5.0)).digest == ""
        server.answer = (503, b"")
        assert (await look(url)).code == "503"
        assert not (await look(url)).up


async def test_a_port_is_open_or_refused():
    with web() as server:
        address = address_of(server)
        assert (await look(f"tcp://{address}")).code == "OPEN"
    for scheme in ("tcp", "http"):
        found = await look(f"{scheme}://{address}")
        assert (found.up, found.code) == (False, "REFUSED")
    assert not (await look(f"grpc://{address}/")).up


async def test_a_service_is_seen_as_its_health_says():
    async with health_server() as (address, servicer):
        assert (await look(f"grpc://{address}/")).code == "SERVING"
        await servicer.set("a.B", HealthCheckResponse.NOT_SERVING)
        found = await look(f"grpc://{address}/a.B")
        assert (found.up, found.code) == (False, "NOT_SERVING")
        assert (await look(f"grpc://{address}/no.Such")).code == "NOT_FOUND"


async def test_who_says_nothing_is_down_in_time():
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closing.wait()
        writer.close()

    closing = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await look(f"http://127.0.0.1:{port}/", 0.2)
        assert (found.up, found.code) == (False, "TIMEOUT")
        closing.set()


# --- the agents -----------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    return Bench(
        watching.planner, watching.prober, watching.analyst, watching.alerter, watching.reporter
    )


async def test_what_changes_between_two_runs_is_published_and_shown(bench: Bench, tmp_path: Path):
    with web() as server:
        address = address_of(server)
        urls = [f"http://{address}/page", f"tcp://{address}"]
        first, page, alerted = await monitoring(bench, str(tmp_path), "run-1", urls=urls)
        assert (first["first"], first["changes"], alerted) == (True, [], None)
        assert page["up"] == 2
        server.answer = (500, b"oh")
        second, page, alerted = await monitoring(bench, str(tmp_path), "run-2", urls=urls)
        assert [change["kind"] for change in second["changes"]] == ["DOWN"]
        (event,) = alerted.published
        assert event.topic == "monitoring.alert"
        again = {"run": "run-2", "changes": second["changes"]}
        (same,) = (await bench.run("monitoring.alert", again)).published
        assert same == event
    third, page, alerted = await monitoring(bench, str(tmp_path), "run-3", urls=urls)
    assert [change["kind"] for change in third["changes"]] == ["CODE", "DOWN"]
    assert (page["looks"], page["up"], page["down"]) == (3, 0, 2)
    text = text_of(page["index"])
    Page(text)
    assert text.count('class="chip bad">DOWN') == 2
    assert len(files_in(tmp_path / "history")) == 3


async def test_comparing_again_finds_the_same(bench: Bench, tmp_path: Path):
    def given(run: str, **changes: Any) -> dict[str, Any]:
        return {"run": run, "probes": [probe(**changes)], "out_dir": str(tmp_path)}

    await bench.run("monitoring.compare", given("one", at=1.0))
    once = await bench.run("monitoring.compare", given("two", at=2.0, code="404", up=False))
    again = await bench.run("monitoring.compare", given("two", at=2.0, code="404", up=False))
    assert once.output == again.output
    assert [change["kind"] for change in once.output["changes"]] == ["DOWN"]


async def test_where_a_mesh_says_nothing_its_last_look_says_what_there_was(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "DISCOVERY_SECONDS", 0.3)
    monkeypatch.setenv("MUSTER_ADDRESS", "127.0.0.1:1")
    before = probe(url="grpc://127.0.0.1:1/muster.v1.BlobService")
    history.keep(tmp_path / "history", seen(before, probe(url="agents://writer"), at=1.0))
    given = {"grpc": ["127.0.0.1:1"], "http": ["127.0.0.1:1"], "out_dir": str(tmp_path)}
    found = (await bench.run("monitoring.targets", given)).output["targets"]
    assert {"grpc://127.0.0.1:1/muster.v1.BlobService", "agents://writer"} <= {
        target["url"] for target in found
    }


async def test_a_run_without_a_look_and_a_bad_target_are_refused(bench: Bench, tmp_path: Path):
    for capability, given, code in (
        ("monitoring.page", {"out_dir": str(tmp_path)}, "NOTHING_SEEN"),
        ("monitoring.targets", {"urls": ["gopher://a"]}, "TARGET"),
        ("monitoring.probe", {"target": Target(URL, "a"), "timeout": 0.0}, "TIMEOUT_RANGE"),
    ):
        failure = (await bench.run(capability, given)).failure
        assert failure is not None
        assert (failure.code, failure.permanent) == (code, True)
