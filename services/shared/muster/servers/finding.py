"""Where the programs are that `make backends` gets: on PATH, or in the cache that it builds into.

    PROGRAMS["consul"].find()      # → /…/consul, at least as new as the version we are tested with

A program on PATH fits if it is of the same major version and not older; the cache holds exactly
the pinned versions, one folder each, outside of any clone. PostgreSQL comes with the system and is
found by `postgres`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from muster.servers.server import ServerMissing

_ASK_SECONDS = 20.0
_VERSION = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)\b")

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Program:
    """A program written in Go, at the version that Muster is tested with."""

    name: str
    version: Version
    package: str
    # What `go build` builds.

    asks: str = "--version"
    # The argument that makes it say its version.

    version_variable: str = ""
    # The variable that holds its version, where the linker has to set it.

    @property
    def title(self) -> str:
        """For people: "consul 1.21.0"."""
        return f"{self.name} {dotted(self.version)}"

    def fits(self, version: Version | None) -> bool:
        """Whether we can work with a version that was found."""
        return version is not None and version[0] == self.version[0] and version >= self.version

    def cached(self, environment: Mapping[str, str] = os.environ) -> Path:
        """Where `make backends` puts it."""
        folder = cache_folder(environment) / f"{self.name}-{dotted(self.version)}"
        return folder / self.name

    def on_path(self, environment: Mapping[str, str] = os.environ) -> tuple[Path, Version] | None:
        """The one on PATH, if it fits."""
        found = shutil.which(self.name, path=environment.get("PATH"))
        version = self.version_of(Path(found)) if found else None
        return (Path(found), version) if found and version and self.fits(version) else None

    def find(self, environment: Mapping[str, str] = os.environ) -> Path:
        """One that fits. Raises `ServerMissing`."""
        if found := self.on_path(environment):
            return found[0]
        cached = self.cached(environment)
        if os.access(cached, os.X_OK):
            return cached
        message = (
            f"{self.title} is not on this machine; in Muster's sources: make backends "
            f"(or put it, or a newer {self.version[0]}.x, on PATH)"
        )
        raise ServerMissing(message)

    def version_of(self, path: Path) -> Version | None:
        """What a program says that it is; None when it does not say it."""
        with suppress(OSError, subprocess.SubprocessError):
            ended = subprocess.run(
                [path, self.asks],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_ASK_SECONDS,
                check=True,
            )
            # grpcurl says it on stderr.
            return parse_version(ended.stdout + ended.stderr)
        return None


# In the order in which they are worth waiting for. `deploy/backends` pins the same versions, which
# a test holds, with everything that they are built from.
PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        Program("nats-server", (2, 15, 2), "github.com/nats-io/nats-server/v2"),
        Program("consul", (1, 21, 0), "github.com/hashicorp/consul"),
        Program(
            "grpcurl",
            (1, 9, 4),
            "github.com/fullstorydev/grpcurl/cmd/grpcurl",
            version_variable="main.version",
        ),
        Program(
            "temporal",
            (1, 5, 1),
            "github.com/temporalio/cli/cmd/temporal",
            version_variable="github.com/temporalio/cli/temporalcli.Version",
        ),
        # These look at deploy/k8s, for the tests.
        Program("kustomize", (5, 7, 1), "sigs.k8s.io/kustomize/kustomize/v5", asks="version"),
        Program(
            "kube-score",
            (1, 20, 0),
            "github.com/zegl/kube-score/cmd/kube-score",
            asks="version",
            version_variable="main.version",
        ),
    )
}


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where built programs are, for every clone of this user: as the XDG specification has it."""
    home = environment.get("XDG_CACHE_HOME", "")
    # The specification has relative paths ignored.
    base = Path(home) if home.startswith("/") else Path.home() / ".cache"
    return base / "muster" / "backends"


def parse_version(text: str) -> Version | None:
    """The first version in a text."""
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def dotted(version: Version) -> str:
    """As people write it."""
    return ".".join(map(str, version))
