"""Runs a command to its end, whatever that is, and makes an exit code of it."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

from muster.cli import exits
from muster.cli.exits import Trouble
from muster.model import limits
from muster.model.errors import MusterError

Work = Callable[[], Coroutine[Any, Any, int]]


def run(work: Work) -> NoReturn:
    """Runs what asks for something that is there, and ends the process with the code it returns.

    It has COMMAND_SECONDS for it.
    """
    sys.exit(_guarded(lambda: asyncio.run(_bounded(work))))


def run_until_told(work: Work) -> NoReturn:
    """Runs what goes on until a person or a deadline ends it; it has its own limits inside."""
    sys.exit(_guarded(lambda: asyncio.run(work())))


def run_plain(work: Callable[[], int]) -> NoReturn:
    """Runs what makes an event loop of its own, or none."""
    sys.exit(_guarded(work))


async def _bounded(work: Work) -> int:
    try:
        async with asyncio.timeout(limits.COMMAND_SECONDS + limits.CONNECT_SECONDS):
            return await work()
    except TimeoutError:
        message = f"the mesh did not answer in {limits.COMMAND_SECONDS:.0f} s"
        raise Trouble(message, exits.TIMED_OUT, "how it is: muster status") from None


def _guarded(work: Callable[[], int]) -> int:
    try:
        return work()
    except BrokenPipeError:
        # Whoever read the answer has seen enough. Nothing is left to flush at exit.
        with suppress(OSError):
            sys.stdout.close()
        return exits.OK
    except Trouble as trouble:
        return _complain(trouble)
    except MusterError as error:
        return _complain(exits.trouble_of(error))
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except Exception:  # noqa: BLE001 - a person should see where it was, and a program that it was
        traceback.print_exc()
        return _complain(Trouble("this is a defect of muster; please report it", exits.DEFECT))


def _complain(trouble: Trouble) -> int:
    from muster.cli.terminal import complain

    complain(trouble.message, trouble.next_command)
    return trouble.code
