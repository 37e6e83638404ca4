"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from muster.cli.completion import capability_names, contract_ids, conversation_ids


class PoolKind(StrEnum):
    """What runs hosts; the names of `muster.supervisor.pools`."""

    SUBPROCESS = "subprocess"
    RAY = "ray"


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
Most = Annotated[
    int, typer.Option("--limit", "-n", min=0, metavar="N", help="Rows at most; 0 for all.")
]
HostPool = Annotated[
    PoolKind,
    typer.Option(
        "--pool",
        help="What runs the hosts of the fleet: processes here, or actors of Ray; of a cluster "
        "where MUSTER_RAY_ADDRESS names one.",
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", show_default=False, help="One of these. Repeatable."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="KEY=VALUE", show_default=False, help="Repeatable."),
]
Capabilities = Annotated[
    list[str] | None,
    typer.Option(
        "--capability",
        "-c",
        metavar="NAME",
        show_default=False,
        autocompletion=capability_names,
        help="Repeatable.",
    ),
]
Root = Annotated[
    str, typer.Option("--root", metavar="ID", show_default=False, help="In the tree of this one.")
]
ContractId = Annotated[
    str,
    typer.Argument(
        metavar="[ID]",
        show_default=False,
        help="A contract's id, or your request_id. Without it: the newest contract.",
        autocompletion=contract_ids,
    ),
]
ConversationName = Annotated[
    str,
    typer.Option(
        "--conversation",
        metavar="NAME",
        show_default=False,
        autocompletion=conversation_ids,
        help="What it belongs to, with others of that name: muster conversation.",
    ),
]
