"""What the directory (Consul) tells of the mesh, for `muster status`."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rich.text import Text

from muster.cli import text
from muster.cli.place import Place
from muster.supervisor.state import MeshState
from muster.wire.lookup import PORT_DEFAULT, is_lookup, states

# Of each kind, what one is called and what several are.
_KINDS = {
    "scheduler": ("scheduler", "schedulers"),
    "registry": ("registry", "registries"),
    "executor": ("executor", "executors"),
    "agent": ("agent", "agents"),
    "host": ("host", "hosts"),
}
_STATES = {"passing": "green", "warning": "yellow", "critical": "red"}


@dataclass(frozen=True)
class DirectoryTold:
    """How many of each kind it lists, by state; `trouble` where it does not tell."""

    address: str
    kinds: Mapping[str, Counter[str]] = field(default_factory=dict)
    trouble: str = ""


def directory_target(
    place: Place, mesh: MeshState | None, environment: Mapping[str, str] = os.environ
) -> str | None:
    """The directory of the mesh, as consul://host:port; None where it has none that is known.

    That is where the mesh was looked for, or the one that it runs or the environment names.
    """
    named = place.address or environment.get("MUSTER_ADDRESS", "")
    told = environment.get("MUSTER_DIRECTORY", "")
    own = mesh.backends.get("consul") if mesh is not None else None
    if is_lookup(named):
        return named
    if own is not None and own != _address(told):
        return f"consul://{own}"
    return told if is_lookup(told) else None


async def ask_directory(target: str) -> DirectoryTold:
    """What it lists. Its silence is no fault of the mesh, and raises nothing."""
    address = _address(target)
    try:
        kinds = {kind: Counter(await asyncio.to_thread(states, target, kind)) for kind in _KINDS}
    except (OSError, ValueError) as error:
        return DirectoryTold(address, trouble=str(error) or type(error).__name__)
    return DirectoryTold(address, {kind: found for kind, found in kinds.items() if found})


def directory_json(told: DirectoryTold | None) -> dict[str, Any] | None:
    """For programs."""
    if told is None:
        return None
    kinds = {
        kind: {state.upper(): count for state, count in sorted(found.items())}
        for kind, found in told.kinds.items()
    }
    return {"address": told.address, "answers": not told.trouble, "kinds": kinds}


def directory_line(told: DirectoryTold) -> Text:
    """For people: "directory: 2 schedulers, 2 registries, 2 executors, 40 agents passing"."""
    line = Text("directory: ")
    if told.trouble:
        return line.append(f"{told.address} does not tell: {told.trouble}", style="yellow")
    parts = []
    for state, style in _STATES.items():
        counts = [
            text.counted(found[state], *_KINDS[kind])
            for kind, found in told.kinds.items()
            if found[state]
        ]
        if counts:
            parts.append(Text(f"{', '.join(counts)} {state}", style=style))
    return line.append_text(Text(" · ").join(parts)) if parts else line.append("empty")


def _address(target: str) -> str:
    url = urlsplit(target)
    return f"{url.hostname}:{url.port or PORT_DEFAULT}" if url.hostname else ""
