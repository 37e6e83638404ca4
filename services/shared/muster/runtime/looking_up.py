"""Follows what a directory tells of one kind of service."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

from muster.backends.directory_base import Directory, DirectoryError
from muster.model import limits
from muster.model.directory import Found, State

# Hears every entry of a kind.
OnLevel = Callable[[Sequence[Found]], None]


def targets(level: Sequence[Found]) -> Mapping[str, str]:
    """Where those are that pass: name -> gRPC target."""
    return {
        each.meta.get("name", each.id): each.address
        for each in level
        if each.state is State.PASSING and each.address
    }


def as_targets(on_found: Callable[[Mapping[str, str]], None]) -> OnLevel:
    """For whoever wants no more than targets."""
    return lambda level: on_found(targets(level))


async def follow(directory: Directory, kind: str, on_level: OnLevel) -> None:
    """Tells `on_level` at each change, without end. While the directory is away, nothing is said:
    what it last told holds."""
    while True:
        try:
            async for level in directory.watch(kind):
                on_level(level)
        except DirectoryError:
            pass  # who keeps entries there says so
        await asyncio.sleep(random.uniform(0.5, 1.0) * limits.DIRECTORY_CALL_SECONDS)
