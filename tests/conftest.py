import asyncio

import grpc
import pytest
from hypothesis import settings

# Fixtures that every folder may use: the real servers.
pytest_plugins = ["tests.support.servers", "tests.support.ray_cluster"]

# No time limit on an example: machines are noisy. A failure prints what replays it.
settings.register_profile("muster", deadline=None, print_blob=True)
settings.load_profile("muster")


def pytest_sessionstart() -> None:
    """Keeps gRPC's core running until the process ends.

    It stops with the last channel or server, and starts again with the next: in a process of tests
    hundreds of times a minute. Its threads crashed there now and then, in what may be that stop.
    """
    asyncio.run(_hold_grpc())


async def _hold_grpc() -> None:
    grpc.aio.init_grpc_aio()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what was measured: a test says it with record_property("figure", "…")."""
    figures = [
        f"{report.nodeid}: {value}"
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "figure" and report.when == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write("\n".join((*sorted(figures), "")))
