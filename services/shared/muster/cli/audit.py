"""`muster audit`: the command around the job; the job itself is `muster.audit`'s."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from muster.cli.exits import USAGE, Trouble
from muster.cli.place import Place


@dataclass(frozen=True)
class AuditOptions:
    """What the command line says. `path` None means Python's own standard library."""

    place: Place
    path: Path | None = None
    report: Path | None = None
    fleet: Path | None = None
    keep: bool = False
    as_json: bool = False


def audit(options: AuditOptions) -> int:
    """Runs the audit; returns the exit code."""
    if options.path is not None and not options.path.exists():
        message = f"there is nothing at {options.path}"
        raise Trouble(message, USAGE)
    try:
        command = importlib.import_module("muster.audit.command")
    except ImportError as error:
        message = f"the audit needs {error.name}, which is not installed"
        raise Trouble(message, USAGE, "pip install 'muster-mesh[server,audit]'") from None
    from muster.cli.audit_view import AuditView

    return int(command.run(options, AuditView()))
