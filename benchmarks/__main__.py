"""`python -m benchmarks [--rounds N] [--seconds S] [--json FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import socket
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.throughput import Figures, one_round


def free_port() -> int:
    """A port that is free now, with the next one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def table(rounds: list[Figures]) -> str:
    """The figures for people: medians over the rounds, ratios from pairs of one round."""

    def median(values: list[float]) -> float:
        return statistics.median(values)

    lines = [
        f"machine: {platform.machine()}, {platform.system()}, Python {platform.python_version()}; "
        f"{len(rounds)} rounds; ledger SQLite, WAL, synchronous=FULL (fsync at every commit)",
        f"commit with fsync: p50 {median([r.commit_p50_ms for r in rounds]):.2f} ms, "
        f"p99 {median([r.commit_p99_ms for r in rounds]):.2f} ms",
        "raw grpc.aio unary echo, 256 in flight: "
        f"{median([r.raw_per_second for r in rounds]):,.0f}/s",
    ]
    for in_flight in sorted(rounds[0].contracts_per_second):
        rates = [r.contracts_per_second[in_flight] for r in rounds]
        ratios = [r.contracts_per_second[in_flight] / r.raw_per_second for r in rounds]
        lines.append(
            f"durable contracts, {in_flight:,} in flight: {median(rates):,.0f}/s "
            f"({median(ratios):.2f}x raw; {min(ratios):.2f}–{max(ratios):.2f})"
        )
    lines.append(f"one contract at a time: p50 {median([r.p50_ms for r in rounds]):.2f} ms")
    last = rounds[-1]
    hosts = [name for name in last.cpu_us if name.startswith("host")]
    lines.append(
        f"CPU per contract at 200 in flight: mesh {last.cpu_us['mesh']:.0f} µs, "
        f"{len(hosts)} hosts {sum(last.cpu_us[name] for name in hosts):.0f} µs together"
    )
    lines.append("memory with 620 agents connected and idle (PSS / RSS):")
    lines += [
        f"  {name}: {pss:.0f} / {rss:.0f} MiB" for name, (pss, rss) in last.memory_mib.items()
    ]
    pss, rss = (sum(column) for column in zip(*last.memory_mib.values(), strict=True))
    lines.append(f"  together: {pss:.0f} / {rss:.0f} MiB")
    return "\n".join(lines)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="per figure and round")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
            rounds.append(asyncio.run(one_round(Path(folder), free_port(), options.seconds)))
    sys.stdout.write(table(rounds) + "\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in rounds], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
