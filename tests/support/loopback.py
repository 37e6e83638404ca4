"""What deploy/ starts, started on this machine: the same commands and environment.

No engine, no cluster and no systemd is here, so what they would do is done by tests: names become
addresses of loopback, mounted files lie in the test's folder, and each process gets ports of its
own.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muster.cli.health import probe_target
from muster.runtime.identity.authority import make_authority
from tests.sources import ROOT
from tests.support.deploying import (
    EXAMPLES,
    K8S,
    Manifest,
    container_environment,
    documents,
    expanded,
    generated,
    specified,
    units,
)
from tests.support.processes import Machine, Process, free_port, serving, until

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


# --- Kubernetes -----------------------------------------------------------------------------------


def issue(folder: Path) -> None:
    """What cert-manager would: the files of each Secret in a folder of its name."""
    authority = make_authority(folder / "ca", "muster.local")
    components = K8S / "components"
    for path in (*components.glob("cert-manager/*.yaml"), *components.glob("temporal/*/*.yaml")):
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


async def start_pod(
    loopback: Loopback, name: str, pod: Manifest, at: str = ""
) -> Mapping[str, str]:
    """Starts what a pod's container is; returns what it is told, which other commands may use.

    Its certificate lies where `issue` puts it. Its own address is POD-IP.
    """
    (container,) = pod["spec"]["containers"]
    told = container_environment(container, generated(K8S / "base"))
    own = {"of-pod_name": f"muster-{name}-0", "of-pod_ip": "POD-IP"}
    for mark, value in own.items():
        told = {key: each.replace(mark, value) for key, each in told.items()}
    tls = str(loopback.folder / pod["spec"]["volumes"][0]["secret"]["secretName"])
    told = {key: each.replace("/etc/muster/tls", tls) for key, each in told.items()}
    words = [expanded(word, told) for word in container["args"]]
    await loopback.start(name, words, told, at)
    return told


# --- systemd --------------------------------------------------------------------------------------


def command_of(unit: str, instance: str = "") -> list[str]:
    return shlex.split(specified(units()[unit]["ExecStart"][0], instance))[1:]


def wrapper(unit: str) -> tuple[str, ...]:
    assert units()[unit]["MemoryDenyWriteExecute"] == ["yes"]
    assert units()[unit]["NoNewPrivileges"] == ["yes"]
    return "-c", HARDENED
