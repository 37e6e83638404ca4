"""What every test may rely on, and what a run says of a worker that died: by runs of pytest."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.processes import ROOT


def run(folder: Path, tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs tests in a process of their own, with the plugins of these here."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_inner.py").write_text(textwrap.dedent(tests))
    # The interpreter of a worker tells it, too.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", *arguments, str(folder)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_test_finds_logging_as_it_is_whatever_others_set_up(tmp_path: Path) -> None:
    tests = """
        import logging, sys
        import structlog
        from muster.runtime.logs import configure_logs

        def test_sets_logging_up():
            configure_logs("debug", "json", sys.__stderr__)

        def test_finds_it_as_it_is():
            root = logging.getLogger()
            assert root.level == logging.WARNING
            assert all("pytest" in type(each).__module__ for each in root.handlers), root.handlers
            assert not structlog.is_configured()
    """
    ended = run(tmp_path, tests)
    assert ended.returncode == 0, ended.stdout


def test_nobody_keeps_a_server_that_was_freed(tmp_path: Path) -> None:
    # gRPC hands such a server to the log, and pytest keeps what is logged: it crashed.
    tests = """
        import asyncio, gc, logging
        import grpc

        async def forget():
            grpc.aio.server()

        def test_forgets_a_server_that_never_started(caplog):
            caplog.set_level(logging.DEBUG)
            asyncio.run(forget())
            gc.collect()
            assert not [each for each in caplog.records if "__dealloc__" in str(each.msg)]
    """
    ended = run(tmp_path, tests)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("SIGSEGV", ["Fatal Python error: Segmentation fault", "in test_dies"]),
        ("SIGKILL", ["The interpreter wrote no stack."]),
    ],
)
def test_a_worker_that_dies_says_by_what_and_where(
    tmp_path: Path, name: str, told: list[str]
) -> None:
    tests = f"""
        import os, signal

        def test_dies():
            os.kill(os.getpid(), signal.{name})
    """
    ended = run(tmp_path, tests, "-n", "1", "--max-worker-restart", "0")
    assert ended.returncode == 1, ended.stdout
    summary = ended.stdout.partition("workers that died")[2]
    for each in [f"gw0: ended by {name}", *told]:
        assert each in summary, ended.stdout
