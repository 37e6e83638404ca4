"""The commands that are about schedules."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.completion import capability_names
from muster.cli.options import Address, DataDir, Form, Labels, Most, Output

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
Cron = Annotated[
    str,
    typer.Option(
        metavar="FIELDS",
        show_default=False,
        help="'0 9 * * MON-FRI': minute, hour, day, month, weekday; with six, the second first.",
    ),
]
Zone = Annotated[
    str,
    typer.Option(
        "--tz",
        metavar="ZONE",
        show_default=False,
        help="Of --cron, such as Europe/Berlin. Default: UTC.",
    ),
]
Every = Annotated[str, typer.Option(metavar="TIME", show_default=False, help="As 10s, 10m, 1h30m.")]
At = Annotated[
    str,
    typer.Option(
        metavar="INSTANT",
        show_default=False,
        help="Once: 2026-01-31T12:00, or 10m, from now.",
    ),
]
Jitter = Annotated[
    str,
    typer.Option(metavar="TIME", show_default=False, help="Each tick is later by a part of it."),
]
From = Annotated[
    str,
    typer.Option(
        "--start", metavar="INSTANT", show_default=False, help="Not before; --every counts from it."
    ),
]
Until = Annotated[str, typer.Option(metavar="INSTANT", show_default=False, help="Not after.")]
Note = Annotated[str, typer.Option(metavar="TEXT", show_default=False, help="Why, for people.")]


Input = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="Of what is started, as for: muster call. JSON, @FILE, -, or text=hello n:=20.",
    ),
]
Call = Annotated[
    str,
    typer.Option(
        metavar="CAPABILITY",
        show_default=False,
        autocompletion=capability_names,
        help="Start a contract.",
    ),
]
Workflow = Annotated[
    str, typer.Option(metavar="NAME", show_default=False, help="Start a run of a workflow.")
]
Overlap = Annotated[
    str,
    typer.Option(
        metavar="POLICY",
        help="While an earlier tick's goes on: skip, queue, cancel it, or allow.",
    ),
]
Queue = Annotated[
    int, typer.Option(min=0, max=100, metavar="N", show_default=False, help="Ticks that may wait.")
]
CatchUp = Annotated[
    str,
    typer.Option(
        "--catch-up",
        metavar="TIME",
        show_default=False,
        help="A tick may start so much too late, after a restart. Default: 10m.",
    ),
]
Limit = Annotated[
    int, typer.Option(min=0, metavar="N", show_default=False, help="Start so often at most.")
]
Timeout = Annotated[
    str, typer.Option("--timeout", "-t", metavar="TIME", show_default=False, help="Of --call.")
]
Version = Annotated[
    str, typer.Option(metavar="VERSION", show_default=False, help="Of what is started.")
]
Engine = Annotated[
    str, typer.Option(metavar="NAME", show_default=False, help="Of --workflow: local or temporal.")
]
Purpose = Annotated[
    str, typer.Option("--note", metavar="TEXT", show_default=False, help="What it is for.")
]
Paused = Annotated[bool, typer.Option("--paused", help="Start nothing yet.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Change the one that is there; its history stays.")
]


def schedule_create(
    name: Name,
    input: Input = None,
    cron: Cron = "",
    tz: Zone = "",
    every: Every = "",
    at: At = "",
    call: Call = "",
    workflow: Workflow = "",
    overlap: Overlap = "skip",
    queue: Queue = 0,
    catch_up: CatchUp = "",
    jitter: Jitter = "",
    start: From = "",
    until: Until = "",
    limit: Limit = 0,
    timeout: Timeout = "",
    label: Labels = None,
    version: Version = "",
    engine: Engine = "",
    note: Purpose = "",
    paused: Paused = False,
    replace: Replace = False,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Have something started again and again, or once.

    muster schedule create report --cron '0 9 * * MON-FRI' --tz Europe/Berlin --call text.summarize
    text=hello
    """
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import create
    from muster.cli.schedule_spec import ScheduleOptions, What, When

    when = When(cron, tz, every, at, start, until, limit, jitter)
    what = What(call, workflow, input or [], version, timeout, label or [], engine)
    options = ScheduleOptions(when, what, overlap, queue, catch_up, note)
    place, as_json = Place(address, data_dir), output == Form.JSON
    run(lambda: create(place, name, options, paused=paused, replace=replace, as_json=as_json))


def schedule_list(
    output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None
) -> None:
    """List schedules."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import list_schedules

    run(lambda: list_schedules(Place(address, data_dir), output == Form.JSON))


def schedule_show(
    name: Name, output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None
) -> None:
    """Show one: when it comes next, and what became of its last ticks."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import show

    run(lambda: show(Place(address, data_dir), name, output == Form.JSON))


def schedule_history(
    name: Name,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            "--outcome",
            metavar="OUTCOME",
            show_default=False,
            help="started, skipped, missed, failed or waiting. Repeatable.",
        ),
    ] = None,
    most: Most = 50,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """List what became of its ticks, newest first."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import history

    place, as_json = Place(address, data_dir), output == Form.JSON
    run(lambda: history(place, name, outcome or [], most, as_json))


def schedule_pause(
    name: Name, note: Note = "", address: Address = None, data_dir: DataDir = None
) -> None:
    """Have nothing more started, until it is resumed."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import pause

    run(lambda: pause(Place(address, data_dir), name, note))


def schedule_resume(
    name: Name, note: Note = "", address: Address = None, data_dir: DataDir = None
) -> None:
    """End a pause. What passed meanwhile is left out."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import resume

    run(lambda: resume(Place(address, data_dir), name, note))


def schedule_trigger(
    name: Name,
    overlap: Annotated[
        str,
        typer.Option(
            metavar="POLICY", show_default=False, help="skip, queue, cancel or allow, this once."
        ),
    ] = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Start it now, also while it is paused.

    Prints the contract's or run's id.
    """
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import trigger

    run(lambda: trigger(Place(address, data_dir), name, overlap, output == Form.JSON))


def schedule_delete(name: Name, address: Address = None, data_dir: DataDir = None) -> None:
    """Delete it and its history."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import delete

    run(lambda: delete(Place(address, data_dir), name))


def schedule_preview(
    cron: Cron = "",
    tz: Zone = "",
    every: Every = "",
    at: At = "",
    start: From = "",
    until: Until = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, metavar="N")] = 10,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Show when it would start, and record nothing."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.schedule import preview
    from muster.cli.schedule_spec import When

    when = When(cron, tz, every, at, start, until)
    run(lambda: preview(Place(address, data_dir), when, count, output == Form.JSON))
