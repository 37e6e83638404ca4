"""How a worker of pytest-xdist died, and what it was doing: told in the summary of the run.

xdist says which test ran. The interpreter knows more when it crashes, the stack of every thread,
but says it on the worker's error output: between other lines, and lost where nobody keeps that.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

_INPUT = "muster_stacks"
_END_SECONDS = 5.0  # its pipe is closed already when this is waited for

_folder = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
_deaths = pytest.StashKey[list[str]]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Names the file that a worker is to write to when it crashes."""
    stash = node.config.stash
    if _folder not in stash:
        stash[_folder] = tempfile.TemporaryDirectory(prefix="muster-stacks-")
    node.workerinput[_INPUT] = str(Path(stash[_folder].name, node.gateway.id))


@pytest.hookimpl(trylast=True)  # pytest itself chooses the error output
def pytest_configure(config: pytest.Config) -> None:
    """In a worker: lets the interpreter write there."""
    path = getattr(config, "workerinput", {}).get(_INPUT)
    if path is not None:
        # Open as long as the process lives: it may crash while it ends.
        faulthandler.enable(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Notes how a worker ended that was not told to."""
    if error is None:
        return
    stacks = Path(node.workerinput[_INPUT])
    told = stacks.read_text(errors="replace") if stacks.exists() else ""
    end = _end_of(node.gateway._io.popen)
    death = f"{node.gateway.id}: {end}\n{told or 'The interpreter wrote no stack.'}"
    node.config.stash.setdefault(_deaths, []).append(death)


def _end_of(process: subprocess.Popen[bytes]) -> str:
    try:
        status = process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        return "it lives, but does not answer"
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tells of each."""
    deaths = config.stash.get(_deaths, [])
    if deaths:
        terminalreporter.section("workers that died")
        terminalreporter.write("\n".join((*deaths, "")))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leaves no file."""
    if _folder in config.stash:
        config.stash[_folder].cleanup()
