import asyncio
import logging
import textwrap
from collections.abc import Generator

import grpc
import pytest
import structlog
from hypothesis import settings

# Fixtures that every folder may use: the real servers. And how a worker ended that died.
pytest_plugins = [
    "tests.support.servers",
    "tests.support.ray_cluster",
    "tests.support.worker_deaths",
]

REASON_CHARACTERS_MAX = 3_200
REASON_LINE_CHARACTERS_MAX = 800  # some readers fold longer ones

# No time limit on an example: machines are noisy. A failure prints what replays it.
settings.register_profile("muster", deadline=None, print_blob=True)
settings.load_profile("muster")


def pytest_sessionstart() -> None:
    """Keeps gRPC's core running until the process ends.

    It stops with the last channel or server, and starts again with the next: in a process of tests
    hundreds of times a minute. Its threads crashed there now and then, in what may be that stop.
    """
    asyncio.run(_hold_grpc())
    # It tells of a server that is freed unstopped, in a line that has the server as an argument.
    # Who keeps lines, as pytest does for caplog, keeps a reference to what is no more, and the next
    # one who follows it, the garbage collector or `getMessage`, brings the process down.
    logging.getLogger("grpc._cython.cygrpc").setLevel(logging.INFO)


async def _hold_grpc() -> None:
    grpc.aio.init_grpc_aio()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Leaves logging as it was before a test that sets it up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        return (yield)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what was measured: a test says it with record_property("figure", "…"). Then, once more
    and in a few lines each, why tests failed: their whole story stands far above."""
    figures = [
        f"{report.nodeid}: {value}"
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "figure" and report.when == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write("\n".join((*sorted(figures), "")))
    reasons = [
        f"{report.nodeid}, {report.when}: {_reason(report)}"
        for outcome in ("failed", "error")
        for report in terminalreporter.getreports(outcome)
    ]
    if reasons:
        terminalreporter.section("why they failed")
        terminalreporter.write("\n".join((*sorted(reasons), "")))


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The failure in one line: what an exception said, with its notes, or the end of its story."""
    lines = [
        line[1:].strip()
        for line in report.longreprtext.splitlines()
        if line.startswith("E ") and line[1:].strip()
    ]
    text = " | ".join(lines or report.longreprtext.splitlines()[-3:])[:REASON_CHARACTERS_MAX]
    return "\n  ".join(textwrap.wrap(text, REASON_LINE_CHARACTERS_MAX))
