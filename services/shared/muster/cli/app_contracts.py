"""The commands that are about contracts."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.completion import contract_ids, contract_states
from muster.cli.options import (
    Address,
    Capabilities,
    ContractId,
    DataDir,
    Form,
    Labels,
    Most,
    Output,
    Root,
)


def contracts_list(
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", "-s", metavar="STATE", show_default=False, autocompletion=contract_states
        ),
    ] = None,
    capability: Capabilities = None,
    agent: Annotated[
        str, typer.Option(metavar="NAME", show_default=False, help="The last to work on it.")
    ] = "",
    root_id: Root = "",
    parent: Annotated[
        str, typer.Option(metavar="ID", show_default=False, help="Its direct children.")
    ] = "",
    label: Labels = None,
    most: Most = 20,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """List contracts, newest first."""
    from muster.cli.contracts import ContractOptions, list_contracts
    from muster.cli.place import Place
    from muster.cli.running import run

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
    run(lambda: list_contracts(place, options, output == Form.JSON))


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

    place = Place(address, data_dir)
    run(lambda: show_contract(place, contract, output == Form.JSON))


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
    capability: Capabilities = None,
    root_id: Root = "",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Follow what happens, as it happens."""
    from muster.cli.contract_watch import watch_contracts
    from muster.cli.place import Place
    from muster.cli.running import run_until_told

    place = Place(address, data_dir)
    run_until_told(
        lambda: watch_contracts(place, contract, capability or [], root_id, output == Form.JSON)
    )


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

    place = Place(address, data_dir)
    run(lambda: cancel_contract(place, contract, reason, output == Form.JSON))
