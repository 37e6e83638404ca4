"""Cuts a collection into batches: the plan of an audit.

Small files travel together, so that what a step costs once (a contract, a linter process) is shared
by many; a file above the bound travels alone.
"""

from collections.abc import Iterable

from muster.audit.limits import BATCH_BYTES_MAX, BATCH_FILES_MAX
from muster.audit.shapes import Batch, FileSize, Plan, PlannedBatch, PlanRequest, Source


def plan(request: PlanRequest) -> Plan:
    """Every file in exactly one batch: first fit in path order, then largest batch first."""
    bytes_max = request.get("batch_bytes_max", BATCH_BYTES_MAX)
    files_max = request.get("batch_files_max", BATCH_FILES_MAX)
    batches: list[PlannedBatch] = []
    current: PlannedBatch = {"paths": [], "bytes": 0}
    for file in sorted(request["files"], key=lambda f: f["path"]):
        if current["paths"] and not _fits(current, file, bytes_max, files_max):
            batches.append(current)
            current = {"paths": [], "bytes": 0}
        current["paths"].append(file["path"])
        current["bytes"] += file["bytes"]
    if current["paths"]:
        batches.append(current)
    batches.sort(key=lambda b: (-b["bytes"], b["paths"][0]))
    return {"batches": batches}


def _fits(batch: PlannedBatch, file: FileSize, bytes_max: int, files_max: int) -> bool:
    return batch["bytes"] + file["bytes"] <= bytes_max and len(batch["paths"]) < files_max


def batches_of(sources: Iterable[Source], planned: Plan) -> list[Batch]:
    """The planned batches with their sources, in the plan's order."""
    by_path = {source["path"]: source for source in sources}
    return [{"sources": [by_path[path] for path in batch["paths"]]} for batch in planned["batches"]]
