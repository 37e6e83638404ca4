"""A watch of many: from the ledger as long as it must, then from what is told."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from muster.backends.ledger_base import Commit
from muster.model.ledger import LifecycleEvent, StoredContract
from muster.model.states import ContractState, EventType
from muster.scheduler.hub import Hub
from muster.scheduler.service import Scheduler
from muster.scheduler.watching import watch
from muster.v1.scheduler_service_pb2 import WatchContractsRequest

TENANT = "default"


class EverGrowingLedger:
    """One contract is accepted with each commit, and a commit comes with each look."""

    async def history(self, after: int, limit: int) -> list[Commit]:
        return [Commit(after + 1, [(after + 1, 1)])]

    async def load(self, ids: Sequence[int]) -> list[StoredContract]:
        names = (TENANT, "local", "r", b"", "echo", "")
        return [
            StoredContract(number, *names, 0, number, 0, "", 0, 0, b"", (), None) for number in ids
        ]


def accepted(number: int) -> LifecycleEvent:
    kind, state = EventType.ACCEPTED, ContractState.QUEUED
    return LifecycleEvent(
        number, TENANT, 1, kind, state, 0, "echo", 0, "", "", "", root_id=number, conversation=""
    )


def a_scheduler(position: int) -> Any:
    committer = SimpleNamespace(position=position)
    return SimpleNamespace(hub=Hub(), ledger=EverGrowingLedger(), committer=committer, shared=False)


async def test_a_replay_ends_though_commits_go_on() -> None:
    scheduler = a_scheduler(position=3)
    request = WatchContractsRequest()
    request.cursor.positions[0] = 1
    frames = watch(cast(Scheduler, scheduler), TENANT, request)
    seen: list[str] = []
    for _ in range(2):  # what was committed before the watch began
        frame = await anext(frames)
        seen += [event.contract_id for event in frame.events]
    scheduler.hub.publish(4, [accepted(4)])
    frame = await anext(frames)
    seen += [event.contract_id for event in frame.events]
    assert [int(each, 16) for each in seen] == [2, 3, 4]
    assert frame.cursor.positions[0] == 4
    await cast(Any, frames).aclose()


async def test_what_a_long_replay_left_out_is_replayed_too(monkeypatch: Any) -> None:
    monkeypatch.setattr("muster.model.limits.WATCHER_BACKLOG_MAX", 2)
    scheduler = a_scheduler(position=2)
    request = WatchContractsRequest()
    request.cursor.positions[0] = 1
    frames = watch(cast(Scheduler, scheduler), TENANT, request)
    seen = [event.contract_id for event in (await anext(frames)).events]
    for position in (3, 4, 5):  # more than the backlog holds, before the next look
        scheduler.committer.position = position
        scheduler.hub.publish(position, [accepted(position)])
    for _ in range(3):
        seen += [event.contract_id for event in (await anext(frames)).events]
    assert [int(each, 16) for each in seen] == [2, 3, 4, 5]
    await cast(Any, frames).aclose()
