"""Runs the peers' drivers, in an environment of their own that Muster knows nothing of."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.processes import executing, free_port

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "peers"
LOCK = FOLDER / "requirements.lock"
ENVIRONMENT = ROOT / ".venv-peers"
STAMP = ENVIRONMENT / "installed"
PYTHON = ENVIRONMENT / "bin" / "python"
ROUND_SECONDS_MAX = 120.0


class PeerMissing(Exception):
    """A peer cannot be run here; the message says how to get it."""


def prepare() -> None:
    """Makes the environment from its lock file, unless it is current. Raises `PeerMissing`."""
    wanted = f"{ROOT}\n{sys.version}\n{LOCK.read_text()}"
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    uv = [sys.executable, "-m", "uv"]
    commands = (
        [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)],
        [
            *uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(PYTHON),
            "--require-hashes",
            "-r",
            str(LOCK),
        ],
    )
    for command in commands:
        try:
            subprocess.run(command, check=True)
        except (subprocess.CalledProcessError, OSError) as error:
            message = f"the peers' environment could not be made ({error}); see {LOCK.name}"
            raise PeerMissing(message) from error
    STAMP.write_text(wanted)


def require(name: str) -> None:
    """Raises `PeerMissing` when a peer needs a program that is not here."""
    if name == "celery" and shutil.which("redis-server") is None:
        message = "redis-server is missing (on Debian and Ubuntu: apt install redis-server)"
        raise PeerMissing(message)


async def run_peer(name: str, folder: Path, seconds: float, in_flight: int) -> dict[str, Any]:
    """One round of a peer: what its driver printed."""
    command = (
        *(str(PYTHON), str(FOLDER / f"{name}_echo.py")),
        *("--folder", str(folder), "--port", str(free_port())),
        *("--seconds", str(seconds), "--in-flight", str(in_flight)),
    )
    async with (
        asyncio.timeout(ROUND_SECONDS_MAX),
        executing(name, *command, stdout=asyncio.subprocess.PIPE) as child,
    ):
        output, _ = await child.process.communicate()
        if child.process.returncode:
            message = f"{name} ended with {child.process.returncode}"
            raise RuntimeError(message)
        answer: dict[str, Any] = json.loads(output)
        return answer
