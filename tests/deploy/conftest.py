from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.loopback import Loopback
from tests.support.processes import machine


@pytest.fixture
async def loopback(tmp_path: Path) -> AsyncIterator[Loopback]:
    async with machine(tmp_path) as started:
        yield Loopback(started, tmp_path)
