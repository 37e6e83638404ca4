"""The commands that are about the mesh as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muster.cli.options import Address, DataDir, Form, HostPool, Names, Output, PoolKind
from muster.cli.serve import Serves


def up(
    separate: Annotated[
        bool, typer.Option("--separate", help="Three processes instead of one.")
    ] = False,
    backends: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="NAME,…",
            show_default=False,
            help="Servers to stand on: consul, nats, postgres, temporal. Started here, on the data "
            "folder, unless MUSTER_DIRECTORY, MUSTER_BUS or MUSTER_LEDGER names one.",
        ),
    ] = "",
    replicas: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="So many of each service, each a process; several need --with postgres.",
        ),
    ] = 1,
    fleet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A YAML file that says which agents run with it."),
    ] = None,
    pool: HostPool = PoolKind.SUBPROCESS,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Run in the background, once it serves.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            show_default=False,
            help="The first port; 0 takes any that are free. Default: 7171, and 7180 for HTTP; "
            "apart, 7172 to 7174 and 7182 to 7184.",
        ),
    ] = None,
    http: Annotated[
        bool, typer.Option("--http/--no-http", help="Serve /metrics, /live and /ready.")
    ] = True,
    data_dir: DataDir = None,
) -> None:
    """Start a mesh on this machine."""
    from muster.cli.running import run_plain
    from muster.cli.up import UpOptions, up

    options = UpOptions(
        separate, fleet, detach, port, http, data_dir, backends, replicas, pool.value
    )
    run_plain(lambda: up(options))


def down(data_dir: DataDir = None) -> None:
    """Stop the mesh of this machine."""
    from muster.cli.down import down
    from muster.cli.place import Place
    from muster.cli.running import run_plain

    run_plain(lambda: down(Place(data_dir=data_dir)))


def status(output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None) -> None:
    """Show services, agents and contracts at a glance."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.status import status

    place = Place(address, data_dir)
    run(lambda: status(place, output == Form.JSON))


def serve(what: Annotated[Serves, typer.Argument(metavar="WHAT", show_default=False)]) -> None:
    """Run one process of a mesh: scheduler, registry, executor, all, or a host of agents.

    It does what the MUSTER_* variables say and ends with SIGTERM, for containers and units. On
    one machine: muster up
    """
    from muster.cli.serve import serve

    serve(what)


def health(
    service: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Of this gRPC service, as muster.v1.SchedulerService. Default: of all.",
        ),
    ] = "",
    live: Annotated[
        bool, typer.Option("--live", help="Only whether it lives, whatever it waits for.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", "-t", min=0.1, max=60, metavar="SECONDS")
    ] = 3.0,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            "-a",
            metavar="HOST:PORT",
            show_default=False,
            help="Default: MUSTER_HEALTH_PORT, or else MUSTER_GRPC_PORT, on this machine.",
        ),
    ] = None,
) -> None:
    """Ask a process whether it serves; for probes."""
    from muster.cli.health import LIVE, HealthOptions, health
    from muster.cli.running import run

    options = HealthOptions(address, LIVE if live else service, timeout)
    run(lambda: health(options))


def certs(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            show_default=False,
            help="Where they go; an authority that is there is used. Default: certs, in the data "
            "folder.",
        ),
    ] = None,
    domain: Annotated[
        str, typer.Option(metavar="NAME", help="The trust domain of a new authority.")
    ] = "muster.local",
    tenant: Annotated[
        str, typer.Option(metavar="NAME", help="Whom agents, clients and operators belong to.")
    ] = "default",
    service: Names = None,
    agent: Names = None,
    client: Names = None,
    operator: Names = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            show_default=False,
            help="A name or IP at which services are dialled, besides localhost. Repeatable.",
        ),
    ] = None,
    days: Annotated[
        float, typer.Option(min=0.01, max=397, help="How long certificates are good for.")
    ] = 30,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace certificates; not the authority."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Make a development authority, and certificates for TLS."""
    from muster.cli.certs import CertOptions, certs
    from muster.cli.place import Place
    from muster.cli.running import run_plain

    options = CertOptions(
        folder.expanduser().absolute() if folder else Place(data_dir=data_dir).folder / "certs",
        domain,
        tenant,
        host or (),
        service or (),
        agent or (),
        client or (),
        operator or (),
        days,
        force,
    )
    run_plain(lambda: certs(options))


def audit(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            show_default=False,
            help="A folder of source code. Default: Python's own standard library.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            help="Where the HTML and JSON reports go. Default: in the data folder.",
        ),
    ] = None,
    fleet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Another fleet than its own."),
    ] = None,
    pool: HostPool = PoolKind.SUBPROCESS,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the mesh running, to look around in it.")
    ] = False,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Let a mesh of agents audit source code."""
    from muster.cli.audit import AuditOptions, audit
    from muster.cli.place import Place
    from muster.cli.running import run_plain

    place = Place(address, data_dir)
    options = AuditOptions(place, path, report, fleet, keep, output == Form.JSON, pool.value)
    run_plain(lambda: audit(options))
