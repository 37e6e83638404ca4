"""Watches that outlive their streams."""

import pytest

from muster.agent import connect
from muster.agent.watching import Change, Ended, Log, Missing, Output, Progress, Restarted
from muster.model.errors import NotFound, ResourceExhausted, Unavailable
from muster.v1.event_pb2 import Cursor, Event, EventType, StreamItem
from muster.v1.response_pb2 import CONTRACT_STATE_RUNNING, Response
from muster.v1.scheduler_service_pb2 import WatchContractsResponse
from tests.support.scripted_mesh import ScriptedMesh, scripted_mesh

ID = "0" * 15 + "1"


def event(sequence: int) -> Event:
    return Event(
        contract_id=ID,
        sequence=sequence,
        type=EventType.EVENT_TYPE_LEASED,
        state=CONTRACT_STATE_RUNNING,
    )


def output(epoch: int, index: int, text: str) -> StreamItem:
    item = StreamItem(contract_id=ID, epoch=epoch, index=index)
    item.output.chunk = index - 1
    item.output.payload.json = text
    return item


async def followed(mesh: ScriptedMesh) -> list[object]:
    async with connect(mesh.target) as client:
        return [update async for update in client.follow(ID)]


async def test_a_watch_goes_on_from_its_cursor_and_says_each_thing_once() -> None:
    async with scripted_mesh() as mesh:
        mesh.watches = [
            [
                WatchContractsResponse(events=[event(1)], cursor=Cursor(sequence=1)),
                WatchContractsResponse(items=[output(7, 1, '"a"')]),
                Unavailable("restarting"),
            ],
            [
                WatchContractsResponse(
                    events=[event(1), event(2)],
                    items=[output(7, 1, '"a"'), output(7, 2, '"b"')],
                    cursor=Cursor(sequence=2, epoch=7, index=2),
                ),
                ResourceExhausted("too slow", reason="WATCHER_TOO_SLOW"),
            ],
            [WatchContractsResponse(response=Response(contract_id=ID))],
        ]
        updates = await followed(mesh)
        assert [type(update) for update in updates] == [Change, Output, Change, Output, Ended]
        assert [update.value for update in updates if isinstance(update, Output)] == ["a", "b"]
        assert [request.cursor.sequence for request in mesh.watched] == [0, 1, 2]


async def test_a_new_attempt_visibly_supersedes_the_old_ones_output() -> None:
    progress = StreamItem(contract_id=ID, epoch=9, index=1)
    progress.progress.fraction = 0.5
    log = StreamItem(contract_id=ID, epoch=9, index=2)
    log.log.message = "hello"
    log.log.level = 3  # type: ignore[assignment]
    async with scripted_mesh() as mesh:
        frame = WatchContractsResponse(
            items=[output(7, 1, "1"), progress, log], response=Response(contract_id=ID)
        )
        frame.gap.items_missing = 4
        mesh.watches = [[frame]]
        updates = await followed(mesh)
        assert updates[:5] == [
            Missing(4),
            Output(0, 1),
            Restarted(9),
            Progress(0.5, ""),
            Log("WARNING", "hello", 0.0),
        ]


async def test_a_watch_of_many_goes_on_and_one_of_nothing_ends() -> None:
    async with scripted_mesh() as mesh, connect(mesh.target) as client:
        mesh.watches = [
            [WatchContractsResponse(events=[event(1)]), Unavailable("restarting")],
            [WatchContractsResponse(events=[event(2)])],
            [NotFound("no such contract")],
        ]
        changes = client.watch(capabilities=["demo.echo"])
        assert [(await anext(changes)).sequence for _ in range(2)] == [1, 2]
        with pytest.raises(NotFound, match="no such contract"):
            await anext(changes)
        assert list(mesh.watched[0].filter.capabilities) == ["demo.echo"]
