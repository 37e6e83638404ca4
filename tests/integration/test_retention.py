"""The scheduler forgets contracts whose retention is over, and counts them no more."""

from __future__ import annotations

from pathlib import Path

from muster.backends.sqlite.ledger import SqliteLedger
from muster.model.states import ContractState
from muster.scheduler.records import Now
from muster.scheduler.service import Scheduler
from tests.support.ledger_rows import ONE, T0, batch, leased, response
from tests.support.processes import until

KEPT_SECONDS = 100.0


async def test_ended_contracts_are_forgotten_when_their_time_has_come(tmp_path: Path) -> None:
    earlier = SqliteLedger(tmp_path / "ledger.db", "earlier")
    await earlier.open()
    await earlier.commit(batch(contracts=[leased(ONE)], responses=[response(1, ONE)]))
    await earlier.close()

    ledger = SqliteLedger(tmp_path / "ledger.db", "later")
    now = Now(1_000.0, T0 + 20_000 + int(KEPT_SECONDS * 1000))
    scheduler = Scheduler(ledger, "later", lambda: now, retention_seconds=KEPT_SECONDS)
    async with scheduler.run():

        async def forgotten() -> bool:
            return [each.id for each in await ledger.load([ONE])] == []

        await until(forgotten, 5.0, "the ended contract is forgotten")
        key = ("acme", ContractState.SUCCEEDED)
        await until(lambda: scheduler.ended.totals()[key] == 0, 5.0, "it is counted no more")
