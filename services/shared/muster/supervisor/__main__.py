"""A mesh without a terminal: what `muster up --detach` starts.

The plan comes as JSON in MUSTER_PLAN. What there is to say goes to stderr, and, until the mesh
serves, as JSON lines to the pipe that the plan names: {"note": …}, then {"ready": …} or {"error":
…, "code": …}.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from muster.runtime.fleet import FleetError, load_fleet
from muster.supervisor.mesh import Mesh
from muster.supervisor.plan import AlreadyRunning, Interrupted, Plan, Refused, StartError

EXIT_FAILED, EXIT_MISCONFIGURED, EXIT_REFUSED, EXIT_INTERRUPTED = 1, 2, 5, 130
PLAN_VARIABLE = "MUSTER_PLAN"


def exit_code_of(error: StartError) -> int:
    """What a program is told about a mesh that did not start."""
    if isinstance(error, AlreadyRunning):
        return EXIT_REFUSED
    if isinstance(error, Interrupted):
        return EXIT_INTERRUPTED
    return EXIT_MISCONFIGURED if isinstance(error, Refused) else EXIT_FAILED


def main() -> int:
    """Runs the mesh until it is told to stop; returns the exit code."""
    told: dict[str, Any] = json.loads(os.environ.pop(PLAN_VARIABLE))
    descriptor = told.pop("pipe")
    fleet_file = told.pop("fleet_file")
    plan = Plan(
        data_dir=Path(told.pop("data_dir")),
        fleet_file=Path(fleet_file) if fleet_file else None,
        backends=tuple(told.pop("backends")),
        **told,
    )
    return asyncio.run(_run(plan, _Starter(descriptor)))


def stop_on_signals(mesh: Mesh) -> None:
    """SIGINT, SIGTERM and the end of the terminal stop the mesh; a second one waits for nothing.

    What is ignored stays ignored: `nohup` and a shell's background jobs mean it so.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, mesh.request_stop)


class _Starter:
    """Whoever started us and waits; gone once the mesh serves, or before."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def say(self, **message: Any) -> None:
        """Tells it something, if it still listens."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.write(self._descriptor, json.dumps(message).encode() + b"\n")

    def leave(self) -> None:
        """Nothing more is said."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


async def _run(plan: Plan, starter: _Starter) -> int:
    def tell(text: str) -> None:
        with suppress(OSError):
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
            print(stamp, text, file=sys.stderr, flush=True)  # noqa: T201 - this is its log
        starter.say(note=text)

    try:
        mesh = Mesh(plan, load_fleet(plan.fleet_file) if plan.fleet_file else None, tell)
        stop_on_signals(mesh)
        async with mesh:
            starter.say(ready=True)
            starter.leave()
            await mesh.stop_requested()
    except FleetError as error:
        starter.say(error=str(error), code=EXIT_MISCONFIGURED)
        return EXIT_MISCONFIGURED
    except StartError as error:
        starter.say(error=str(error), code=exit_code_of(error))
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
