"""Entries of runs' journals, read again from the ledger, and as events for the bus.

{"specversion": "1.0", "id": "<run id>-<sequence>", "source": "/tenants/<tenant>",
 "type": "dev.muster.v1.workflow.<kind>", "subject": "<run id>", "time": "…",
 "datacontenttype": "application/json", "data": {a muster.v1.RunEvent without payloads}}
"""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.json_format import MessageToDict

from muster.backends.bus_base import Message
from muster.backends.ledger_base import Ledger
from muster.model.ids import format_id
from muster.model.records import RowQuery, RunEntry
from muster.model.subjects import WORKFLOW, workflow_subject
from muster.scheduler.workflows.journal import without_data
from muster.v1.workflow_run_pb2 import RunEvent
from muster.wire.cloud_event import TYPE, cloud_event

ROWS_MAX = 10_000


async def entries_of(
    ledger: Ledger, wanted: Collection[tuple[int, int]]
) -> dict[tuple[int, int], RunEntry]:
    """Those of (run id, sequence) that are there still; other ids are nobody's."""
    sequences: dict[int, list[int]] = {}
    for number, sequence in wanted:
        sequences.setdefault(number, []).append(sequence)
    if not sequences:
        return {}
    runs = await ledger.rows(RowQuery("workflow_runs", {"id": list(sequences)}, limit=ROWS_MAX))
    found: dict[tuple[int, int], RunEntry] = {}
    for number, tenant, _, _, _, workflow, *_ in runs:
        equal = {"run_id": number, "sequence": sequences[number]}
        rows = await ledger.rows(RowQuery("workflow_journal", equal, limit=ROWS_MAX))
        for _, sequence, time_ms, event in rows:
            found[number, sequence] = RunEntry(number, tenant, sequence, workflow, time_ms, event)
    return found


def run_message(entry: RunEntry) -> Message:
    """An entry, ready to be published."""
    event = without_data(RunEvent.FromString(entry.event))
    kind = (event.WhichOneof("kind") or "").replace("_", "-")
    run_id = format_id(entry.contract_id)
    number = f"{run_id}-{entry.sequence}"
    data = MessageToDict(event)
    body = cloud_event(
        number,
        f"/tenants/{entry.tenant}",
        f"{TYPE}{WORKFLOW}.{kind}",
        entry.time_ms,
        data,
        subject=run_id,
    )
    return Message(workflow_subject(entry.tenant, kind, entry.workflow), number, body)
