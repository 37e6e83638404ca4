"""What clients write down of workflow runs; what all kinds have is in `records_host`.

Payloads are kept as digests. A run's entry is what WatchRuns showed; what is `shown` is what GetRun
and GetContract said when all was over. Whatever follows from the definition, the client knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.history.records_host import Record


@dataclass(slots=True)
class RunAsked(Record):
    """A client is about to start a run, or to fork one; `body` stands for all that its outcome
    follows from. Without a `RunAccepted` after it, what became of it is unknown."""

    start_id: str
    workflow: str
    body: str


@dataclass(slots=True)
class RunAccepted(Record):
    """A StartRun or ForkRun that returned OK."""

    start_id: str
    run_id: str
    duplicate: bool = False


@dataclass(slots=True)
class RunEntry(Record):
    """An entry of a run's journal, as the watch `watch` got it, which may have been resumed.

    `kind` is that of the RunEvent, `digest` stands for all of it. `undo` is true of what undoes a
    step. `due` is when what was begun is to wake up, as Unix seconds.
    """

    run_id: str
    sequence: int
    kind: str
    watch: str
    digest: str = ""
    time: float = 0.0
    step: str = ""
    revision: int = 0
    index: int = 0
    undo: bool = False
    state: str = ""
    code: str = ""
    contract_id: str = ""
    child_id: str = ""
    principal: str = ""
    due: float = 0.0


@dataclass(slots=True)
class RunShown(Record):
    """A run as GetRun shows it. `outcome` stands for what it gave back and what it left behind,
    without the names of folders."""

    run_id: str
    start_id: str
    workflow: str
    state: str
    revision: int = 0
    sequence: int = 0
    parent_id: str = ""
    parent_step: str = ""
    forked_from: str = ""
    code: str = ""
    outcome: str = ""
    start_time: float = 0.0
    end_time: float = 0.0
    engine: str = ""


@dataclass(slots=True)
class StepShown(Record):
    """A step as GetRun shows it. `strict` where the step needs all of its items, `undoable` where
    something undoes it."""

    run_id: str
    step: str
    state: str
    revision: int = 0
    depends_on: list[str] = field(default_factory=list)
    start_time: float = 0.0
    end_time: float = 0.0
    strict: bool = True
    undoable: bool = False


@dataclass(slots=True)
class ItemShown(Record):
    """An item of a step as GetRun shows it; `digest` stands for what it gave back."""

    run_id: str
    step: str
    index: int
    state: str
    contract_id: str = ""
    child_id: str = ""
    digest: str = ""


@dataclass(slots=True)
class StepContract(Record):
    """A contract of a run as GetContract shows it; run and step are those of its labels. `digest`
    stands for what its response gave back; `end_time` is 0 while it has none."""

    contract_id: str
    run_id: str
    step: str
    request_id: str
    state: str
    author: str = ""
    end_time: float = 0.0
    code: str = ""
    digest: str = ""


@dataclass(slots=True)
class GateAnswered(Record):
    """An AnswerQuestion that has ended: OK, or why it was refused."""

    run_id: str
    question_id: str
    digest: str
    principal: str
    outcome: str


@dataclass(slots=True)
class Expected(Record):
    """What a run of this body comes to when nothing is disturbed."""

    body: str
    state: str
    outcome: str = ""
