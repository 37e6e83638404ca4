"""The commands and their options. What they do is elsewhere, and imported when it is done."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from muster.cli import exits
from muster.cli.completion import capability_names, contract_ids, contract_states

_EPILOG = f"""\b
Begin with:
  muster up                                   start a mesh, and keep this terminal for it
  muster agent run my_agent.py                in another terminal: an agent
  muster call text.summarize text=hello       ask it for something

{exits.CODES_FOR_PEOPLE}"""

app = typer.Typer(
    name="muster",
    help="A service mesh for software agents: durable contracts over gRPC.",
    epilog=_EPILOG,
    no_args_is_help=True,
    # Its prettier help costs 200 ms.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
contracts_app = typer.Typer(help="What was asked, and what became of it.", no_args_is_help=True)
agent_app = typer.Typer(help="Run agents of your own.", no_args_is_help=True)


class Form(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"


Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        "-a",
        metavar="HOST:PORT",
        show_default=False,
        help="Where the mesh is. Default: MUSTER_ADDRESS, the mesh of the data folder, or "
        "127.0.0.1:7171.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        show_default=False,
        help="Where the mesh keeps its data. Default: MUSTER_DATA_DIR, or ~/.local/share/muster.",
    ),
]
Output = Annotated[
    Form, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"muster {version('muster-mesh')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A service mesh for software agents: durable contracts over gRPC."""


# --- the mesh -------------------------------------------------------------------------------------


@app.command()
def up(
    separate: Annotated[
        bool, typer.Option("--separate", help="Three processes instead of one.")
    ] = False,
    fleet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A YAML file that says which agents run with it."),
    ] = None,
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

    run_plain(lambda: up(UpOptions(separate, fleet, detach, port, http, data_dir)))


@app.command()
def down(data_dir: DataDir = None) -> None:
    """Stop the mesh of this machine."""
    from muster.cli.down import down
    from muster.cli.place import Place
    from muster.cli.running import run_plain

    run_plain(lambda: down(Place(data_dir=data_dir)))


@app.command()
def status(output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None) -> None:
    """Show services, agents and contracts at a glance."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.status import status
    from muster.model import limits

    place = Place(address, data_dir)
    run(lambda: status(place, output == Form.JSON), seconds=limits.COMMAND_SECONDS)


# --- work -----------------------------------------------------------------------------------------


@app.command()
def call(
    capability: Annotated[
        str, typer.Argument(metavar="CAPABILITY", autocompletion=capability_names)
    ],
    input: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]",
            show_default=False,
            help="JSON, @FILE, - for stdin, or fields one by one: text=hello limit:=20.",
        ),
    ] = None,
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
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", show_default=False, help="Repeatable."),
    ] = None,
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
    from muster.cli.running import run

    options = CallOptions(
        capability=capability,
        words=input or [],
        timeout=timeout,
        wait=wait,
        version=version,
        priority=priority,
        labels=label or [],
        request_id=request_id,
        quiet=quiet,
        whole=output == Form.JSON,
    )
    run(lambda: call(Place(address, data_dir), options), seconds=None)


@app.command()
def agents(
    kind: Annotated[str, typer.Option(metavar="KIND", show_default=False)] = "",
    capability: Annotated[
        str,
        typer.Option(metavar="NAME", show_default=False, autocompletion=capability_names),
    ] = "",
    host: Annotated[str, typer.Option(metavar="HOST", show_default=False)] = "",
    most: Annotated[
        int, typer.Option("--limit", "-n", min=0, metavar="N", help="Rows at most; 0 for all.")
    ] = 50,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """List the agents that are there."""
    from muster.cli.agents import AgentOptions, list_agents
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.model import limits

    place, options = Place(address, data_dir), AgentOptions(kind, capability, host, most)
    run(lambda: list_agents(place, options, output == Form.JSON), seconds=limits.COMMAND_SECONDS)


@app.command()
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
    from muster.model import limits

    place, as_json = Place(address, data_dir), output == Form.JSON
    show = show_capability if name else list_capabilities
    run(lambda: show(place, name, as_json), seconds=limits.COMMAND_SECONDS)


# --- contracts ------------------------------------------------------------------------------------


@contracts_app.command("list")
def contracts_list(
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", "-s", metavar="STATE", show_default=False, autocompletion=contract_states
        ),
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option(
            "--capability",
            "-c",
            metavar="NAME",
            show_default=False,
            autocompletion=capability_names,
        ),
    ] = None,
    agent: Annotated[
        str, typer.Option(metavar="NAME", show_default=False, help="The last to work on it.")
    ] = "",
    root_id: Annotated[
        str, typer.Option("--root", metavar="ID", show_default=False, help="In its tree.")
    ] = "",
    parent: Annotated[
        str, typer.Option(metavar="ID", show_default=False, help="Its direct children.")
    ] = "",
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", show_default=False)
    ] = None,
    most: Annotated[
        int, typer.Option("--limit", "-n", min=0, metavar="N", help="Rows at most; 0 for all.")
    ] = 20,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """List contracts, newest first."""
    from muster.cli.contracts import ContractOptions, list_contracts
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.model import limits

    options = ContractOptions(
        states=state or [],
        capabilities=capability or [],
        agent=agent,
        root_id=root_id,
        parent_id=parent,
        labels=label or [],
        most=most,
    )
    place = Place(address, data_dir)
    run(
        lambda: list_contracts(place, options, output == Form.JSON),
        seconds=limits.COMMAND_SECONDS,
    )


ContractId = Annotated[
    str,
    typer.Argument(
        metavar="[ID]",
        show_default=False,
        help="A contract's id, or your request_id. Without it: the newest contract.",
        autocompletion=contract_ids,
    ),
]


@contracts_app.command("show")
def contracts_show(
    contract: ContractId = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Show everything about a contract; if it waits, why."""
    from muster.cli.contract_page import show_contract
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.model import limits

    place = Place(address, data_dir)
    run(
        lambda: show_contract(place, contract, output == Form.JSON),
        seconds=limits.COMMAND_SECONDS,
    )


@contracts_app.command("watch")
def contracts_watch(
    contract: Annotated[
        str,
        typer.Argument(
            metavar="[ID]",
            show_default=False,
            help="One contract, until it has ended. Without it: all, until Ctrl-C.",
            autocompletion=contract_ids,
        ),
    ] = "",
    capability: Annotated[
        list[str] | None,
        typer.Option("--capability", "-c", metavar="NAME", show_default=False),
    ] = None,
    root_id: Annotated[
        str, typer.Option("--root", metavar="ID", show_default=False, help="A tree.")
    ] = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Follow what happens, as it happens."""
    from muster.cli.contract_watch import watch_contracts
    from muster.cli.place import Place
    from muster.cli.running import run

    place = Place(address, data_dir)
    run(
        lambda: watch_contracts(place, contract, capability or [], root_id, output == Form.JSON),
        seconds=None,
    )


@contracts_app.command("cancel")
def contracts_cancel(
    contract: Annotated[str, typer.Argument(metavar="ID", autocompletion=contract_ids)],
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", show_default=False)] = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Cancel a contract and its children."""
    from muster.cli.contracts import cancel_contract
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.model import limits

    place = Place(address, data_dir)
    run(
        lambda: cancel_contract(place, contract, reason, output == Form.JSON),
        seconds=limits.COMMAND_SECONDS,
    )


# --- agents of your own ---------------------------------------------------------------------------


@agent_app.command("run")
def agent_run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A Python file with Agent objects in it.")
    ],
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
    """Run the agents that a Python file defines, until Ctrl-C.

    When the mesh is away, they wait for it and go on.
    """
    from muster.cli.agent_run import RunOptions, run_agents
    from muster.cli.place import Place
    from muster.cli.running import run_plain

    options = RunOptions(file, name, count, workers)
    run_plain(lambda: run_agents(Place(address, data_dir), options))


@app.command()
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
    run_plain(lambda: audit(AuditOptions(place, path, report, fleet, keep, output == Form.JSON)))


app.add_typer(contracts_app, name="contracts")
app.add_typer(agent_app, name="agent")
