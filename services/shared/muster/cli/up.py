"""`muster up`: a mesh in this terminal, or in the background."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster.cli import exits, text
from muster.cli.exits import Trouble
from muster.cli.fleet_files import read_fleet
from muster.cli.terminal import err, say
from muster.model import limits
from muster.model.fleet import Fleet
from muster.supervisor.finding import PORT_DEFAULT, find_data_dir
from muster.supervisor.plan import (
    PORT_MAX,
    AlreadyRunning,
    Plan,
    StartError,
    check_plan,
    make_folders,
)
from muster.supervisor.state import MeshState, read_state

_START_SECONDS = (
    limits.SERVER_START_SECONDS + limits.SERVICE_START_SECONDS + limits.FLEET_CONNECT_SECONDS + 30.0
)


@dataclass(frozen=True)
class UpOptions:
    """What the command line says."""

    separate: bool = False
    fleet: Path | None = None
    detach: bool = False
    port: int | None = None
    http: bool = True
    data_dir: Path | None = None
    backends: str = ""
    # Names, separated by commas.

    replicas: int = 1
    pool: str = "subprocess"


def up(options: UpOptions) -> int:
    """Starts a mesh; returns when it has been stopped, or, detached, when it serves."""
    plan = plan_of(options)
    fleet = None if plan.fleet_file is None else read_fleet(plan.fleet_file)
    return _detached(plan) if options.detach else asyncio.run(_attached(plan, fleet))


def plan_of(options: UpOptions) -> Plan:
    """The plan that the command line and the environment ask for. Raises `Trouble`."""
    port = options.port
    if port is None:
        named = os.environ.get("MUSTER_GRPC_PORT", "")
        port = int(named) if named.isdigit() else PORT_DEFAULT
    if not 0 <= port <= PORT_MAX:
        message = f"--port must be from 1 to {PORT_MAX}, or 0 for any that are free, not {port}"
        raise Trouble(message, exits.USAGE)
    folder = options.data_dir.expanduser().absolute() if options.data_dir else find_data_dir()
    plan = Plan(
        data_dir=folder,
        separate=options.separate or options.replicas > 1,
        port=port,
        host=os.environ.get("MUSTER_HOST", "127.0.0.1"),
        http=options.http and os.environ.get("MUSTER_HTTP_PORT", "").lower() != "none",
        fleet_file=options.fleet.expanduser().absolute() if options.fleet else None,
        backends=tuple(name for each in options.backends.split(",") if (name := each.strip())),
        replicas=options.replicas,
        pool=options.pool,
    )
    try:
        check_plan(plan, os.environ)
    except StartError as error:
        raise Trouble(str(error), exits.USAGE) from None
    return plan


def trouble_of_start(error: StartError, plan: Plan) -> Trouble:
    """What a person is told about a mesh that did not start."""
    from muster.supervisor.__main__ import exit_code_of

    if not isinstance(error, AlreadyRunning):
        return Trouble(str(error), exit_code_of(error))
    state = read_state(plan.data_dir)
    return Trouble(
        already_running(state, time.time()) if state else str(error),
        exit_code_of(error),
        "look at it: muster status\nstop it: muster down\n"
        "another beside it: muster up --data-dir FOLDER --port 0",
    )


def already_running(state: MeshState, now: float) -> str:
    """Says what runs, and since when."""
    where = ", ".join(dict.fromkeys(state.endpoints.values()))
    since = text.age(now - state.started)
    since = "just now" if since == "now" else f"{since} ago"
    return f"a mesh runs already at {where} (pid {state.supervisor.pid}, started {since})"


# --- in this terminal -----------------------------------------------------------------------------


async def _attached(plan: Plan, fleet: Fleet | None) -> int:
    from muster.cli.up_view import watch_mesh
    from muster.supervisor.__main__ import stop_on_signals
    from muster.supervisor.mesh import Mesh

    began = time.monotonic()
    mesh = Mesh(plan, fleet, tell=note)
    stop_on_signals(mesh)
    try:
        with err().status(f"starting a mesh in {plan.shape}", spinner="dots"):
            await mesh.__aenter__()
        try:
            _announce(mesh.endpoints.scheduler, plan, fleet, time.monotonic() - began)
            await watch_mesh(mesh)
        finally:
            with err().status("stopping; Ctrl-C again does not wait", spinner="dots"):
                await mesh.__aexit__(None, None, None)
    except StartError as error:
        raise trouble_of_start(error, plan) from None
    note("stopped; nothing was left running")
    return exits.OK


def note(message: str) -> None:
    """A line about something that has happened. Nothing is lost with a terminal that is gone."""
    try:
        stamp = "" if err().is_terminal else time.strftime("%H:%M:%S ")
        say(f"{stamp}{message}")
    except OSError:
        return


def _announce(address: str, plan: Plan, fleet: Fleet | None, seconds: float) -> None:
    with_agents = ""
    if fleet is not None:
        with_agents = f", with {text.counted(fleet.agents, 'agent')}"
    note(f"serving at {address} after {text.duration(seconds)}{with_agents}")


# --- in the background ----------------------------------------------------------------------------


def _detached(plan: Plan) -> int:
    try:
        logs = make_folders(plan.data_dir)
    except StartError as error:
        raise trouble_of_start(error, plan) from None
    began = time.monotonic()
    read_end, write_end = os.pipe()
    try:
        _spawn(plan, write_end, logs / "supervisor.log")
    finally:
        os.close(write_end)
    with (
        err().status(f"starting a mesh in {plan.shape}", spinner="dots"),
        os.fdopen(read_end, "rb", buffering=0) as pipe,
    ):
        last = _follow(pipe, _START_SECONDS)
    if "ready" not in last:
        code = int(last.get("code", exits.FAILED))
        message = last.get("error", f"it did not start; its log: {logs / 'supervisor.log'}")
        if code == exits.REFUSED:
            raise trouble_of_start(AlreadyRunning(message), plan)
        raise Trouble(message, code)
    state = read_state(plan.data_dir)
    where = state.endpoints["scheduler"] if state else "?"
    note(f"serving at {where} after {text.duration(time.monotonic() - began)}")
    say("look at it: muster status    stop it: muster down", style="bright_black")
    return exits.OK


def _spawn(plan: Plan, pipe: int, log: Path) -> None:
    from muster.supervisor.__main__ import PLAN_VARIABLE

    told = {
        "data_dir": str(plan.data_dir),
        "separate": plan.separate,
        "port": plan.port,
        "host": plan.host,
        "http": plan.http,
        "backends": plan.backends,
        "replicas": plan.replicas,
        "pool": plan.pool,
        "fleet_file": str(plan.fleet_file) if plan.fleet_file else None,
        "pipe": pipe,
    }
    with log.open("ab") as file:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "muster.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, PLAN_VARIABLE: json.dumps(told)},
            start_new_session=True,
            pass_fds=[pipe],
        )


def _follow(pipe: Any, seconds: float, show: Callable[[str], None] = note) -> dict[str, Any]:
    """Shows what the supervisor says until it is ready, or gives up, or the time is up."""
    ends_at = time.monotonic() + seconds
    pending = b""
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, ends_at - time.monotonic()))
        if not ready:
            message = f"the mesh is not there after {seconds:.0f} s"
            return {"error": message, "code": exits.TIMED_OUT}
        chunk = pipe.read(65536)
        if not chunk:
            return {}
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            said: dict[str, Any] = json.loads(line)
            if "note" not in said:
                return said
            show(said["note"])
