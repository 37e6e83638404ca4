"""What compose.yaml, the pods and the units start, started: the same commands and environment.

No engine, no cluster and no systemd is here, so what they would do is done by the test: names
become addresses of loopback, mounted files lie in the test's folder, and each process gets ports of
its own.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from muster.cli.health import probe_target
from muster.runtime.identity.authority import make_authority
from muster.servers.server import ServerProcess
from tests.sources import ROOT
from tests.support.deploying import (
    EXAMPLES,
    K8S,
    base,
    compose,
    compose_processes,
    container_environment,
    documents,
    expanded,
    generated,
    image_environment,
    pods,
    specified,
    unit_environment,
    units,
)
from tests.support.found_meshes import listed
from tests.support.processes import Machine, Process, free_port, machine, serving, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("processes")]

SECONDS = 40.0

# What the units ask systemd for, as far as a process can ask the kernel for it: no new privileges,
# and no memory that is written to and then run (Linux 6.3; before it, that one is left out).
HARDENED = """
import ctypes, os, sys
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0
prctl(65, 1, 0, 0, 0)
os.umask(0o077)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Loopback:
    """Where what deploy/ names is in this test, and how processes are told."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        self.places: dict[str, str] = {EXAMPLES: str(ROOT / "agents" / "examples")}
        self.told: dict[str, dict[str, str]] = {}
        self.running: dict[str, Process] = {}

    def here(self, text: str) -> str:
        """With every name replaced."""
        for name in sorted(self.places, key=len, reverse=True):
            text = text.replace(name, self.places[name])
        return text

    def place(self, *names: str) -> None:
        """Gives ports to what is reached at these names, as host:port."""
        for name in names:
            self.places.setdefault(name, f"127.0.0.1:{free_port()}")

    async def start(
        self,
        name: str,
        words: Sequence[str],
        told: Mapping[str, str],
        at: str = "",
        wrapper: Sequence[str] = (),
    ) -> None:
        """Starts a process; one that serves is reached `at` a name that has a place."""
        data = self.folder / name
        await asyncio.to_thread(data.mkdir, exist_ok=True)
        own = {"MUSTER_HOST": "127.0.0.1", "MUSTER_DATA_DIR": str(data)}
        if at:
            own["MUSTER_GRPC_PORT"] = self.places[at].rpartition(":")[2]
            own["MUSTER_HEALTH_PORT"] = str(free_port())
            own["MUSTER_HTTP_PORT"] = str(free_port())
        self.told[name] = {key: self.here(value) for key, value in told.items()} | own
        command = (*wrapper, "-m", "muster.cli", *map(self.here, words))
        started = await self.machine.start(name, *command, environment=self.told[name])
        self.running[name] = started

    async def healthy(self, *names: str) -> None:
        """Returns when they serve, asked as their health checks ask."""
        for name in names:
            target, _ = probe_target(None, self.told[name])
            async with asyncio.TaskGroup() as tasks:
                ended = tasks.create_task(self.running[name].wait(SECONDS))
                asking = tasks.create_task(serving(target))
                await asyncio.wait({ended, asking}, return_when=asyncio.FIRST_COMPLETED)
                assert not ended.done(), self.running[name].said
                ended.cancel()

    async def run(self, name: str, words: Sequence[str], told: Mapping[str, str]) -> str:
        """Runs a command to its end, which must be good; returns what it said."""
        await self.start(name, words, told)
        process = self.running.pop(name)
        assert await process.wait(SECONDS) == 0, process.said
        return process.said

    async def offered(self, capability: str, told: Mapping[str, str]) -> None:
        """Returns when somebody has offered it."""

        async def known() -> bool:
            await self.start("capabilities", ["capabilities", capability], told)
            return await self.running.pop("capabilities").wait(SECONDS) == 0

        await until(known, SECONDS, f"{capability} is offered")

    async def drain(self, *names: str) -> None:
        """SIGTERM to each: it drains, and says with its code that all is well."""
        for name in names:
            assert await self.running[name].terminate() == 0, self.running[name].said


@pytest.fixture
async def loopback(tmp_path: Path) -> AsyncIterator[Loopback]:
    async with machine(tmp_path) as started:
        yield Loopback(started, tmp_path)


def secret(folder: Path, name: str, value: str) -> Path:
    path = folder / name
    path.write_text(value)
    path.chmod(0o400)
    return path


# --- compose --------------------------------------------------------------------------------------


def in_order(services: Mapping[str, Any]) -> list[str]:
    """So that each comes after what it depends on; raises where that cannot be."""
    order: list[str] = []
    while len(order) < len(services):
        ready = [
            name
            for name, each in services.items()
            if name not in order and set(each.get("depends_on", {})) <= set(order)
        ]
        assert ready, f"these wait for each other: {services.keys() - set(order)}"
        order += ready
    return order


async def test_compose_starts_a_mesh_in_which_an_agent_answers(
    loopback: Loopback, postgres_url: str, nats_server: ServerProcess, consul_process: ServerProcess
) -> None:
    folder, services = loopback.folder, compose()["services"]
    loopback.places |= {
        "/etc/muster/tls": str(folder / "tls"),
        "/run/secrets/ledger": str(secret(folder, "ledger", postgres_url)),
        "nats://nats:4222": nats_server.server.url,
        "consul://consul:8500": consul_process.server.url,
    }
    at = {
        name: each["environment"]["MUSTER_ADVERTISE"]
        for name, each in compose_processes().items()
        if "MUSTER_ADVERTISE" in each.get("environment", {})
    }
    loopback.place(*at.values())
    for kind, port in (("scheduler", 7173), ("registry", 7172), ("executor", 7174)):
        both = [loopback.places[f"{kind}-{number}:{port}"] for number in (1, 2)]
        loopback.places[f"dns:///{kind}:{port}"] = ",".join(both)

    order = [name for name in in_order(services) if name in compose_processes()]
    for name in order:
        each = services[name]
        told = {**image_environment(), **each.get("environment", {})}
        if each.get("restart") == "no":
            if "profiles" not in each:
                await loopback.run(name, each["command"], told)
            continue
        # What it depends on is healthy: each waits before the next one starts.
        await loopback.start(name, each["command"], told, at.get(name, ""))
        if name in at:
            await loopback.healthy(name)
    for kind in ("scheduler", "registry", "executor"):
        names = {name for name in at if name.startswith(kind)}

        async def pass_in_consul(kind: str = kind, names: set[str] = names) -> bool:
            # Asked in clear, at the ports for probes: Consul has no certificate here.
            found = await asyncio.to_thread(listed, consul_process.server.address, kind)
            return found == dict.fromkeys(names, "passing")

        await until(pass_in_consul, SECONDS, f"Consul lists {names} as passing")

    cli = {**image_environment(), **services["cli"]["environment"]}
    health = services["scheduler-1"]["healthcheck"]["test"]
    assert health[:2] == ["CMD", "muster"]
    assert "serving" in await loopback.run("probe", health[2:], loopback.told["scheduler-1"])
    await loopback.offered("text.shout", cli)
    said = await loopback.run("call", ["call", "text.shout", "text=hello"], cli)
    assert "HELLO!" in said
    assert re.search(r"\bscheduler +serving\b", await loopback.run("status", ["status"], cli))
    # The other way round: each finds what it needs until its end.
    await loopback.drain(*(name for name in reversed(order) if name in loopback.running))


# --- Kubernetes -----------------------------------------------------------------------------------


def issue(folder: Path) -> None:
    """What cert-manager would: the files of each Secret in a folder of its name."""
    authority = make_authority(folder / "ca", "muster.local")
    for path in sorted((K8S / "components" / "cert-manager").glob("*.yaml")):
        for each in documents(path.read_text()):
            if each["kind"] == "Certificate":
                spec = each["spec"]
                (uri,) = spec["uris"]
                addresses = [*spec["dnsNames"], "127.0.0.1"] if "dnsNames" in spec else []
                name = spec["secretName"]
                cert, key = authority.issue(name, uri, addresses)
                secret = folder / name
                secret.mkdir()
                cert.rename(secret / "tls.crt")
                key.rename(secret / "tls.key")
                shutil.copy(authority.path, secret / "ca.crt")


async def test_the_pods_are_a_mesh_in_which_an_agent_answers(
    loopback: Loopback, postgres_url: str, nats_server: ServerProcess
) -> None:
    folder, configs = loopback.folder, generated(K8S / "base")
    await asyncio.to_thread(issue, folder)
    secret(folder, "ledger", postgres_url)
    secret(folder, "bus", nats_server.server.url)
    loopback.places["/etc/muster/backends"] = str(folder)
    ports = {"scheduler": 7173, "registry": 7172, "executor": 7174}
    for kind, port in ports.items():
        peer = f"muster-{kind}-0.muster-{kind}-peers.muster.svc:{port}"
        loopback.place(peer)
        # One of each is enough here.
        loopback.places[f",{peer.replace('-0.', '-1.')}"] = ""
        loopback.places[f"dns:///muster-{kind}.muster.svc:{port}"] = loopback.places[peer]
        loopback.places[f"POD-IP:{port}"] = loopback.places[peer]

    async def start(name: str, at: str = "") -> dict[str, str]:
        pod = pods(base())[f"muster-{name}"]
        (container,) = pod["spec"]["containers"]
        told = container_environment(container, configs)
        own = {"of-pod_name": f"muster-{name}-0", "of-pod_ip": "POD-IP"}
        for mark, value in own.items():
            told = {key: each.replace(mark, value) for key, each in told.items()}
        tls = str(folder / pod["spec"]["volumes"][0]["secret"]["secretName"])
        told = {key: each.replace("/etc/muster/tls", tls) for key, each in told.items()}
        words = [expanded(word, told) for word in container["args"]]
        await loopback.start(name, words, told, at)
        return told

    for kind, port in ports.items():
        await start(kind, f"muster-{kind}-0.muster-{kind}-peers.muster.svc:{port}")
    await loopback.healthy(*ports)
    told = await start("agents")
    await loopback.offered("text.shout", told)
    said = await loopback.run("call", ["call", "text.shout", "text=hello"], told)
    assert "HELLO!" in said
    await loopback.drain("agents", "executor", "registry", "scheduler")


# --- systemd --------------------------------------------------------------------------------------


async def test_the_units_start_a_mesh_in_which_an_agent_answers(
    loopback: Loopback, postgres_url: str, nats_server: ServerProcess
) -> None:
    folder = loopback.folder
    tls = folder / "tls"
    words = ["certs", str(tls), "--service=service", "--agent=shouter", "--client=you"]
    await loopback.run("certs", words, {})
    loopback.places |= {
        "/run/credentials/ledger": str(secret(folder, "ledger", postgres_url)),
        "nats://nats.example.com:4222": nats_server.server.url,
        "/etc/muster/tls/service": str(tls / "service.service"),
        "/etc/muster/tls/ca.pem": str(tls / "ca.pem"),
        "/etc/muster/host-tls/agent": str(tls / "agent.default.shouter"),
        "/etc/muster/host-tls/ca.pem": str(tls / "ca.pem"),
        "/etc/muster/hosts": str(ROOT / "agents" / "examples"),
        # This is the only machine.
        **{f",mesh-2.example.com:{port}": "" for port in (7172, 7173)},
    }
    at = {"scheduler": 7173, "registry": 7172, "executor": 7174}
    for port in at.values():
        name = f"mesh-1.example.com:{port}"
        loopback.place(name)
        loopback.places[f"dns:///mesh.example.com:{port}"] = loopback.places[name]
    for kind, port in at.items():
        unit = f"muster-{kind}.service"
        await loopback.start(
            kind,
            command_of(unit),
            unit_environment(unit),
            f"mesh-1.example.com:{port}",
            wrapper(unit),
        )
    await loopback.healthy(*at)
    host = "muster-host@.service"
    told = unit_environment(host, "ten_lines")
    await loopback.start("host", command_of(host, "ten_lines"), told, wrapper=wrapper(host))
    mine = "MUSTER_TLS_CERT", "MUSTER_TLS_KEY"
    client = {name: told[name].replace("agent", "client") for name in mine}
    loopback.places["/etc/muster/host-tls/client"] = str(tls / "client.default.you")
    await loopback.offered("text.shout", {**told, **client})
    call = ["call", "text.shout", "text=hello", "--timeout", "30s"]
    assert "HELLO!" in await loopback.run("call", call, {**told, **client})
    await loopback.drain("host", "executor", "registry", "scheduler")


def command_of(unit: str, instance: str = "") -> list[str]:
    return shlex.split(specified(units()[unit]["ExecStart"][0], instance))[1:]


def wrapper(unit: str) -> tuple[str, ...]:
    assert units()[unit]["MemoryDenyWriteExecute"] == ["yes"]
    assert units()[unit]["NoNewPrivileges"] == ["yes"]
    return "-c", HARDENED
