"""A real Ray, started by the tests: one for each worker that has such tests, which share a group.

Its start takes some ten seconds, so pools under test connect to it as to a cluster. A test without
Ray is skipped, and says how to get it; with MUSTER_REQUIRE_BACKENDS=1 it fails instead.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from muster.servers.server import ServerMissing
from tests.support.processes import ROOT, free_port
from tests.support.servers import missing

START_SECONDS = 60.0
GONE_SECONDS = 20.0
OBJECTS_BYTES = 80 * 1024 * 1024
HEAD_CPUS = 4  # so it says; on two cores there is no more than that


def require_ray() -> None:
    """Returns if Ray is installed."""
    if importlib.util.find_spec("ray") is None:
        missing(ServerMissing("Ray is not installed; get it with: make ray"))


class Node:
    """A node of the cluster: a group of processes that ends as one."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def wait_started(self) -> None:
        """Returns when it says that it runs."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._log.open("ab") as log:
                log.write(line)
            if b"Ray runtime started" in line:
                return
        raise AssertionError(f"Ray did not start:\n{self._log.read_text()}")

    def kill(self) -> None:
        """Ends all of it at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(GONE_SECONDS)


class Cluster:
    """A head, and nodes that come and go."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        self.environment = {
            "MUSTER_RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
        }
        # What lets a pool in.

        self._folder = folder
        self._nodes: list[Node] = []

    def start_head(self) -> Node:
        """The node that every other one needs."""
        port = self.address.rpartition(":")[2]
        return self._start(
            "--head",
            f"--port={port}",
            "--include-dashboard=false",
            f"--temp-dir={self._folder}",
            f"--num-cpus={HEAD_CPUS}",
        )

    def start_node(self, cpus: int = HEAD_CPUS + 1) -> Node:
        """One more; hosts that reserve so many CPUs have to be there."""
        return self._start(f"--address={self.address}", f"--num-cpus={cpus}")

    def _start(self, *arguments: str) -> Node:
        log = self._folder / f"node-{len(self._nodes)}.log"
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from ray.scripts.scripts import main; main()",
                "start",
                "--block",
                "--node-ip-address=127.0.0.1",
                f"--object-store-memory={OBJECTS_BYTES}",
                "--disable-usage-stats",
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith(("MUSTER_", "RAY_"))},
                **self.environment,
                "PYTHONPATH": str(ROOT),
                "RAY_USAGE_STATS_ENABLED": "0",
            },
            start_new_session=True,
        )
        node = Node(process, log)
        self._nodes.append(node)
        node.wait_started()
        return node

    def close(self) -> None:
        """Ends every node."""
        for node in self._nodes:
            try:
                node.kill()
            except ProcessLookupError:
                continue


@contextmanager
def ray_cluster_in(folder: Path) -> Iterator[Cluster]:
    """A cluster that runs while the block runs."""
    cluster = Cluster(folder)
    try:
        cluster.start_head()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Cluster]:
    """The cluster that this worker's tests share."""
    require_ray()
    # Ray's sockets are in it, and the system allows their names 107 characters.
    with tempfile.TemporaryDirectory(prefix="mr-") as folder, ray_cluster_in(Path(folder)) as made:
        yield made
