"""How a service process begins and ends: configuration, logs, event loop, exit code."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from muster.backends.ledger_base import LedgerBusy, LedgerForeign
from muster.failpoints import FailpointsInvalid
from muster.failpoints import check as check_failpoints
from muster.runtime.config import Config, ConfigError, Role, load_config
from muster.runtime.logs import configure_logs, get_logger
from muster.runtime.serve import Part, Server
from muster.telemetry import tracing
from muster.telemetry.wanted import TelemetryInvalid

# Objects that live for one contract die by reference count; the collector is for the few cycles. At
# its default threshold it took 4 % of a busy mesh's time. A look at the newest objects takes longer
# the more there are, 6 ms at 50,000; those that outlive such looks are looked at every 50.
GC_THRESHOLD_OBJECTS = 10_000
GC_THRESHOLD_LOOKS = 50

# How long a busy event loop keeps another thread waiting, mostly the ledger's writer. Python's own
# 5 ms are as long as thirty commits.
SWITCH_SECONDS = 0.0005

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2


def run_process(role: Role, build: Callable[[Config], Sequence[Part]]) -> int:
    """Runs the parts that `build` makes until a signal has drained them; returns the exit code.

    `build` is called with a running event loop; what needs closing it opens inside of `Part.run`.
    """
    try:
        config = load_config(role)
        configure_logs(config.logs.log_level, config.logs.log_format)
        _check_failpoints()
        _begin_traces(role, config)
        run_in_loop(_run(config, build))
    except (ConfigError, LedgerForeign) as error:
        print(f"muster: {error}", file=sys.stderr)  # noqa: T201 - for whoever typed the command
        return EXIT_MISCONFIGURED
    except LedgerBusy as error:  # the other owner may go away: another start may help
        print(f"muster: {error.message}", file=sys.stderr)  # noqa: T201 - the same
        return EXIT_FAILED
    except Exception:  # noqa: BLE001 - logged with its traceback; the code tells the supervisor
        get_logger("muster.runtime").exception("the process failed")
        return EXIT_FAILED
    finally:
        tracing.end()
    return EXIT_OK


def _begin_traces(role: Role, config: Config) -> None:
    """Before anything else is imported that needs to know whether there are traces."""
    service = "muster" if role is Role.ALL else f"muster-{role.value}"
    try:
        tracing.begin(service, config.name)
    except TelemetryInvalid as error:
        raise ConfigError(str(error)) from None


def _check_failpoints() -> None:
    try:
        armed = check_failpoints()
    except FailpointsInvalid as error:
        raise ConfigError(str(error)) from None
    if armed:
        get_logger("muster.runtime").warning("failpoints are armed", failpoints=armed)


async def _run(config: Config, build: Callable[[Config], Sequence[Part]]) -> None:
    server = Server(config.listen, build(config), config.tls)
    # From before it serves: whoever sees it serving may stop it at once.
    with server.stopped_by_signals():
        await server.start()
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD_OBJECTS, GC_THRESHOLD_LOOKS)
        await server.wait_stopped()


def run_in_loop(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` in uvloop's event loop; in asyncio's where there is none."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)
