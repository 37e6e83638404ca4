"""The commands that are about workflows and their runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from muster.cli.completion import run_ids, run_states, workflow_names
from muster.cli.options import Address, DataDir, Form, Most, Output


class EngineName(StrEnum):
    """Who runs workflows."""

    LOCAL = "local"
    TEMPORAL = "temporal"


Engine = Annotated[
    EngineName | None,
    typer.Option("--engine", show_default=False, help="Who runs it. Default: the mesh's own."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=workflow_names)]
Run = Annotated[
    str,
    typer.Argument(
        metavar="[RUN]",
        show_default=False,
        help="A run's id, or your start id. Without it: the newest run.",
        autocompletion=run_ids,
    ),
]
NamedRun = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's id, or your start id.", autocompletion=run_ids),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="JSON, @FILE, - for stdin, or fields one by one: text=hello limit:=20.",
    ),
]
InputFile = Annotated[
    Path | None,
    typer.Option("--input", "-i", metavar="FILE", show_default=False, help="JSON to begin with."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        show_default=False,
        help="One more field; JSON where it reads as JSON, text otherwise. Repeatable.",
    ),
]
StartId = Annotated[
    str,
    typer.Option(
        "--id", metavar="START_ID", show_default=False, help="The same id again is the same run."
    ),
]


# --- definitions ----------------------------------------------------------------------------------


def register(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="YAML or JSON.")],
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Keep workflows as new versions, unless they are there already.

    Of several, name those first that others run.
    """
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_definitions import register_files

    run(lambda: register_files(Place(address, data_dir), files, output == Form.JSON))


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON.")],
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Look for mistakes, each with its line; keep nothing.

    Capabilities and other workflows are those of the mesh; without one, only what needs none is
    checked.
    """
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_definitions import check_file

    run(lambda: check_file(Place(address, data_dir), file, output == Form.JSON))


def list_(output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None) -> None:
    """List the workflows that are registered, and those that come with Muster."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_definitions import list_workflows

    run(lambda: list_workflows(Place(address, data_dir), output == Form.JSON))


def get(
    name: Name,
    version: Annotated[
        int, typer.Option("--version", min=0, metavar="N", help="0 for the newest.")
    ] = 0,
    output: Annotated[
        Form, typer.Option("--output", "-o", help="YAML (table), or JSON for programs.")
    ] = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Print a workflow as YAML."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_definitions import get_workflow

    run(lambda: get_workflow(Place(address, data_dir), name, version, output == Form.JSON))


def schema() -> None:
    """Print the JSON Schema of workflows, for editors."""
    from muster.cli.running import run_plain
    from muster.cli.workflow_definitions import print_schema

    run_plain(print_schema)


# --- running --------------------------------------------------------------------------------------


def run_workflow(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A workflow that is registered or comes with Muster (content, analysis, site, "
            "monitoring), or a YAML file.",
            autocompletion=workflow_names,
        ),
    ],
    words: Words = None,
    input_file: InputFile = None,
    sets: Sets = None,
    engine: Engine = None,
    start_id: StartId = "",
    conversation: Annotated[
        str, typer.Option(metavar="ID", show_default=False, help="Put it into a conversation.")
    ] = "",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Start it, print its id, and leave it to itself.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would do, and do nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Run a workflow, and show how far it is.

    What comes with Muster needs no preparation: where no mesh runs, one is started with the agents
    that it needs, and stopped at the end. Ctrl-C asks to cancel the run.
    """
    from muster.cli.place import Place
    from muster.cli.running import run_plain
    from muster.cli.workflow_run import RunOptions, run_workflow

    options = RunOptions(
        what=what,
        words=words or [],
        input_file=input_file,
        sets=sets or [],
        engine=engine.value if engine else "",
        start_id=start_id,
        conversation=conversation,
        detach=detach,
        dry_run=dry_run,
        quiet=quiet,
        as_json=output == Form.JSON,
    )
    run_plain(lambda: run_workflow(Place(address, data_dir), options))


# --- runs -----------------------------------------------------------------------------------------


def runs(
    workflow: Annotated[
        str,
        typer.Option(
            "--workflow", "-w", metavar="NAME", show_default=False, autocompletion=workflow_names
        ),
    ] = "",
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", "-s", metavar="STATE", show_default=False, autocompletion=run_states
        ),
    ] = None,
    conversation: Annotated[str, typer.Option(metavar="ID", show_default=False)] = "",
    all_: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that are steps of others.")
    ] = False,
    most: Most = 20,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """List runs, newest first."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_runs import ListOptions, list_runs

    options = ListOptions(workflow, state or [], conversation, all_, most)
    run(lambda: list_runs(Place(address, data_dir), options, output == Form.JSON))


def show(
    run_id: Run = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on and show what changes, until it has ended.")
    ] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII only.")] = False,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Draw a run: its steps, what depends on what, and where they are."""
    from muster.cli.place import Place
    from muster.cli.running import run, run_until_told
    from muster.cli.workflow_page import show_run, watch_page

    place, as_json = Place(address, data_dir), output == Form.JSON
    if watch and not as_json:
        run_until_told(lambda: watch_page(place, run_id, ascii_only=ascii_only))
    run(lambda: show_run(place, run_id, as_json, ascii_only=ascii_only))


def watch(
    run_id: Run = "", output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None
) -> None:
    """Follow a run's journal, a line for each entry, until it has ended."""
    from muster.cli.place import Place
    from muster.cli.running import run_until_told
    from muster.cli.workflow_watch import watch_run

    run_until_told(lambda: watch_run(Place(address, data_dir), run_id, output == Form.JSON))


def signal(
    run_id: NamedRun,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the step waits for.")],
    words: Words = None,
    signal_id: Annotated[
        str,
        typer.Option(
            "--id", metavar="ID", show_default=False, help="The same id again counts once."
        ),
    ] = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Send a signal to a run."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_runs import signal_run

    place, as_json = Place(address, data_dir), output == Form.JSON
    run(lambda: signal_run(place, run_id, name, words or [], signal_id, as_json))


def cancel(
    run_id: NamedRun,
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", show_default=False)] = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Cancel a run; what was done is undone, where the workflow says how."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_runs import cancel_run

    run(lambda: cancel_run(Place(address, data_dir), run_id, reason, output == Form.JSON))


def pause(
    run_id: NamedRun, output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None
) -> None:
    """Let nothing new of a run begin; what is under way goes on."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_runs import pause_run

    run(lambda: pause_run(Place(address, data_dir), run_id, output == Form.JSON))


def resume(
    run_id: NamedRun, output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None
) -> None:
    """End a pause."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_runs import resume_run

    run(lambda: resume_run(Place(address, data_dir), run_id, output == Form.JSON))


def retry(
    run_id: NamedRun,
    step: Annotated[
        str,
        typer.Option("--from", metavar="STEP", show_default=False, help="Default: what failed."),
    ] = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Let a run that failed or was cancelled go on, from a step."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_runs import retry_run

    run(lambda: retry_run(Place(address, data_dir), run_id, step, output == Form.JSON))


def fork(
    run_id: NamedRun,
    step: Annotated[
        str, typer.Option("--from", metavar="STEP", help="From here it goes its own way.")
    ],
    words: Words = None,
    input_file: InputFile = None,
    sets: Sets = None,
    engine: Engine = None,
    start_id: StartId = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Start another run with what this one has, but for a step and all that follows.

    With this one's input, unless another is given; --set changes fields of it.
    """
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.workflow_runs import ForkOptions, fork_run

    options = ForkOptions(
        step, words or [], input_file, sets or [], engine.value if engine else "", start_id
    )
    run(lambda: fork_run(Place(address, data_dir), run_id, options, output == Form.JSON))
