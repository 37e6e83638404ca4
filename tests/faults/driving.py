"""Puts the load on a stage, waits until everything has ended, and judges what was written down."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from muster.v1.response_pb2 import ContractState
from tests.faults.clients import percentile
from tests.faults.findings import count_internal, lives_of, needless_dead_letters
from tests.faults.load import CONTRACTS_PER_SECOND, TASK_SECONDS_MEAN, orders
from tests.faults.stage import Stage
from tests.faults.table import Trial
from tests.support.history import (
    FAULTLESS,
    History,
    Setting,
    check,
    executions_per_contract,
    report,
)
from tests.support.processes import until

DRAIN_SECONDS = 60.0  # L1, and what is open ÷ slots beside it
FOLLOWED_SECONDS = 10.0  # for a watch that broke off to come back, and see the last ends
POLL_SECONDS = 0.1
DEAD_LETTERS_SHOWN_MAX = 5
NEVER = frozenset(("INTERNAL", "UNKNOWN", "DATA_LOSS", "CANCELLED"))  # what no submit ends with
_OPEN = ("QUEUED", "LEASED", "RUNNING")


class Drive:
    """A load that runs. `offered` are the requests that were made so far."""

    def __init__(self, on: Stage) -> None:
        self.on = on
        self.offered = 0
        self.began = time.monotonic()
        self._stop = asyncio.Event()

    async def run(self, seed: int, rate: float) -> None:
        """Makes each request when its time has come, until it is told to stop."""
        async with asyncio.TaskGroup() as tasks:
            for order in orders(seed, rate):
                if await self._stopped_by(self.began + order.at):
                    return
                tasks.create_task(self.on.clients.ask(order))
                self.offered += 1

    async def _stopped_by(self, moment: float) -> bool:
        left = moment - time.monotonic()
        if left <= 0:
            return self._stop.is_set()
        try:
            async with asyncio.timeout(left):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """Makes no more requests; what was asked for goes on."""
        self._stop.set()

    async def warm(self, seconds: float = 6.0) -> None:
        """Lets the load run, so that there is as much under way as there will be."""
        await asyncio.sleep(seconds)

    def p99(self, since: float, until: float | None = None) -> float:
        """99 % of the responses in this time came so many seconds after their request."""
        end = until or time.monotonic()
        return percentile([took for at, took in self.on.clients.latencies if since <= at <= end])


@asynccontextmanager
async def under_load(
    on: Stage, trial: Trial, rate: float = CONTRACTS_PER_SECOND
) -> AsyncIterator[Drive]:
    """The load while the block runs; when it is left, everything that was asked for has ended."""
    drive = Drive(on)
    async with on.clients.following() as seen_ended, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(drive.run(trial.seed, rate))
        try:
            yield drive
        finally:
            drive.stop()
        await _drain(on, trial)
        await running
        wanted = set(on.clients.acknowledged)
        try:
            await until(lambda: wanted <= seen_ended, FOLLOWED_SECONDS, "all ends were seen")
        except AssertionError:
            trial.say("the watch of everything has not seen all ends")  # the checker says which


async def _drain(on: Stage, trial: Trial) -> None:
    """L1: from the last healing, which was just now, until nothing is open."""
    began = time.monotonic()
    slots = on.setup.hosts * on.setup.agents * on.setup.window
    left = await open_contracts(on)
    bar = DRAIN_SECONDS + left * TASK_SECONDS_MEAN / slots
    while left and time.monotonic() - began < 2 * DRAIN_SECONDS:
        await asyncio.sleep(POLL_SECONDS)
        left = await open_contracts(on)
    trial.most("everything ended after", time.monotonic() - began, round(bar))


async def open_contracts(on: Stage) -> int:
    """How many contracts have not ended."""
    counts = (await on.clients.statistics()).states
    names = {each.state: ContractState.Name(each.state) for each in counts}
    return sum(c.contracts for c in counts if names[c.state].endswith(_OPEN))


async def judge(
    on: Stage, trial: Trial, *, faultless: bool = False, deadly: bool = False, alone: bool = True
) -> History:
    """Reads everything back and applies every rule; returns the history.

    With `faultless` nothing may have been run twice. Unless it is `alone`, other tenants had their
    own contracts. Where it is `deadly`, a contract may have lost
    three agents to faults; elsewhere none may.
    """
    if faultless:
        on.journal.write(Setting(FAULTLESS, 1))
    await on.clients.read_back(trial.seed)
    await on.clients.count(alone=alone)
    history = History()
    await asyncio.to_thread(history.read_folder, on.folder)
    trial.figure("contracts", len({each.contract_id for each in history.listings}))
    trial.figure("executions per contract", executions_per_contract(history))
    states = Counter(each.state for each in history.listings)
    trial.say(", ".join(f"{count} {state}" for state, count in states.most_common()))
    if on.stalls.seconds:
        trial.figure("longest stall of the machine itself", max(on.stalls.seconds), "s")
    if deadly:
        trial.figure("dead letters", states["DEAD_LETTERED"])
    needless = needless_dead_letters(history, deadly=deadly)
    trial.exactly("needless dead letters" if deadly else "dead letters", len(needless), 0)
    for contract_id in needless[:DEAD_LETTERS_SHOWN_MAX]:
        trial.notes.append(f"dead letter: {lives_of(history, contract_id)}")
    errors = [each for each in history.refusals if each.reason in NEVER]
    trial.exactly("internal errors", len(errors) + count_internal(history), 0)
    trial.notes += [f"{each.request_id} was refused with {each.reason}" for each in errors]
    found = await asyncio.to_thread(check, history)
    trial.exactly("violations", len(found), 0)
    trial.notes += [str(each) for each in found]
    if found:
        smallest = await asyncio.to_thread(report, history, found)
        (on.folder / "violations.txt").write_text(smallest)
    return history
