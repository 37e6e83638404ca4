"""`python -m benchmarks`, or `make bench`: measures, prints a table, and writes JSON when asked."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console

from benchmarks import (
    assigning,
    auditing,
    distributed,
    durable,
    flowing,
    growing,
    looking_up,
    report,
    starting,
    streaming,
)
from benchmarks.bench import Bench
from benchmarks.commits import sampled_commits
from benchmarks.machine import machine_facts
from benchmarks.targets import BY_KEY

# Each has the KEYS of rows that it measures together, and `measure(bench)`.
MEASUREMENTS: tuple[ModuleType, ...] = (
    durable,
    assigning,
    streaming,
    looking_up,
    growing,
    starting,
    auditing,
    flowing,
    distributed,
)
TABLE_COLUMNS_MIN = 110


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--rows", type=row_keys, default=tuple(BY_KEY), help=f"of {','.join(BY_KEY)}"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also for programs")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also as in the README")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="where the mesh's time goes (py-spy)"
    )
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1 or chosen.seconds < 1:
        parser.error("at least one round of one second is needed")
    if chosen.profile and not set(chosen.rows) & set(durable.KEYS):
        parser.error(f"a profile is taken with one of the rows {', '.join(durable.KEYS)}")
    return chosen


def row_keys(text: str) -> tuple[str, ...]:
    """Keys of rows, in the order of the table."""
    wanted = {each.strip() for each in text.split(",") if each.strip()}
    unknown = sorted(wanted - BY_KEY.keys())
    if unknown or not wanted:
        message = f"no such rows: {', '.join(unknown)}; there are {', '.join(BY_KEY)}"
        raise argparse.ArgumentTypeError(message)
    return tuple(key for key in BY_KEY if key in wanted)


async def measure(chosen: argparse.Namespace, folder: Path) -> Bench:
    """All that was asked for."""
    async with sampled_commits(folder) as commits:
        bench = Bench(folder, chosen.rounds, chosen.seconds, chosen.rows, commits, chosen.profile)
        for module in MEASUREMENTS:
            run: Callable[[Bench], Awaitable[None]] = module.measure
            if bench.wants(*module.KEYS):
                await run(bench)
    return bench


async def _until_told(chosen: argparse.Namespace, folder: Path) -> Bench:
    """`measure`, which SIGTERM ends as SIGINT does: with every process that was started."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    return await measure(chosen, folder)


def main() -> int:
    """Measures and prints."""
    chosen = options(sys.argv[1:])
    import uvloop

    # 10,000 sessions are as many connections, here and in the processes that are started.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if chosen.profile:
        chosen.profile.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        machine = machine_facts(folder)
        bench = uvloop.run(_until_told(chosen, folder))
    commits = bench.commits
    machine["commit of one row with fsync"] = (
        f"p50 {commits.percentile_ms(0.5):.2f} ms, p99 {commits.percentile_ms(0.99):.2f} ms, "
        f"of {len(commits.samples):,} through the run"
    )
    rows = list(bench.findings.values())
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(TABLE_COLUMNS_MIN, console.width))
    report.show(machine, rows, console)
    if chosen.json:
        settings = {"rounds": chosen.rounds, "seconds": chosen.seconds}
        chosen.json.write_text(json.dumps(report.as_json(machine, settings, rows), indent=2) + "\n")
    if chosen.markdown:
        chosen.markdown.write_text(report.markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
