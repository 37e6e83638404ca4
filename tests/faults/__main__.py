"""The fault table: `python -m tests.faults [--rows a,b] [--seed N] [--soak SECONDS] [--json FILE]`.

Each row runs in a process of its own, and in namespaces of its own where it changes the machine.
The same seed gives the same requests and the same faults.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.faults import soak
from tests.faults.report import all_held, show, write_json
from tests.faults.rows import EVERY, PROFILES
from tests.faults.table import FAILED, HELD, Outcome, Row
from tests.support.processes import ROOT

SEED_DEFAULT = 1
KEPT = ROOT / "build" / "faults"  # journals and logs of rows that were not held


def main() -> int:
    """Runs rows, or a soak; 0 when everything that ran was held."""
    arguments = _arguments()
    console = Console(width=max(110, Console().width), soft_wrap=False)
    rows = _chosen(arguments.rows, arguments.profile)
    if arguments.list:
        for row in rows:
            console.print(f"{row.name:24} {row.fault}  {row.obstacle}", markup=False)
        return 0
    if arguments.soak:
        name = soak.FULL_NAME if arguments.profile == "full" else soak.NAME
        rows = [soak.row(arguments.soak, name)]
    outcomes = []
    for number, row in enumerate(rows, 1):
        console.print(f"{number}/{len(rows)} {row.name}: {row.fault}", markup=False, style="bold")
        outcomes.append(_run(row, arguments.seed, arguments.soak))
        console.print(f"    {outcomes[-1].result} in {outcomes[-1].seconds:.0f} s", markup=False)
    show(outcomes, console)
    if arguments.json:
        write_json(outcomes, arguments.json)
    return 0 if all_held(outcomes) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rows", default="", help="only these, by name, separated by commas")
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default="embedded",
        help="full: two of every service on PostgreSQL, NATS and Consul",
    )
    parser.add_argument("--list", action="store_true", help="name the rows, and do nothing")
    parser.add_argument("--seed", type=int, default=SEED_DEFAULT)
    parser.add_argument(
        "--soak", type=float, default=0.0, metavar="SECONDS", help="random faults for so long"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table for programs")
    return parser.parse_args()


def _chosen(names: str, profile: str) -> list[Row]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = set(wanted) - EVERY.keys()
    if unknown:
        sys.exit(f"there is no row {', '.join(sorted(unknown))}; --list names them")
    return [EVERY[name] for name in wanted] if wanted else list(PROFILES[profile].values())


def _run(row: Row, seed: int, soak_seconds: float) -> Outcome:
    if row.obstacle:
        return row.skipped(seed)
    folder = KEPT / f"{row.name}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outcome = _run_in(folder, row, seed, soak_seconds)
    for image in folder.glob("*.img"):
        image.unlink()
    if outcome.result == HELD:
        shutil.rmtree(folder)
    return outcome


def _run_in(folder: Path, row: Row, seed: int, soak_seconds: float) -> Outcome:
    """Runs a row in a process of its own, which may take no longer than it should."""
    words = [*_entered(row), sys.executable, "-m", "tests.faults.one"]
    words += [row.name, str(seed), str(folder), str(soak_seconds)]
    began = time.monotonic()
    with subprocess.Popen(words, cwd=ROOT, start_new_session=True) as process:
        try:
            process.wait(row.seconds_max)
            failure = f"its process ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            failure = f"it had not ended after {row.seconds_max:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    written = folder / "outcome.json"
    if written.exists():
        return Outcome.of_json(written.read_text())
    seconds = time.monotonic() - began
    return Outcome(row.name, row.fault, FAILED, seed, [], [failure], seconds)


def _entered(row: Row) -> list[str]:
    """What leads into the namespaces that the row runs in."""
    words = []
    if row.spaces:
        words = ["unshare", *(f"--{space}" for space in row.spaces), "--"]
    if "net" in row.spaces:
        words += ["sh", "-c", 'ip link set lo up && exec "$@"', "row"]
    return words


if __name__ == "__main__":
    sys.exit(main())
