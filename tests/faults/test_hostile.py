"""Clients that mean harm: the mesh stays small, and honest ones hardly notice.

`python -m tests.faults.hostile` does the same with more of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.conftest import Note
from tests.faults.hostile import roster
from tests.faults.hostile.figures import SHORT
from tests.faults.hostile.ground import battleground

THEMES: dict[str, Sequence[roster.HostileClient]] = {
    "unread answers": roster.READERS[:2],
    "unread streams": roster.READERS[2:],
    "floods": roster.FLOODS,
    "handshakes and sizes": (*roster.HANDSHAKES, *roster.SIZES),
    "hosts": roster.HOSTS,
    "services": roster.PEERS,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("theme", THEMES)
async def test_the_mesh_and_the_honest_withstand(theme: str, tmp_path: Path, note: Note) -> None:
    async with battleground(tmp_path) as ground:
        for lay_siege in THEMES[theme]:
            figures = await lay_siege(ground, SHORT)
            note("; ".join(str(figure) for figure in figures))
            missed = [str(figure) for figure in figures if not figure.met]
            assert not missed, "\n".join([*missed, *ground.details])


def test_every_hostile_client_is_in_a_theme_or_takes_too_long() -> None:
    short = [lay_siege for theme in THEMES.values() for lay_siege in theme]
    assert {*short, *roster.LONG_ONLY} == {*roster.HOSTILE.values()}
