"""Traces that are off cost nothing: not even an import."""

import os
import subprocess
import sys

SCRIPT = """
import asyncio, sys
import muster.agent, muster.agent.workers.worker, muster.allinone.__main__
from muster.agent import Agent, Host, connect
from muster.telemetry import tracing
from muster.telemetry.calls import client_interceptors, server_interceptors
from muster.agent.services import spans_of_process
from muster.scheduler.spans import ContractSpans
from muster.executor.spans import DispatchSpans
assert tracing.begin("x", "y", {}) is None and tracing.current() is None
assert tracing.tracer("x") is None and tracing.current_span() is None
assert spans_of_process("x", "y") is None
assert ContractSpans.of_process() is None and DispatchSpans.of_process() is None
assert not client_interceptors() and not server_interceptors()
tracing.end()
found = [name for name in sys.modules if name.startswith("opentelemetry")]
assert not found, found
"""

MISSING = """
import sys
sys.modules["opentelemetry"] = None  # as where it is not installed
from muster.agent.services import spans_of_process
from muster.telemetry import tracing
try:
    tracing.begin("x", "y")
except ValueError as error:
    print(error)
assert spans_of_process("x", "y") is None
"""


def run(script: str, **told: str) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=clean | told, capture_output=True, text=True, check=False)


def test_nothing_of_opentelemetry_is_imported_while_traces_are_off():
    ended = run(SCRIPT)
    assert ended.returncode == 0, ended.stderr


def test_where_it_is_not_installed_it_is_said_how_to_get_it():
    ended = run(MISSING, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    assert ended.returncode == 0, ended.stderr
    assert "OpenTelemetry is not installed; pip install 'muster-mesh[telemetry]'" in ended.stdout
    assert "no traces of this process" in ended.stderr
