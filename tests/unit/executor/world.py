"""An executor's core with its frames and without its event loop: hosts and a scheduler by hand."""

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from muster.executor.core import Core
from muster.executor.core_state import Session, Timers
from muster.executor.link_frames import apply_response, next_request, size_of
from muster.executor.pump_events import Events
from muster.executor.pump_frames import Identity, next_frame
from muster.executor.pump_hello import Greeter
from muster.executor.pump_items import FrameReader
from muster.model.errors import MusterError
from muster.runtime.principal import Principal
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.executor_service_pb2 import ConnectRequest, ConnectResponse
from muster.v1.link_pb2 import SessionItems
from muster.v1.link_service_pb2 import LinkRequest, LinkResponse
from muster.v1.session_pb2 import (
    Assignment,
    AttemptKey,
    CancelAttempt,
    Heartbeat,
    HeldLease,
    Hello,
    ItemAck,
    LeaseVerdict,
    Report,
    ReportAck,
)

T = TypeVar("T")
SCHEDULER = "scheduler-1"
IDENTITY = Identity("executor-1", "", "")
WALL_MS = 1_800_000_000_000


def key(number: int, epoch: int = 1) -> AttemptKey:
    return AttemptKey(contract_id=f"{number:016x}", epoch=epoch)


def pair(attempt: AttemptKey) -> tuple[str, int]:
    return attempt.contract_id, attempt.epoch


def held(attempt: AttemptKey, state: int = 2, agent: str = "a") -> HeldLease:
    return HeldLease(key=attempt, agent=agent, state=state)  # type: ignore[arg-type]


def spec(name: str = "a", window: int = 4) -> AgentSpec:
    return AgentSpec(name=name, max_in_flight=window)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs what only ever gives way, without an event loop."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result


def without_bus(core: Core) -> Events:
    """What agents subscribe to and publish is refused."""
    return Events(core, IDENTITY.name, None, lambda: 0.0, lambda: WALL_MS, lambda: None)


class World:
    """Time stands still until it is moved."""

    def __init__(self, *, linked: bool = True, timers: Timers | None = None) -> None:
        self.now = 1000.0
        self.core = Core([SCHEDULER], self.now, timers)
        self.link = self.core.book.links[SCHEDULER]
        self.reader = FrameReader(self.core, without_bus(self.core), lambda: WALL_MS)
        self.greeter = Greeter(self.core, self.reader, lambda: self.now, lambda: WALL_MS)
        if linked:
            self.dial()
            self.relayed()

    # --- time -------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Lets time pass, with the sweeps that belong to it."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 0.5, until)
            self.core.judge.sweep(self.now)

    def stall(self, seconds: float) -> None:
        """Lets time pass while nobody runs, and then one sweep."""
        self.now += seconds
        self.core.judge.sweep(self.now)

    # --- the scheduler's side ---------------------------------------------------------------------

    def dial(self) -> None:
        self.core.scheduler.link_up(self.link, size_of)
        self.core.scheduler.link_answered(self.link, {}, size_of)

    def hang_up(self) -> None:
        self.core.scheduler.link_down(self.link)

    def relayed(self) -> list[LinkRequest]:
        """The frames that wait for the scheduler."""
        frames = []
        while (frame := next_request(self.link, lambda: WALL_MS / 1000)) is not None:
            frames.append(frame)
        return frames

    def items(self, session: Session) -> SessionItems:
        """Everything that waits for the scheduler of one session, in one."""
        found = SessionItems()
        for frame in self.relayed():
            for items in frame.items:
                if items.session_id == session.id:
                    found.MergeFrom(items)
        return found

    def say(self, session: Session, **items: Any) -> None:
        """The scheduler says something about a session."""
        frame = LinkResponse(items=[SessionItems(session_id=session.id, **items)])
        apply_response(self.core, self.link, frame, self.now)

    def assign(self, session: Session, *attempts: AttemptKey, agent: str = "a") -> None:
        self.say(session, assignments=[Assignment(key=x, agent=agent) for x in attempts])

    def cancel(self, session: Session, attempt: AttemptKey) -> None:
        self.say(session, cancels=[CancelAttempt(key=attempt, code="CANCELLED")])

    def acknowledge(self, session: Session, attempt: AttemptKey, verdict: int = 1) -> None:
        ack = ReportAck(key=attempt, verdict=verdict)  # type: ignore[arg-type]
        self.say(session, report_acks=[ack])

    def acknowledge_items(self, session: Session, attempt: AttemptKey, index: int) -> None:
        self.say(session, item_acks=[ItemAck(key=attempt, index=index)])

    def decide(self, session: Session, attempt: AttemptKey, decision: int) -> None:
        verdict = LeaseVerdict(key=attempt, decision=decision)  # type: ignore[arg-type]
        self.say(session, verdicts=[verdict])

    # --- a host's side ----------------------------------------------------------------------------

    def connect(
        self,
        host: str = "h",
        *,
        agents: Iterable[AgentSpec] = (),
        held: Iterable[HeldLease] = (),
        principal: Principal = Principal(),  # noqa: B008 - a constant
        frame_seq: int = 1,
        hello: dict[str, Any] | None = None,
        **frame: Any,
    ) -> Session:
        """A session of a new stream; agent `a` with a window of 4 when no agents are given."""
        greeting = Hello(
            protocol_version=1,
            host=host,
            agents=agents or [spec()],
            held=held,
            **(hello or {}),
        )
        request = ConnectRequest(frame_seq=frame_seq, hello=greeting, **frame)
        return run(self.greeter.greet(principal, request))

    def send(self, session: Session, *, frame_seq: int | None = None, **frame: Any) -> None:
        """The host sends a frame; it counts its frames and has seen ours, unless it says else."""
        seq = session.in_seq + 1 if frame_seq is None else frame_seq
        seen = frame.pop("seen_seq", session.out_seq if seq else 0)
        request = ConnectRequest(frame_seq=seq, seen_seq=seen, **frame)
        self.reader.apply(session, request, self.now)

    def beat(self, session: Session, *leases: HeldLease, **frame: Any) -> None:
        self.send(session, heartbeat=Heartbeat(held=leases), **frame)

    def report(self, session: Session, *attempts: AttemptKey) -> None:
        self.send(session, reports=[Report(key=x) for x in attempts])

    def has(self, session: Session) -> bool:
        """Whether the session is not over."""
        return self.core.book.sessions.get(session.id) is session

    def broken(self, session: Session) -> None:
        self.core.sessions.broken(session, self.now)

    def frames(self, session: Session) -> list[ConnectResponse]:
        """The frames that wait for the host."""
        frames = []
        while (frame := next_frame(session, IDENTITY)) is not None:
            frames.append(frame)
        return frames

    def read(self, session: Session) -> ConnectResponse:
        """Everything that waits for the host, in one."""
        found = ConnectResponse()
        for frame in self.frames(session):
            found.MergeFrom(frame)
        return found


def refused(error: MusterError) -> tuple[str, str]:
    return error.code.name, error.reason
