"""A history of two runs that a correct mesh could have made, for the tests of the rules.

One succeeds after a retry: two items, a gate, a child run and a timer. The other fails, and both
steps that it had done are undone.
"""

from __future__ import annotations

from tests.support.history import records as r
from tests.support.history import records_runs as w
from tests.support.history.evidence_runs import AFTER
from tests.support.history.history import History

WALL = 1_700_000_000.0
GOOD, CHILD, BAD = "000000000000000a", "000000000000000b", "000000000000000c"
TURN = 0.1  # seconds between two things that happen


class RunsModel:
    """Makes `history`."""

    def __init__(self) -> None:
        self.history = History()
        self._now = 0.0
        self._sequence: dict[str, int] = {}
        self._contracts = 0
        self._good()
        self._bad()

    def _tick(self) -> float:
        self._now += TURN
        return self._now

    def _note(self, record: r.Record) -> None:
        record.at, record.wall = self._now, WALL + self._now
        self.history.add(record)

    def _entry(self, run: str, kind: str, **values: object) -> w.RunEntry:
        """An entry, on the live watch and when everything was read back."""
        number = self._sequence[run] = self._sequence.get(run, 0) + 1
        for watch in ("live", AFTER):
            entry = w.RunEntry(run, number, kind, watch, f"{run}-{number}", WALL + self._tick())
            entry.time = WALL + self._now - (TURN if watch == AFTER else 0)
            for name, value in values.items():
                setattr(entry, name, value)
            self._note(entry)
        return entry

    def _contract(
        self, run: str, step: str, index: int | str, *, state: str = "SUCCEEDED", code: str = ""
    ) -> None:
        """A contract of an item, from its execution to the entry of its end."""
        self._contracts += 1
        contract_id = f"c{self._contracts}"
        self._tick()
        self._note(r.Execution(contract_id, 1 << 32, f"n{self._contracts}", "host-a", "agent"))
        ended = WALL + self._tick()
        request_id = f"{run}/{step}/{index}/0"
        digest = f"d{contract_id}" if state == "SUCCEEDED" else ""
        self._note(
            w.StepContract(contract_id, run, step, request_id, state, "AGENT", ended, code, digest)
        )
        undo = index == "undo"
        values = {"undo": True} if undo else {"index": index}
        self._entry(
            run,
            "item_ended",
            step=step,
            state=state,
            code=code,
            contract_id=contract_id,
            **values,
        )
        if not undo:
            self._note(w.ItemShown(run, step, int(index), state, contract_id, "", digest))

    def _step(self, run: str, name: str, state: str, *after: str, undoable: bool = False) -> None:
        begun = next(
            each.time
            for each in self.history.run_entries
            if (each.run_id, each.step, each.kind) == (run, name, "begun")
        )
        ends = [
            each.time
            for each in self.history.run_entries
            if (each.run_id, each.step, each.watch) == (run, name, AFTER) and not each.undo
        ]
        shown = w.StepShown(run, name, state, 0, list(after), begun, max(ends), undoable=undoable)
        self._note(shown)

    def _begin(self, run: str, start_id: str, workflow: str, *, asked: bool = True) -> None:
        if asked:
            self._note(w.RunAsked(start_id, workflow, workflow))
            self._note(w.RunAccepted(start_id, run))
            self._note(w.RunAccepted(start_id, run, duplicate=True))
        self._entry(run, "started")

    def _end(self, run: str, start_id: str, workflow: str, state: str, parent: str = "") -> None:
        last = self._entry(run, "ended", state=state)
        shown = w.RunShown(run, start_id, workflow, state, sequence=last.sequence, outcome="o")
        shown.parent_id, shown.end_time = parent, last.time
        self._note(shown)

    def _good(self) -> None:
        self._begin(GOOD, "start-1", "good")
        self._note(w.Expected("good", "SUCCEEDED", "o"))
        self._entry(GOOD, "begun", step="two")
        self._contract(GOOD, "two", 0)
        self._contract(GOOD, "two", 1)
        self._entry(GOOD, "begun", step="gate")
        self._note(w.GateAnswered(GOOD, "gate.0", "yes", "ann", "OK"))
        self._note(w.GateAnswered(GOOD, "gate.0", "no", "", "ALREADY_ANSWERED"))
        self._entry(GOOD, "item_ended", step="gate", state="SUCCEEDED", principal="ann")
        self._note(w.ItemShown(GOOD, "gate", 0, "SUCCEEDED", digest="yes"))
        self._entry(GOOD, "begun", step="child")
        self._begin(CHILD, f"{GOOD}/child/0/0", "inner", asked=False)
        self._end(CHILD, f"{GOOD}/child/0/0", "inner", "SUCCEEDED", GOOD)
        self._entry(GOOD, "item_ended", step="child", state="SUCCEEDED", child_id=CHILD)
        self._entry(GOOD, "begun", step="wait", due=WALL + self._now + 2 * TURN)
        self._tick()
        self._entry(GOOD, "woken", step="wait")
        self._end(GOOD, "start-1", "good", "SUCCEEDED")
        before: tuple[str, ...] = ()
        for name in ("two", "gate", "child", "wait"):
            self._step(GOOD, name, "SUCCEEDED", *before)
            before = (name,)

    def _bad(self) -> None:
        self._begin(BAD, "start-2", "bad")
        self._entry(BAD, "begun", step="one")
        self._contract(BAD, "one", 0)
        self._entry(BAD, "begun", step="two")
        self._contract(BAD, "two", 0)
        self._entry(BAD, "begun", step="bad")
        self._contract(BAD, "bad", 0, state="FAILED", code="TEST")
        self._contract(BAD, "two", "undo")
        self._contract(BAD, "one", "undo")
        self._end(BAD, "start-2", "bad", "FAILED")
        self._step(BAD, "one", "SUCCEEDED", undoable=True)
        self._step(BAD, "two", "SUCCEEDED", "one", undoable=True)
        self._step(BAD, "bad", "FAILED", "two")
