"""Watches that outlive their streams: one that ends is begun again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import grpc

from muster.agent.session.core import reconnect_pause
from muster.model.errors import Code
from muster.wire.errors import PASSING, error_of_rpc

F = TypeVar("F")

# A watch that was taken from it, or whose run another scheduler has taken over, goes on, too.
_PASSING = PASSING | {Code.ABORTED}


async def reopened(
    begin: Callable[[], grpc.aio.UnaryStreamCall[Any, F]], passing: frozenset[Code] = _PASSING
) -> AsyncGenerator[F, None]:
    """Frames of a watch, without end. `begin` opens its stream, again whenever one has ended: what
    the caller changes in its request between two frames is what the next stream is asked for.

    Raises the error of a stream whose code is not among `passing`.
    """
    failures = 0
    while True:
        call = begin()
        try:
            async for frame in call:
                failures = 0
                yield frame
        except grpc.RpcError as broken:
            error = error_of_rpc(broken)
            if error.code not in passing:
                raise error from None
        finally:
            call.cancel()
        await asyncio.sleep(reconnect_pause(failures, random.random()))
        failures += 1
