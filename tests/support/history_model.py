"""A tiny mesh that keeps the promise, on paper: it makes the history of the lives it is told.

Time is a number; each life begins a little after the one before, and takes its steps 10 ms apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.history import records as r
from tests.support.history.history import History

WALL = 1_700_000_000.0  # Unix time at 0 on the monotonic clock
STEP = 0.01
LEASE = 10.0
LOSSES_MAX = 3  # agents lost by a contract bury it
LIFE = 40.0  # seconds at which whoever asks afterwards asks
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
BEFORE = ("LOST", "FAILED", "TIMED_OUT", "PARKED", "returned", "vanished")


@dataclass(frozen=True)
class Life:
    """What becomes of a contract. `before` are the outcomes of the attempts before its end; LOST
    means a started one, "returned" and "vanished" ones that never started."""

    end: str = "SUCCEEDED"
    before: tuple[str, ...] = ()
    submits: int = 1  # how often its request is sent; every one but the last has no known outcome
    chunks: int = 0  # of output, by the last attempt
    resends: int = 0  # of its last report
    zombies: bool = False  # lost attempts report after all
    watches: int = 1  # of this one contract, from its beginning
    late_cancel: bool = False  # somebody cancels what has ended


@dataclass
class Model:
    """Makes `history` longer with each `live`."""

    history: History = field(default_factory=History)
    now: float = 0.0
    contracts: int = 0
    epoch: int = 1 << 32

    def live(self, life: Life) -> str:
        """One contract's whole life; returns its id."""
        self.contracts += 1
        self.now = self.contracts * 0.005
        return _Living(self, f"c{self.contracts}", f"r{self.contracts}", life).run()

    def ask_in_vain(self, request_id: str) -> None:
        """A submission of which nobody knows what became."""
        self.add(r.Submission(request_id, "body", "work"))
        self.add(r.Unknown(request_id, "UNAVAILABLE"))

    def count(self) -> None:
        """Statistics, when all is over."""
        counts: dict[str, float] = {}
        for shown in self.history.shown:
            counts[shown.state] = counts.get(shown.state, 0.0) + 1.0
        fenced = sum(each.verdict == "FENCED" for each in self.history.verdicts)
        counts |= {"accepted": float(self.contracts), "fenced": float(fenced)}
        self.add(r.Counted("statistics", "default", counts))

    def add(self, record: r.Record, by: str = "client") -> None:
        """Somebody writes something down."""
        self.now += STEP
        record.at, record.wall, record.by = self.now, WALL + self.now, by
        self.history.add(record)


class _Living:
    def __init__(self, model: Model, contract_id: str, request_id: str, life: Life) -> None:
        self.model, self.contract_id, self.request_id, self.life = (
            *(model, contract_id, request_id, life),
        )
        self.body = f"body of {request_id}"
        self.accepted = 0.0
        self.deadline = WALL + model.now + 20.0
        self.attempts: list[r.Attempt] = []
        self.changes: list[r.Change] = []
        self.stale: list[tuple[int, str]] = []  # epoch and host of lost attempts

    def run(self) -> str:
        self.submit()
        for outcome in self.life.before:
            if not self.buried:
                self.attempt(outcome)
        if self.buried:
            self.end("DEAD_LETTERED", "MESH")
        elif self.life.end in ("SUCCEEDED", "FAILED"):
            self.last_attempt()
        else:
            self.end_by_mesh()
        return self.contract_id

    @property
    def buried(self) -> bool:
        return sum(each.outcome == "LOST" and each.started for each in self.attempts) >= LOSSES_MAX

    def add(self, record: r.Record, by: str = "client") -> None:
        self.model.add(record, by)

    def submit(self) -> None:
        deadline = self.deadline if self.life.end == "EXPIRED" else 0.0
        for number in range(self.life.submits):
            self.add(r.Submission(self.request_id, self.body, "work", deadline))
            self.add(r.CallStarted(self.model.contracts * 100 + number, "Submit", 2.0))
            unknown = number < self.life.submits - 1
            status = "UNAVAILABLE" if unknown else "OK"
            if unknown:
                self.add(r.Unknown(self.request_id, status))
            self.add(r.CallEnded(self.model.contracts * 100 + number, status))
        self.accepted = WALL + self.model.now
        self.add(r.Acknowledgement(self.request_id, self.contract_id, body=self.body))
        self.change("ACCEPTED", "QUEUED", 0)

    def change(self, kind: str, state: str, epoch: int, code: str = "") -> None:
        made = r.Change(self.contract_id, len(self.changes) + 1, kind, state, epoch, "", code)
        self.changes.append(made)
        self.add(made, "watcher")

    # --- attempts ---------------------------------------------------------------------------------

    def begin(self, starts: bool) -> tuple[int, str, str]:
        """A lease, its assignment, and the start of its work: epoch, host and nonce."""
        self.model.epoch += 1
        epoch, number = self.model.epoch, len(self.attempts) + 1
        host = f"host-{self.contract_id}-{number}"
        self.add(r.Opened("host", number), host)
        self.add(r.Welcomed(host, f"s-{host}", 1, LEASE), host)
        self.add(r.Offered(f"a-{host}", host, "work", 2), host)
        self.leased = WALL + self.model.now
        self.change("LEASED", "LEASED", epoch)
        names = (f"a-{host}", host, f"s-{host}", "work", "default")
        left = self.deadline - WALL - self.model.now
        assigned = r.Assigned(
            self.contract_id, epoch, number, *names, self.deadline, time_left=left, active=1
        )
        self.add(assigned, host)
        nonce = f"n-{epoch}" if starts else ""
        if starts:
            self.add(r.Execution(self.contract_id, epoch, nonce, host, f"a-{host}"), host)
            self.change("STARTED", "RUNNING", epoch)
        return epoch, host, nonce

    def close(self, epoch: int, host: str, outcome: str, code: str, started: bool) -> None:
        now = WALL + self.model.now
        number = len(self.attempts) + 1
        times = (started, self.leased, now)
        self.attempts.append(r.Attempt(number, epoch, f"a-{host}", host, outcome, code, *times))

    def attempt(self, outcome: str) -> None:
        """One that does not end the contract, unless it is the third agent that is lost."""
        starts = outcome not in ("returned", "vanished")
        epoch, host, nonce = self.begin(starts)
        if outcome == "returned":
            self.add(r.Released(self.contract_id, epoch, f"s-{host}", "returned"), host)
        if outcome == "FAILED":
            self.report(epoch, host, nonce, "AGENT_ERROR", 0, "ACCEPTED")
        if outcome == "TIMED_OUT":
            self.add(r.Decision(self.contract_id, epoch, f"s-{host}", "CANCEL", "X"), host)
        if outcome == "PARKED":
            self.report(epoch, host, nonce, "", 0, "ACCEPTED")
        if outcome == "LOST":
            self.stale.append((epoch, host))
        shown = {"returned": "RETURNED", "vanished": "LOST"}.get(outcome, outcome)
        code = {"LOST": "AGENT_LOST", "vanished": "AGENT_LOST"}.get(outcome, outcome.upper())
        self.close(epoch, host, shown, code, starts)
        if outcome == "PARKED":
            self.change("PARKED", "PARKED", epoch)
            self.change("ANSWERED", "QUEUED", 0)
        elif not self.buried:
            self.change("REQUEUED", "QUEUED", epoch, code)

    def report(
        self, epoch: int, host: str, nonce: str, code: str, chunks: int, verdict: str
    ) -> None:
        session = f"s-{host}"
        self.add(
            r.Reported(self.contract_id, epoch, session, code, False, chunks, nonce, nonce), host
        )
        self.add(r.Verdict(self.contract_id, epoch, session, verdict), host)

    def last_attempt(self) -> None:
        epoch, host, nonce = self.begin(starts=True)
        code = "AGENT_ERROR" if self.life.end == "FAILED" else ""
        for chunk in range(self.life.chunks):
            digest = f"d{chunk}"
            sent = r.ItemSent(self.contract_id, epoch, chunk + 1, chunk, digest, f"s-{host}")
            self.add(sent, host)
        self.report(epoch, host, nonce, code, self.life.chunks, "ACCEPTED")
        self.close(epoch, host, self.life.end, code, started=True)
        for _ in range(self.life.resends):
            self.report(epoch, host, nonce, code, self.life.chunks, "ACCEPTED_DUPLICATE")
        self.end(self.life.end, "AGENT", epoch, nonce, f"a-{host}", code)

    # --- the end ----------------------------------------------------------------------------------

    def end_by_mesh(self) -> None:
        epoch, host, _ = self.begin(starts=True)
        if self.life.end == "EXPIRED":
            self.model.now = self.deadline - WALL - 0.1
            self.add(r.Beat(f"s-{host}", 1), host)
            self.model.now = self.deadline - WALL + 0.3
        self.close(epoch, host, "CANCELLED", self.life.end, started=True)
        self.end(self.life.end, "MESH", epoch, agent=f"a-{host}", code=self.life.end)
        if self.life.end == "CANCELLED":
            self.add(r.Cancellation(self.contract_id, "OK"))
        self.add(r.Decision(self.contract_id, epoch, f"s-{host}", "CANCEL", self.life.end), host)
        self.add(r.Released(self.contract_id, epoch, f"s-{host}", "stopped"), host)

    def end(
        self, state: str, author: str, epoch: int = 0, nonce: str = "", agent: str = "",
        code: str = "",
    ) -> None:  # fmt: skip
        over = WALL + self.model.now
        self.change("ENDED", state, epoch, code)
        if self.life.zombies:
            for stale, host in self.stale:
                self.report(stale, host, f"n-{stale}", "", 0, "FENCED")
        if self.life.late_cancel:
            outcome = "OK" if state == "CANCELLED" else "CONTRACT_ENDED"
            self.add(r.Cancellation(self.contract_id, outcome))
        chunks = self.life.chunks if author == "AGENT" else 0
        said = (state, author, epoch, len(self.attempts), agent, nonce, code, chunks)
        self.model.now = max(self.model.now, LIFE)
        for channel in (r.STREAM, r.GET, r.WAIT):
            self.add(r.Question(channel, self.contract_id))
            times = (self.accepted, over, f"digest of {self.contract_id}")
            self.add(r.Answer(channel, self.contract_id, self.request_id, *said, *times))
        self.read_back(state, author, epoch, chunks, over)

    def read_back(self, state: str, author: str, epoch: int, chunks: int, over: float) -> None:
        what = (self.contract_id, self.request_id, "default", "local", "work", state, "")
        times = (self.accepted, self.deadline, over)
        self.add(r.Shown(*what, len(self.changes), *times, 5, self.attempts))
        self.add(r.Listing(self.contract_id, self.request_id, "", state))
        for number in range(self.life.watches):
            watch = f"{self.contract_id}-{number}"
            for change in list(self.changes):
                again = (change.sequence, change.type, change.state, change.epoch, "", change.code)
                self.add(r.Change(self.contract_id, *again, watch=watch), "watcher")
            for chunk in range(chunks):
                seen = (epoch, chunk + 1, chunk, f"d{chunk}", watch)
                self.add(r.ItemSeen(self.contract_id, *seen), "watcher")
            end = r.WatchEnded(self.contract_id, watch, state, author, epoch, chunks)
            self.add(end, "watcher")


def healed(name: str, begin: float, end: float, *effects: str) -> list[r.Fault]:
    """A fault, from its injection to its healing."""
    return [
        r.Fault(name, False, "", list(effects), at=begin, wall=WALL + begin),
        r.Fault(name, True, "", list(effects), at=end, wall=WALL + end),
    ]


def steady(history: History, begin: float, end: float, rate: float) -> None:
    """Contracts that are accepted and end at a rate."""
    for n in range(int((end - begin) * rate)):
        at, name = begin + n / rate, f"{begin}-{n}"
        history.submissions.append(r.Submission(name, "body", at=at))
        history.acknowledgements.append(r.Acknowledgement(name, name, at=at))
        history.questions.append(r.Question(r.WAIT, name, at=at))
        said = ("SUCCEEDED", "MESH", 0, 0, "", "", "", 0, 0.0, 0.0, "d")
        history.answers.append(r.Answer(r.WAIT, name, name, *said, at=at))
