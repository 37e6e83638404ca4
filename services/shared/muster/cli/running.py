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

# The whole of a command that asks for something that is there already: connecting, a few answers.
_MARGIN_SECONDS = 5.0


def run(work: Callable[[], Coroutine[Any, Any, int | None]], *, seconds: float | None) -> NoReturn:
    """Runs `work` for at most `seconds`, and ends the process with the code that it returns.

    None is for what people end themselves; it has its own limits inside.
    """
    sys.exit(_guarded(lambda: asyncio.run(_bounded(work, seconds))))


def run_plain(work: Callable[[], int | None]) -> NoReturn:
    """The same without an event loop."""
    sys.exit(_guarded(work))


async def _bounded(
    work: Callable[[], Coroutine[Any, Any, int | None]], seconds: float | None
) -> int:
    try:
        async with asyncio.timeout(None if seconds is None else seconds + _MARGIN_SECONDS):
            return await work() or exits.OK
    except TimeoutError:
        message = f"the mesh did not answer in {seconds:.0f} s"
        raise Trouble(message, exits.TIMED_OUT, "how it is: muster status") from None


def _guarded(work: Callable[[], int | None]) -> int:
    from muster.model.errors import MusterError

    try:
        return work() or exits.OK
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
