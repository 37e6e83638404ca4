"""Writes the report: canonical JSON for programs, one HTML page for people."""

from dataclasses import dataclass
from pathlib import Path

from muster.audit.canonical import canonical_json
from muster.audit.page import page
from muster.audit.report_shapes import Report


@dataclass(frozen=True, slots=True)
class Written:
    """Where the report now lies."""

    html: Path
    json: Path


def write(report: Report, folder: Path) -> Written:
    """Writes `report.json` and `report.html` into `folder`, which is made where it is missing.

    A reader never sees half a report: each file replaces its predecessor at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = Written(folder / "report.html", folder / "report.json")
    _replace(written.json, canonical_json(report))
    _replace(written.html, page(report).encode("utf-8", "replace"))
    return written


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    fresh.replace(path)
