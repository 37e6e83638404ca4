"""What was seen, a file for each look: a step that runs twice writes the same file."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Final

from muster.workflows.files import write
from muster.workflows.monitoring.shapes import Change, Probe, Seen

LOOKS_KEPT_MAX: Final = 500  # at about 5 KB each with 20 targets, 2.5 MB


def keep(folder: Path, seen: Seen) -> None:
    """Writes a look down, and drops the oldest beyond `LOOKS_KEPT_MAX`."""
    text = json.dumps(asdict(seen), ensure_ascii=False, sort_keys=True)
    write(folder / _name(seen.at, seen.run), text + "\n")
    for old in _files(folder)[:-LOOKS_KEPT_MAX]:
        old.unlink(missing_ok=True)


def before(folder: Path, run: str, at: float, most: int) -> list[Seen]:
    """The last looks of other runs that began earlier, oldest first. What cannot be read is passed
    over: it was another program's, or is gone by now."""
    earlier = [path for path in _files(folder) if path.name < _name(at, "")]
    found = (read(path) for path in earlier[-most - 1 :])
    return [seen for seen in found if seen is not None and seen.run != run][-most:]


def latest(folder: Path, most: int) -> list[Seen]:
    """The last looks, oldest first."""
    found = (read(path) for path in _files(folder)[-most:])
    return [seen for seen in found if seen is not None]


def read(path: Path) -> Seen | None:
    """A look that was written down; None for what is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        probes = [Probe(**probe) for probe in found.pop("probes")]
        changes = [Change(**change) for change in found.pop("changes")]
        return Seen(probes=probes, changes=changes, **found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _name(at: float, run: str) -> str:
    """Names sort by time: 13 digits of milliseconds last until the year 2286."""
    return f"{round(at * 1000):013d}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', run)}.json"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*-*.json")) if folder.is_dir() else []
