"""What a process says when it opens its ledger."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.support.processes import SERVING_SECONDS, MeshProcesses, free_port, machine


async def test_a_first_start_says_only_what_concerns_a_person(tmp_path: Path) -> None:
    async with machine(tmp_path) as started:
        mesh = MeshProcesses(started, "separate", tmp_path / "data")
        await mesh.start("scheduler")
        said = mesh.running["scheduler"].said.splitlines()
    # That it is registered as well comes before or after it serves.
    messages = {json.loads(line)["message"] for line in said} - {"registered in the directory"}
    assert messages == {"shards taken over", "serving"}


async def test_a_ledger_of_a_newer_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    async with machine(tmp_path) as started:
        mesh = MeshProcesses(started, "separate", tmp_path / "data")
        await mesh.start("scheduler")
        await mesh.terminate("scheduler")
        with sqlite3.connect(tmp_path / "data" / "ledger.db") as ledger:
            ledger.execute("UPDATE alembic_version SET version_num = '9999'")
        ledger.close()
        scheduler = await mesh.launch("scheduler", free_port())
        assert await scheduler.wait(SERVING_SECONDS) == 2
    assert scheduler.said == (
        "muster: the ledger has version '9999', which this Muster does not know; run the Muster "
        "that wrote it, or choose another data directory (MUSTER_DATA_DIR)\n"
    )


async def test_failpoints_that_cannot_be_obeyed_keep_a_process_from_starting(
    tmp_path: Path,
) -> None:
    async with machine(tmp_path) as started:
        told = {"MUSTER_FAILPOINTS": "everywhere=crash"}
        mesh = MeshProcesses(started, "separate", tmp_path / "data", told)
        scheduler = await mesh.launch("scheduler", free_port())
        assert await scheduler.wait(SERVING_SECONDS) == 2
    assert scheduler.said.startswith(
        "muster: MUSTER_FAILPOINTS: there is no failpoint 'everywhere'"
    )
