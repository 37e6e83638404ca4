from collections.abc import Iterator

import pytest

from muster.model import limits
from muster.model.errors import ResourceExhausted
from muster.scheduler.hub import Hub, Watcher
from muster.v1.event_pb2 import LogLine, StreamItem

CONTRACT = 7


def items(count: int, size: int) -> Iterator[StreamItem]:
    for index in range(count):
        yield StreamItem(index=index, log=LogLine(message="x" * size))


async def test_a_watcher_that_reads_nothing_holds_no_more_than_its_bytes():
    hub, watcher = Hub(), Watcher()
    hub.watch(watcher, CONTRACT)
    for item in items(2 * limits.WATCHER_BACKLOG_BYTES_MAX // 8_000, 8_000):
        hub.relay(CONTRACT, item)
        held = sum(each.ByteSize() for each in watcher.items)
        assert held <= limits.WATCHER_BACKLOG_BYTES_MAX
    assert not watcher.items
    with pytest.raises(ResourceExhausted, match="too slow"):
        await watcher.wait()


async def test_a_watcher_that_reads_may_get_any_amount():
    hub, watcher = Hub(), Watcher()
    hub.watch(watcher, CONTRACT)
    for item in items(2 * limits.WATCHER_BACKLOG_BYTES_MAX // 8_000, 8_000):
        hub.relay(CONTRACT, item)
        await watcher.wait()
        assert watcher.take_items() == [item]


def test_many_watchers_of_one_contract_are_many(monkeypatch):
    monkeypatch.setattr(limits, "WATCHERS_MAX", 2)
    hub, first = Hub(), Watcher()
    hub.watch(first, CONTRACT)
    hub.watch(Watcher(), CONTRACT)
    with pytest.raises(ResourceExhausted):
        hub.watch(Watcher(), CONTRACT)
    hub.unwatch(first, CONTRACT)
    hub.unwatch(first, CONTRACT)
    hub.watch(Watcher())
    with pytest.raises(ResourceExhausted):
        hub.watch(Watcher())


def test_thousands_of_watchers_are_slowed_down_and_few_are_not():
    hub = Hub()
    for _ in range(limits.WATCHERS_AT_ONCE):
        hub.watch(Watcher())
    assert hub.pace_seconds == 0
    for _ in range(limits.WATCHERS_MAX - limits.WATCHERS_AT_ONCE):
        hub.watch(Watcher())
    assert hub.pace_seconds == limits.WATCHERS_MAX / limits.WATCH_FRAMES_PER_SECOND_MAX
