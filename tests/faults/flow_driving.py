"""Runs of workflows on a stage, each of which somebody kills something under, and what is judged.

First each kind runs undisturbed, which says how long it takes and what it comes to. Then each run
of a plan, made by the seed alone, is started and something is killed in the middle of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from muster.v1.workflow_run_pb2 import ENGINE_KIND_LOCAL, RunState
from tests.faults.clients import percentile
from tests.faults.flow_kinds import (
    PROBED,
    SYNTHETIC,
    Kind,
    Run,
    copy_pages,
    listening,
    outcome_of,
    templates,
)
from tests.faults.stage import Setup, Stage, stage
from tests.faults.table import Trial
from tests.support.history import History, Journal, check, report
from tests.support.history.journal import SUFFIX
from tests.support.history.records_runs import Expected
from tests.support.recording_runs import RunRecorder, recording_runs
from tests.support.run_messages import digest_of_value

HOSTS = 2
AGENTS = 22  # of each host: 19 of the templates, and 3 that write down what they execute
WINDOW = 40
PROGRAM = "tests.faults.flow_host"
PROGRESS_SECONDS_MAX = 30.0  # a lease, the resume grace, and a host's start with all its libraries

DYING_SECONDS = 0.05  # from the decision to kill until nobody writes any more
COPIES = 4  # of a synthetic run, at once; a template keeps the machine busy alone
SHARE_MAX = 0.85  # the first run of a kind, which says how long it takes, is the slowest
AT_ONCE_SHARE = 0.2  # of kills: as soon as somebody has heard that a run was accepted

Strike = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Planned:
    """A run, what is killed, and when: a share of the time that the run takes undisturbed, or, with
    0, as soon as it was accepted."""

    kind: str
    victim: str
    share: float

    def __str__(self) -> str:
        when = f"after {self.share:.0%}" if self.share else "as soon as it is accepted"
        return f"{self.kind}, kill -9 {self.victim} {when}"


def plan(seed: int, count: int, kinds: Sequence[str], victims: Sequence[str]) -> list[Planned]:
    """So many runs: each kind and each victim comes as often as any other, in any order, and all
    pairs come in the end as seeds change."""
    chance = random.Random(seed)

    def dealt(values: Sequence[str]) -> list[str]:
        deck = [values[number % len(values)] for number in range(count)]
        chance.shuffle(deck)
        return deck

    def moment() -> float:
        return SHARE_MAX * chance.random() if chance.random() >= AT_ONCE_SHARE else 0.0

    pairs = zip(dealt(kinds), dealt(victims), strict=True)
    return [Planned(kind, victim, moment()) for kind, victim in pairs]


class Flows:
    """Runs on a stage. Use `flows_on`."""

    def __init__(self, on: Stage, recorder: RunRecorder, kinds: Mapping[str, Kind]) -> None:
        self.on = on
        self.recorder = recorder
        self.kinds = kinds
        self.took: dict[str, float] = {}  # undisturbed, by kind
        self.progress: list[float] = []  # seconds from a kill until a run's journal grew
        self.kills: Counter[str] = Counter()
        self.struck = 0  # kills that met a run which had not ended
        self._count = 0

    def make(self, kind: Kind) -> Run:
        """Another run of a kind."""
        self._count += 1
        folder = self.on.folder / f"run-{self._count}"
        folder.mkdir()
        return Run(kind, self.recorder, f"{kind.name}-{self._count}", folder)

    async def undisturbed(self) -> None:
        """Each kind once, by the local engine: what it comes to is what is expected from now on, of
        either engine. Where runs are on another one, once by that, which says how long it takes."""
        engine, self.recorder.engine = self.recorder.engine, ENGINE_KIND_LOCAL
        for kind in self.kinds.values():
            for definition in kind.definitions():
                await self.recorder.register(definition)
            ids = await self._timed(kind)
            for body, run_id in zip((kind.name, f"{kind.name} fork"), ids, strict=False):
                run = await self.recorder.get(run_id)
                state = RunState.Name(run.state).removeprefix("RUN_STATE_")
                self.recorder.note(Expected(body, state, digest_of_value(outcome_of(run))))
        self.recorder.engine = engine
        for kind in self.kinds.values() if engine != ENGINE_KIND_LOCAL else ():
            await self._timed(kind)

    async def _timed(self, kind: Kind) -> list[str]:
        began = time.monotonic()
        ids = await self.make(kind).go()
        self.took[kind.name] = time.monotonic() - began
        return ids

    async def disturbed(self, planned: Planned, strike: Strike, *effects: str) -> None:
        """A run, or several of a kind, in the middle of which something dies; returns when they
        have ended."""
        kind = self.kinds[planned.kind]
        self.recorder.accepted.clear()
        runs = [self.make(kind) for _ in range(COPIES if kind.name in SYNTHETIC else 1)]
        async with asyncio.TaskGroup() as tasks:
            going = [tasks.create_task(run.go()) for run in runs]
            if planned.share:
                await asyncio.sleep(planned.share * self.took[planned.kind])
            else:
                await self.recorder.accepted.wait()
            under_way = sum(not each.done() for each in going)
            killed, killed_wall = time.monotonic(), time.time()
            self.kills[planned.victim] += 1
            with self.on.fault("kill", planned.victim, *effects):
                await strike(self.on)
                await self.on.agents_ready()
        self.struck += under_way
        first: dict[str, float] = {}
        for at, wall, run_id in self.recorder.seen:
            began = self.recorder.accepted_at.get(run_id, at)
            if began <= killed and wall > killed_wall + DYING_SECONDS:
                first.setdefault(run_id, at - killed)
        self.progress += first.values()

    async def judge(self, trial: Trial) -> History:
        """Reads everything back and applies every rule; returns the history."""
        await self.recorder.read_back(outcome_of)
        history = History()
        await asyncio.to_thread(history.read_folder, self.on.folder)
        executed = Counter(each.contract_id for each in history.executions)
        again = sum(executed[each.contract_id] > 1 for each in history.step_contracts)
        trial.figure("runs", len(history.runs_shown))
        trial.figure("contracts of steps", len(history.step_contracts))
        trial.figure("that ran again, having no response", again)
        trial.figure("kills", sum(self.kills.values()))
        trial.figure("runs under way when something was killed", self.struck)
        trial.figure("and the median", percentile(self.progress, 0.5), "s")
        trial.most(
            "longest from a kill until a run went on",
            max(self.progress, default=0),
            PROGRESS_SECONDS_MAX,
        )
        found = await asyncio.to_thread(check, history)
        trial.exactly("violations", len(found), 0)
        trial.notes += [str(each) for each in found]
        if found:
            smallest = await asyncio.to_thread(report, history, found)
            (self.on.folder / "violations.txt").write_text(smallest)
        return history


@asynccontextmanager
async def flows_on(
    folder: Path,
    setup: Setup,
    engine: int = ENGINE_KIND_LOCAL,
    only: Sequence[str] = (),
) -> AsyncIterator[Flows]:
    """A stage with hosts for workflows, and each kind registered and known, or `only` these."""
    with listening(PROBED) as ports:
        copy_pages(folder / "pages")
        kinds = {**SYNTHETIC, **templates(ports, folder / "pages")}
        journal = Journal(folder / f"runs{SUFFIX}", "clients")
        async with (
            stage(folder, setup) as on,
            recording_runs(
                on.client_environment()["MUSTER_SCHEDULER"], journal.write, engine
            ) as recorder,
        ):
            made = Flows(on, recorder, {name: kinds[name] for name in only or kinds})
            await made.undisturbed()
            yield made
