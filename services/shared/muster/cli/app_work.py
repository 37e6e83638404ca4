"""The commands that ask for work, and that do it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muster.cli.completion import capability_names
from muster.cli.options import Address, ConversationName, DataDir, Form, Labels, Most, Output

Input = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="JSON, @FILE, - for stdin, or fields one by one: text=hello limit:=20.",
    ),
]


def call(
    capability: Annotated[
        str, typer.Argument(metavar="CAPABILITY", autocompletion=capability_names)
    ],
    input: Input = None,
    timeout: Annotated[
        str,
        typer.Option("--timeout", "-t", metavar="TIME", help="Its deadline, as 30s, 10m, 1h30m."),
    ] = "10m",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the response; or print the id.")
    ] = True,
    version: Annotated[
        str, typer.Option(metavar="VERSION", show_default=False, help="2, 2.1 or 2.1.3.")
    ] = "",
    priority: Annotated[
        str, typer.Option(metavar="BAND", help="low, normal, high or critical.")
    ] = "normal",
    label: Labels = None,
    conversation: ConversationName = "",
    request_id: Annotated[
        str,
        typer.Option(
            metavar="ID", show_default=False, help="The same id again is the same contract."
        ),
    ] = "",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no logs on stderr.")
    ] = False,
    output: Annotated[
        Form,
        typer.Option("--output", "-o", help="The response's payload, or (json) all of it."),
    ] = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Ask for work, and wait for the response.

    Its progress, logs and partial output go to stderr, the response to stdout. Ctrl-C asks to
    cancel it.
    """
    from muster.cli.call import CallOptions, call
    from muster.cli.place import Place
    from muster.cli.running import run_until_told

    options = CallOptions(
        capability=capability,
        words=input or [],
        timeout=timeout,
        wait=wait,
        version=version,
        priority=priority,
        labels=label or [],
        conversation=conversation,
        request_id=request_id,
        quiet=quiet,
        whole=output == Form.JSON,
    )
    run_until_told(lambda: call(Place(address, data_dir), options))


def agents(
    kind: Annotated[str, typer.Option(metavar="KIND", show_default=False)] = "",
    capability: Annotated[
        str,
        typer.Option(metavar="NAME", show_default=False, autocompletion=capability_names),
    ] = "",
    host: Annotated[str, typer.Option(metavar="HOST", show_default=False)] = "",
    most: Most = 50,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """List the agents that are there."""
    from muster.cli.agents import AgentOptions, list_agents
    from muster.cli.place import Place
    from muster.cli.running import run

    place, options = Place(address, data_dir), AgentOptions(kind, capability, host, most)
    run(lambda: list_agents(place, options, output == Form.JSON))


def capabilities(
    name: Annotated[
        str,
        typer.Argument(metavar="[NAME]", show_default=False, autocompletion=capability_names),
    ] = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """List what can be asked for.

    With a name, show what that takes and gives.
    """
    from muster.cli.capabilities import list_capabilities, show_capability
    from muster.cli.place import Place
    from muster.cli.running import run

    place, as_json = Place(address, data_dir), output == Form.JSON
    show = show_capability if name else list_capabilities
    run(lambda: show(place, name, as_json))


Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE…", help="Python with Agent objects in it, or YAML of an agent without code."
    ),
]


def agent_check(files: Files) -> None:
    """Check agents without running them: every mistake, with its line. Needs no mesh."""
    from muster.cli.agent_run import check_agents
    from muster.cli.running import run_plain

    run_plain(lambda: check_agents(files))


def agent_run(
    files: Files,
    name: Annotated[
        str, typer.Option(metavar="NAME", show_default=False, help="Call the agent so instead.")
    ] = "",
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=10_000, metavar="N", help="Of each.")
    ] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, metavar="N", show_default=False, help="Processes that compute."
        ),
    ] = None,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Run the agents that files define, until Ctrl-C.

    When the mesh is away, they wait for it and go on.
    """
    from muster.cli.agent_run import RunOptions, run_agents
    from muster.cli.place import Place
    from muster.cli.running import run_plain

    options = RunOptions(files, name, count, workers)
    run_plain(lambda: run_agents(Place(address, data_dir), options))
