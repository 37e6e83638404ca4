"""An executor reports to each registry once, by however many names it knows it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from muster.executor.core import Core
from muster.executor.link import Dialler
from muster.executor.link_presence import CallPresence
from muster.executor.presence_set import PresenceSet
from muster.model.errors import Fenced
from muster.v1.registry_service_pb2 import ReportPresenceRequest, ReportPresenceResponse
from tests.support.processes import until


class Registries:
    """One registry, and how often it was dialled by which name. Of two streams of an executor the
    newest stays; a real one tells the other with its next frame."""

    def __init__(self) -> None:
        self.dialled: Counter[str] = Counter()
        self._superseded = asyncio.Event()

    def dial(self, target: str) -> CallPresence:
        async def call(
            frames: AsyncIterator[ReportPresenceRequest],
        ) -> AsyncIterator[ReportPresenceResponse]:
            self.dialled[target] += 1
            self._superseded.set()
            superseded = self._superseded = asyncio.Event()
            yield ReportPresenceResponse()
            await superseded.wait()
            raise Fenced("a newer stream has taken over", reason="SUPERSEDED")

        return call


@pytest.fixture
def dialler() -> Dialler:
    core = Core((), time.monotonic())
    return Dialler("executor", 1, "", core, time.monotonic, time.time, lambda: None, lambda: None)


async def test_a_registry_that_is_configured_and_found_gets_one_stream(dialler: Dialler) -> None:
    registries = Registries()
    by_name = {"localhost:1": registries.dial("localhost:1")}
    presences = PresenceSet(by_name, dialler, registries.dial)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(presences.run())
        await until(lambda: presences.heard == {"localhost:1"}, 5, "the configured one is heard")
        presences.found({"registry": "127.0.0.1:1"})
        await until(lambda: registries.dialled["127.0.0.1:1"] == 1, 5, "the found one is tried")
        await until(lambda: registries.dialled["localhost:1"] == 2, 5, "it takes the stream back")
        await until(lambda: presences.heard == {"localhost:1"}, 5, "the found one gives way")
        presences.found({"registry": "127.0.0.1:1", "other": "127.0.0.1:2"})
        await until(lambda: registries.dialled["127.0.0.1:2"] == 1, 5, "another is tried")
        running.cancel()
    assert registries.dialled["127.0.0.1:1"] == 1


async def test_a_registry_that_is_heard_stays_though_the_directory_forgets_it(
    dialler: Dialler,
) -> None:
    registries = Registries()
    presences = PresenceSet({}, dialler, registries.dial)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(presences.run())
        presences.found({"registry": "127.0.0.1:1"})
        await until(lambda: presences.heard == {"127.0.0.1:1"}, 5, "it is heard")
        presences.found({})
        presences.found({"registry": "127.0.0.1:1"})
        presences.found({"registry": "127.0.0.1:9"})  # it moved
        await until(lambda: presences.heard == {"127.0.0.1:9"}, 5, "it is heard elsewhere")
        running.cancel()
    assert registries.dialled == {"127.0.0.1:1": 1, "127.0.0.1:9": 1}
