"""Several schedulers share an executor's agents: who may place how much, and who takes over."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.executor.core import Core
from muster.executor.core_state import LinkOutbox, Session
from muster.executor.link_frames import apply_response, next_request, size_of
from muster.executor.pump_hello import Greeter
from muster.executor.pump_items import FrameReader
from muster.executor.specs import offers_of
from muster.model.ids import IdMaker, format_id, shard_of_id
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.link_pb2 import SessionItems, ShardBacklog
from muster.v1.link_service_pb2 import LinkRequest, LinkResponse
from muster.v1.session_pb2 import Assignment, AttemptKey, Hello, Report, ReportAck
from tests.unit.executor.world import WALL_MS, World, key, run, without_bus

from muster.runtime.principal import Principal  # isort: skip
from muster.executor.pump_frames import Identity, next_frame  # isort: skip

A_SHARDS = dict.fromkeys(range(32), 1)
B_SHARDS = dict.fromkeys(range(32, 64), 1)


class Shared:
    """An executor with links to schedulers a and b."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.core = Core(["a", "b"], self.now, None, offers_of)
        self.reader = FrameReader(self.core, without_bus(self.core), lambda: WALL_MS)
        self.greeter = Greeter(self.core, self.reader, lambda: self.now, lambda: WALL_MS)
        self.ids = IdMaker()
        self.a, self.b = (self.core.book.links[name] for name in "ab")
        for link, shards in ((self.a, A_SHARDS), (self.b, B_SHARDS)):
            self.core.scheduler.link_up(link, size_of)
            self.own(link, shards)

    def own(self, link: LinkOutbox, shards: dict[int, int]) -> None:
        self.core.scheduler.link_answered(link, shards, size_of)

    def connect(self, *agents: tuple[str, int]) -> Session:
        """A host with agents, each with a window, that offer `echo`."""
        offers = [Capability(name="echo")]
        specs = [AgentSpec(name=n, max_in_flight=w, capabilities=offers) for n, w in agents]
        hello = Hello(protocol_version=1, host="h", agents=specs)
        return run(self.greeter.greet(Principal(), ConnectRequest(frame_seq=1, hello=hello)))

    def attempt(self, shard: int) -> AttemptKey:
        return AttemptKey(contract_id=format_id(self.ids.make(shard, WALL_MS)), epoch=5)

    def assign(self, link: LinkOutbox, session: Session, agent: str, shard: int) -> AttemptKey:
        attempt = self.attempt(shard)
        items = SessionItems(
            session_id=session.id, assignments=[Assignment(key=attempt, agent=agent)]
        )
        apply_response(self.core, link, LinkResponse(items=[items]), self.now)
        return attempt

    def send(self, session: Session, **frame: Any) -> None:
        seq = session.in_seq + 1
        request = ConnectRequest(frame_seq=seq, seen_seq=session.out_seq, **frame)
        self.reader.apply(session, request, self.now)

    def read(self, session: Session) -> ConnectResponse:
        found = ConnectResponse()
        while (frame := next_frame(session, Identity("e", "", ""))) is not None:
            found.MergeFrom(frame)
        return found

    def told(self, link: LinkOutbox) -> Iterator[LinkRequest]:
        while (frame := next_request(link, lambda: WALL_MS / 1000)) is not None:
            yield frame

    def loans(self, link: LinkOutbox) -> dict[str, int]:
        return {loan.agent: loan.slots for frame in self.told(link) for loan in frame.loans}

    def waits(self, link: LinkOutbox, queued: int) -> None:
        backlog = ShardBacklog(tenant="default", capability="echo", queued=queued)
        apply_response(self.core, link, LinkResponse(backlog=[backlog]), self.now)


@pytest.fixture
def world() -> Shared:
    return Shared()


def test_one_scheduler_has_every_slot_and_hears_of_no_loan():
    alone = World()
    session = alone.connect()
    assert not [loan for frame in alone.relayed() for loan in frame.loans]
    assert session.agents["a"].lent is None


def test_windows_are_split_and_single_slots_fall_to_either(world: Shared):
    world.connect(("wide", 4), *((f"n{number}", 1) for number in range(40)))
    a, b = world.loans(world.a), world.loans(world.b)
    assert a["wide"] == b["wide"] == 2
    assert {a[f"n{n}"] + b[f"n{n}"] for n in range(40)} == {1}
    assert 5 < sum(a[f"n{n}"] for n in range(40)) < 35


def test_idle_slots_go_to_where_work_waits(world: Shared):
    world.connect(("wide", 4))
    world.loans(world.a), world.loans(world.b)
    world.waits(world.b, 3)
    world.core.lending.balance()
    assert world.loans(world.b) == {"wide": 4}
    assert world.loans(world.a) == {"wide": 0}
    world.waits(world.b, 0)
    world.waits(world.a, 1)
    world.core.lending.balance()
    assert world.loans(world.a) == {"wide": 1}
    assert world.loans(world.b) == {"wide": 3}


def test_slots_that_are_taken_stay_until_they_are_free(world: Shared):
    session = world.connect(("wide", 2))
    world.loans(world.a), world.loans(world.b)
    busy = world.assign(world.a, session, "wide", 3)
    world.waits(world.b, 5)
    assert world.core.lending.balance()
    assert world.loans(world.b) == {}
    world.read(session)
    world.send(session, reports=[Report(key=busy)])
    world.core.lending.balance()
    assert world.loans(world.b) == {"wide": 2}


def test_who_places_beyond_its_loan_gets_it_back_and_hears_what_it_has(world: Shared):
    session = world.connect(("narrow", 1))
    world.assign(world.a, session, "narrow", 3)
    list(world.told(world.a)), list(world.told(world.b))
    late = world.assign(world.b, session, "narrow", 40)
    frames = list(world.told(world.b))
    returned = [each.key for frame in frames for items in frame.items for each in items.returns]
    assert returned == [late]
    assert [loan.slots for frame in frames for loan in frame.loans] == [0]


def test_when_one_is_left_it_has_every_slot_again(world: Shared):
    world.connect(("wide", 4))
    world.loans(world.a), world.loans(world.b)
    world.core.scheduler.link_down(world.b)
    assert world.loans(world.a) == {"wide": 4}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6)), max_size=30))
def test_no_slot_is_ever_lent_twice(steps: list[tuple[str, int]]):
    world = Shared()
    session = world.connect(("x", 3), ("y", 1), ("z", 2))
    for name, queued in steps:
        link = world.core.book.links[name]
        world.waits(link, queued)
        if queued % 2:
            for agent_name in "xyz":
                world.assign(link, session, agent_name, 3 if name == "a" else 40)
        world.core.lending.balance()
        for agent in session.agents.values():
            assert agent.lent is not None
            assert sum(agent.lent.values()) <= agent.window
            assert all(slots >= 0 for slots in agent.lent.values())
            assert agent.active <= agent.window


# --- who takes over -------------------------------------------------------------------------------


def claims(world: Shared, link: LinkOutbox) -> list[AttemptKey]:
    frames = world.told(link)
    return [each.key for frame in frames for items in frame.items for each in items.claims]


def test_leases_of_a_shard_that_was_taken_over_are_claimed_by_its_new_owner(world: Shared):
    session = world.connect(("wide", 4))
    moved = world.assign(world.b, session, "wide", 40)
    stays = world.assign(world.b, session, "wide", 60)
    world.read(session)
    world.send(session, accepts=[moved, stays], starts=[moved])
    list(world.told(world.a))
    world.own(world.a, A_SHARDS | {40: 2})
    assert claims(world, world.a) == [moved]
    assert session.leases[moved.contract_id, 5].link is world.a
    assert session.leases[stays.contract_id, 5].link is world.b


def test_a_report_that_nobody_acknowledged_goes_to_the_new_owner(world: Shared):
    session = world.connect(("wide", 4))
    attempt = world.assign(world.b, session, "wide", 40)
    world.read(session)
    world.core.scheduler.link_down(world.b)
    world.send(session, reports=[Report(key=attempt)])
    list(world.told(world.a))
    world.own(world.a, A_SHARDS | {40: 2})
    frames = list(world.told(world.a))
    items = [each for frame in frames for each in frame.items]
    assert [each.key for item in items for each in item.claims] == [attempt]
    assert [each.key for item in items for each in item.reports] == [attempt]
    ack = ReportAck(key=attempt, verdict=1)  # type: ignore[arg-type]
    answer = LinkResponse(items=[SessionItems(session_id=session.id, report_acks=[ack])])
    apply_response(world.core, world.a, answer, world.now)
    assert not session.unacked


def test_an_older_generation_takes_nothing_back(world: Shared):
    session = world.connect(("wide", 4))
    attempt = world.assign(world.b, session, "wide", 40)
    world.own(world.a, A_SHARDS | {40: 2})
    claims(world, world.a)
    world.own(world.b, B_SHARDS)
    assert claims(world, world.b) == []
    assert session.leases[attempt.contract_id, 5].link is world.a


def test_a_new_link_is_told_every_lease_whoever_owns_it(world: Shared):
    session = world.connect(("wide", 4))
    attempt = world.assign(world.b, session, "wide", 40)
    assert shard_of_id(int(attempt.contract_id, 16)) == 40
    world.core.scheduler.link_down(world.a)
    world.core.scheduler.link_up(world.a, size_of)
    (frame, *_) = world.told(world.a)
    assert [each.key for told in frame.sessions for each in told.held] == [attempt]
    assert key(1) not in [each.key for told in frame.sessions for each in told.held]


def test_what_a_scheduler_owned_before_it_went_away_is_not_its_when_another_gives_it_up(
    world: Shared,
):
    session = world.connect(("wide", 4))
    world.core.scheduler.link_down(world.b)
    world.own(world.a, A_SHARDS | dict.fromkeys(range(32, 64), 2))
    attempt = world.assign(world.a, session, "wide", 40)
    world.read(session)
    world.own(world.a, A_SHARDS)  # the other one is back, and gets its share
    world.send(session, reports=[Report(key=attempt)])
    list(world.told(world.a))

    world.core.scheduler.link_up(world.b, size_of)
    list(world.told(world.b))  # the level, which names the lease
    world.own(world.b, dict.fromkeys(range(32, 64), 3))
    reports = [x.key for f in world.told(world.b) for items in f.items for x in items.reports]
    assert reports == [attempt]
