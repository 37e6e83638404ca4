"""What the executor tells the bus about its agents."""

from __future__ import annotations

import json

import pytest

from muster.backends.bus_embedded import EmbeddedBus
from muster.executor.agent_events import AgentEvents
from muster.executor.publishing import Publishing
from muster.model import limits
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.executor_service_pb2 import ConnectRequest
from muster.v1.session_pb2 import AttachAgent, DetachAgent
from tests.unit.executor.world import WALL_MS, World, spec


class Told:
    """A world, and what has been told of its agents."""

    def __init__(self) -> None:
        self.world = World()
        bus = EmbeddedBus()
        bus.unwanted.clear()
        self.bus = bus
        book = self.world.core.book
        self.publishing = Publishing(book, bus)
        self.events = AgentEvents(book, bus, self.publishing, "executor-1", lambda: WALL_MS)
        book.report_level(self.events._outbox)
        self._seen = 0
        self.ids: set[str] = set()

    def tick(self) -> list[str]:
        """What has happened, as "type name"."""
        self.events.tick()
        waiting = [each.message for each in self.publishing._waiting]
        found = waiting[self._seen :]
        self._seen = len(waiting)
        self.ids |= {each.id for each in found}
        assert len(self.ids) == self._seen
        return [
            f"{each.subject.split('.')[3]} {json.loads(each.body)['subject']}" for each in found
        ]


def test_agents_come_change_drain_are_lost_and_go():
    told = Told()
    world = told.world
    session = world.connect(agents=[spec("a"), spec("B.x")])
    assert told.tick() == ["attached a", "attached B.x"]
    assert told.tick() == []
    changed = AgentSpec(name="a", kind="k", max_in_flight=4)
    frame = ConnectRequest(attaches=[AttachAgent(spec=changed)], detaches=[DetachAgent(name="B.x")])
    world.reader.apply(session, frame, world.now)
    assert told.tick() == ["changed a", "detached B.x"]
    world.core.sessions.drain_agent("default", "a")
    assert told.tick() == ["draining a"]
    world.core.sessions.broken(session, world.now)
    assert told.tick() == ["lost a"]
    world.wait(10)
    assert told.tick() == ["detached a"]
    again = world.connect(agents=[spec("a")])
    assert told.tick() == ["attached a"]
    assert again.id != session.id


def test_an_event_says_who_where_and_of_what_kind():
    told = Told()
    session = told.world.connect(agents=[AgentSpec(name="Upper.Case", kind="k")])
    told.tick()
    (waiting,) = told.publishing._waiting
    assert waiting.message.subject == "muster.default.agent.attached.upper-case"
    assert json.loads(waiting.message.body) == {
        "specversion": "1.0",
        "id": f"agent-{session.id}-Upper.Case-1",
        "source": "/tenants/default",
        "type": "dev.muster.v1.agent.attached",
        "time": "2027-01-15T08:00:00Z",
        "subject": "Upper.Case",
        "datacontenttype": "application/json",
        "data": {
            "type": "AGENT_EVENT_TYPE_ATTACHED",
            "agent": "Upper.Case",
            "kind": "k",
            "host": "h",
            "sessionId": session.id,
            "executor": "executor-1",
        },
    }


def test_nobody_is_told_while_nobody_listens():
    told = Told()
    told.bus.unwanted.set()
    told.world.connect(agents=[spec("a")])
    assert told.tick() == []


def test_agents_take_half_of_the_room_and_the_rest_comes_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "PUBLISHES_WAITING_MAX", 10)
    told = Told()
    told.world.connect(agents=[spec(f"a{number}") for number in range(8)])
    assert len(told.tick()) == 5
    assert told.tick() == []
    told.publishing._waiting.clear()
    told._seen, told.ids = 0, set()
    assert len(told.tick()) == 3
