"""Waiting for a mesh that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from muster.model import limits
from muster.model.errors import MusterError
from muster.wire.errors import PASSING

T = TypeVar("T")


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """What a call gives, as soon as the mesh is there to answer it. Raises other `MusterError`s."""
    pause = limits.RECONNECT_SECONDS_MIN
    while True:
        try:
            return await call()
        except MusterError as error:
            if error.code not in PASSING:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, limits.RECONNECT_SECONDS_MAX)
