"""A small world around the scheduler's core: a clock that is set, and words for what happens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from muster.model.ids import EpochMaker, IdMaker
from muster.model.limits import SHARDS
from muster.model.retry import RetryPolicy
from muster.model.versions import Version
from muster.scheduler.core import Core
from muster.scheduler.core_attempts import Attempts
from muster.scheduler.core_sessions import AgentInfo, Held, Sessions
from muster.scheduler.effects import Acknowledge, Assign, Cancel, Effect, End
from muster.scheduler.records import Asked, Contract, Lease, Now

WALL_MS = 1_800_000_000_000
ONE = Version(1, 0, 0)


class World:
    """A core with everything that speaks to it."""

    def __init__(self, generation: int = 1) -> None:
        self.core = Core(IdMaker())
        self.core.own(dict.fromkeys(range(SHARDS), EpochMaker(generation)))
        self.attempts = Attempts(self.core)
        self.sessions = Sessions(self.core, self.attempts)
        self.seconds = 1000.0
        self.log: list[Effect] = []

    @property
    def now(self) -> Now:
        """The instant on both clocks."""
        return Now(self.seconds, WALL_MS + int((self.seconds - 1000.0) * 1000))

    def host(
        self,
        session: str = "s1",
        agents: Iterable[str] = ("a1",),
        *,
        name: str = "h1",
        window: int = 1,
        offers: Iterable[str] = ("echo",),
        held: Iterable[Held] = (),
        tenant: str = "default",
        epoch: int = 1,
    ) -> None:
        """A session opens, with its agents and what it holds."""
        self.sessions.open(session, tenant, name, object(), epoch)
        for agent in agents:
            info = AgentInfo(agent, "kind", window, {each: [ONE] for each in offers})
            self.sessions.attach(session, info)
        self.sessions.claim(self.now, session, list(held))

    def submit(self, request_id: str = "r1", **changes: object) -> Contract:
        """A contract is submitted."""
        values: dict[str, object] = {
            "tenant": "default",
            "principal": "local",
            "request_id": request_id,
            "body_sha256": b"body",
            "capability": "echo",
            "selector": "1",
            "band": 2,
            "share": "local",
            "deadline_ms": self.now.wall_ms + 3_600_000,
            "schedule_to_start": 0.0,
            "start_to_close": 600.0,
            "heartbeat": 0.0,
            "body": None,
            "body_bytes": b"",
        }
        contract, _ = self.core.submit(self.now, Contract(**(values | changes)))  # type: ignore[arg-type]
        return contract

    def child(self, parent: Contract, request_id: str = "c", **changes: object) -> Contract:
        """A contract's current attempt submits a child."""
        assert parent.lease is not None
        link = {"parent_id": parent.id, "parent_epoch": parent.lease.epoch}
        return self.submit(f"{parent.id}/{request_id}", **(link | changes))

    def plan(self) -> list[tuple[Contract, Lease]]:
        """Plan until nothing more can be done; what was leased."""
        while self.core.plan(self.now):
            pass
        return [(e.contract, e.lease) for e in self.effects() if isinstance(e, Assign)]

    def effects(self) -> list[Effect]:
        """What has accumulated since the last call."""
        taken = self.core.take_effects()
        self.log += taken
        return taken

    def pass_time(self, seconds: float) -> None:
        """Time passes, and the core looks at what is due."""
        self.seconds += seconds
        self.attempts.tick(self.now)
        self.sessions.tick(self.now, 0.0)

    def report(self, contract: Contract, lease: Lease, **changes: object) -> str:
        """The agent reports; the verdict."""
        self.attempts.report(
            self.now,
            lease.session_id,
            contract.id,
            lease.epoch,
            "report",
            **changes,  # type: ignore[arg-type]
        )
        return self.verdicts()[-1]

    def ask(self, contract: Contract, lease: Lease, name: str = "q", **changes: Any) -> str:
        """The agent asks a person; the verdict. `seconds` is when it is due, `default` its
        default."""
        seconds = changes.pop("seconds", None)
        due = math.inf if seconds is None else self.now.mono + seconds
        due_ms = 0 if seconds is None else self.now.wall_ms + int(seconds * 1000)
        default = changes.pop("default", None)
        asked = Asked(
            name, lease.epoch, lease.agent, self.now.wall_ms, due_ms, due, default, f"{name}?", 10
        )
        return self.report(contract, lease, asked=asked, **changes)

    def answer(self, contract: Contract, value: object = "yes", by: str = "ann") -> None:
        """A person answers."""
        self.attempts.asking.answer(self.now, contract, value, 3, by)

    def fail(self, contract: Contract, lease: Lease, **changes: object) -> str:
        """The agent reports a failure; the verdict."""
        return self.report(contract, lease, failure="why", code="AGENT_ERROR", **changes)

    def start(self, contract: Contract, lease: Lease) -> None:
        """The agent says that it runs."""
        self.attempts.start(self.now, lease.session_id, contract.id, lease.epoch)

    def verdicts(self) -> list[str]:
        """Every answer to a report so far."""
        self.effects()
        return [e.verdict for e in self.log if isinstance(e, Acknowledge)]

    def ends(self) -> list[End]:
        """Every end of a contract so far."""
        self.effects()
        return [e for e in self.log if isinstance(e, End)]

    def cancels(self) -> list[Cancel]:
        """Everything that hosts were told to stop so far."""
        self.effects()
        return [e for e in self.log if isinstance(e, Cancel)]


NO_RETRY = RetryPolicy(maximum_attempts=1)
