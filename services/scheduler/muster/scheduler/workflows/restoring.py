"""Follows the shards that the scheduler owns: what is open in them is held, and goes on.

A level, not an edge: it looks at what is owned, and makes what is held fit. Until the runs of a
shard are there, whoever asks for one is told to come back.
"""

from __future__ import annotations

import asyncio

from muster.model.errors import MusterError
from muster.model.ids import shard_of_id
from muster.model.ledger import Closing
from muster.runtime.logs import get_logger
from muster.scheduler.admission import moving
from muster.scheduler.service import Scheduler
from muster.scheduler.workflows.children import Children
from muster.scheduler.workflows.contracts import Contracts
from muster.scheduler.workflows.gates import question_id_of
from muster.scheduler.workflows.reading import Reading
from muster.scheduler.workflows.run import UNDO, Run
from muster.scheduler.workflows.runs import Runs
from muster.v1.question_pb2 import Answer
from muster.workflow.plan import Kind

RETRY_SECONDS = 0.5
READ_AT_ONCE = 50

_log = get_logger("muster.scheduler")


class Restoring:
    """Use while `run` runs."""

    def __init__(
        self,
        scheduler: Scheduler,
        runs: Runs,
        reading: Reading,
        children: Children,
    ) -> None:
        self._scheduler = scheduler
        self._runs = runs
        self._reading = reading
        self._children = children
        self._contracts = Contracts(scheduler, runs)
        self._here: dict[int, int] = {}  # shard -> generation whose runs are held

    def has(self, shard: int) -> bool:
        """Whether every open run of a shard is held."""
        owned = self._scheduler.generations.get(shard)
        return owned is not None and self._here.get(shard) == owned

    def has_run_of(self, run_id: int) -> bool:
        """Whether a run, if it is open, is held."""
        return self.has(shard_of_id(run_id))

    def require(self, shard: int) -> None:
        """Raises `Unavailable` where it is not, or not yet."""
        if not self.has(shard):
            raise moving()

    async def run(self) -> None:
        """Follow, without end."""
        while True:
            changed = self._scheduler.shards_changed
            try:
                await self.follow()
            except MusterError:
                _log.warning("the ledger cannot be asked for open runs; trying again")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if changed is self._scheduler.shards_changed:
                await changed.wait()

    async def follow(self) -> None:
        """Hold what is owned, and nothing else."""
        owned = dict(self._scheduler.generations)
        for run in list(self._runs.open.values()):
            if owned.get(run.shard) != run.generation:
                self._runs.forget(run)
                self._runs.watchers.moved(run.id, moving())
        new = {shard: number for shard, number in owned.items() if self._here.get(shard) != number}
        self._here = {shard: number for shard, number in owned.items() if shard not in new}
        if new:
            await self._take_over(new)

    async def _take_over(self, shards: dict[int, int]) -> None:
        ids = [i for i in await self._reading.open_runs(shards) if i not in self._runs.open]
        # Also those that were held when the ledger went away in the middle of this.
        held = [run for run in self._runs.open.values() if run.is_returning]
        for at in range(0, len(ids), READ_AT_ONCE):
            rows = await self._reading.rows(ids[at : at + READ_AT_ONCE])
            for number in ids[at : at + READ_AT_ONCE]:
                run = await self._reading.of_row(rows[number])
                run.generation, run.is_returning = shards[run.shard], True
                held.append(run)
        # All of a shard's before any of them goes on: children before their parents ask for them.
        for run in held:
            if self._runs.owns(run) and not run.machine.is_over:
                self._runs.hold(run)
        for run in held:
            await self._find_items(run)
        for run in held:
            run.is_returning = False
            if self._runs.owns(run) and run.id in self._runs.open:
                self._runs.engines[run.row.engine].restored(run)
        self._here |= {s: n for s, n in shards.items() if self._scheduler.generations.get(s) == n}
        if held:
            _log.info("runs taken over", runs=len(held))

    async def _find_items(self, run: Run) -> None:
        """What is being done for the run already is not to be done again."""
        for name, step in run.machine.steps.items():
            for index in sorted(step.open):
                if await self._is_there(run, name, step.plan.kind, index):
                    run.done.add((name, index))
            if step.undoing and await self._contracts.find(run, name, UNDO):
                run.done.add((name, UNDO))

    async def _is_there(self, run: Run, name: str, kind: Kind, index: int) -> bool:
        if kind is Kind.CONTRACT:
            return await self._contracts.find(run, name, index)
        if kind is Kind.RUN:
            return self._children.find(run, name, index)
        return kind is Kind.GATE and await self._is_asked(run, question_id_of(run, name))

    async def _is_asked(self, run: Run, question_id: str) -> bool:
        """Whether a run's question is asked. One that was closed before the run was here, by an
        answer or by its time, is told to it now."""
        questions = self._scheduler.questions
        if questions.find(run.id, question_id) is not None:
            return True
        await self._scheduler.committer.barrier()
        for stored in await self._scheduler.ledger.questions([run.id]):
            if stored.question_id == question_id and stored.closing is not None:
                answered = stored.closing is Closing.ANSWERED
                answer = Answer.FromString(stored.answer) if answered else None
                questions.on_answered(run.id, question_id, answer)
                return True
        return False
