"""The commands that are about the bus."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.options import Address, DataDir, Form, Output

Since = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        show_default=False,
        help="So long ago (10m, 2h), or an instant (2026-01-31T12:00:00Z).",
    ),
]


def events_tail(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="[SUBJECT]",
            show_default=False,
            help="Words with dots between them; * stands for any, > for the rest: "
            "contract.ended.>. Without it: everything.",
        ),
    ] = ">",
    since: Since = "",
    number: Annotated[
        int,
        typer.Option(
            "--from",
            metavar="NUMBER",
            min=0,
            show_default=False,
            help="Begin with this number of the bus, as the second column shows it.",
        ),
    ] = 0,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Follow what is published, until Ctrl-C; as CloudEvents with -o json."""
    from muster.cli.events import tail
    from muster.cli.place import Place
    from muster.cli.running import run_until_told

    place = Place(address, data_dir)
    run_until_told(lambda: tail(place, subject, since, number, output == Form.JSON))


def events_replay(
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="So long ago (10m, 2h), or an instant (2026-01-31T12:00:00Z)."
        ),
    ],
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Publish again what happened since, from the ledger, for a bus that has lost it.

    Subscribers that have an event already know it by its id.
    """
    from muster.cli.events import replay
    from muster.cli.place import Place
    from muster.cli.running import run_until_told

    place = Place(address, data_dir)
    run_until_told(lambda: replay(place, since, output == Form.JSON))
