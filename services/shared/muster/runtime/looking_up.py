"""Follows what a directory tells of one kind of service."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

from muster.backends.directory_base import Directory, DirectoryError
from muster.model import limits
from muster.model.directory import State

# Hears where the services of a kind are that pass: name -> gRPC target.
OnFound = Callable[[Mapping[str, str]], None]


async def follow(directory: Directory, kind: str, on_found: OnFound) -> None:
    """Tells `on_found` at each change, without end. While the directory is away, nothing is said:
    what it last told holds."""
    while True:
        try:
            async for level in directory.watch(kind):
                passing = [each for each in level if each.state is State.PASSING and each.address]
                on_found({each.meta.get("name", each.id): each.address for each in passing})
        except DirectoryError:
            pass  # who keeps entries there says so
        await asyncio.sleep(random.uniform(0.5, 1.0) * limits.DIRECTORY_CALL_SECONDS)
