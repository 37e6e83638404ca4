"""The command that runs agents for a mesh, as many as the demand takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muster.cli.options import Address, DataDir, HostPool, PoolKind


def pool(
    fleet: Annotated[
        Path,
        typer.Argument(
            metavar="FLEET", help="The YAML file of a fleet, as for: muster up --fleet."
        ),
    ],
    pool: HostPool = PoolKind.SUBPROCESS,
    least: Annotated[
        int, typer.Option("--min", min=0, metavar="N", help="Hosts of each kind of agent.")
    ] = 1,
    most: Annotated[
        int | None,
        typer.Option(
            "--max",
            min=1,
            metavar="N",
            show_default=False,
            help="Hosts of each kind of agent. Default: the fleet's hosts.",
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="What hosts and agents are called after. Default: the fleet's name. Pools of one "
            "mesh need different ones.",
        ),
    ] = "",
    wait: Annotated[
        str,
        typer.Option(metavar="TIME", help="A contract that waits longer calls for more hosts."),
    ] = "1s",
    calm: Annotated[
        str, typer.Option(metavar="TIME", help="Hosts leave that were not needed for so long.")
    ] = "1m",
    drain: Annotated[
        str, typer.Option(metavar="TIME", help="For a host that leaves to finish what it holds.")
    ] = "30s",
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Run the agents of a fleet for a mesh, as many hosts as the demand takes.

    Each kind has hosts of its own, and on each its share of the fleet's agents. They grow by the
    queue's depth and how long contracts wait, and drain before they leave. SIGTERM drains all.
    """
    from muster.cli.place import Place
    from muster.cli.pool import PoolOptions, run_pool
    from muster.cli.running import run_until_told

    options = PoolOptions(fleet, pool.value, least, most, name, wait, calm, drain)
    run_until_told(lambda: run_pool(Place(address, data_dir), options))
