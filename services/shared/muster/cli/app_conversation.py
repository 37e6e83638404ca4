"""The commands that are about conversations, their memory, and what agents keep."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.completion import agent_names, contract_states, conversation_ids
from muster.cli.options import Address, Capabilities, DataDir, Form, Labels, Most, Output

Conversation = Annotated[
    str,
    typer.Argument(
        metavar="CONVERSATION",
        help="As contracts name it (conversation_id).",
        autocompletion=conversation_ids,
    ),
]
Agent = Annotated[
    str, typer.Argument(metavar="AGENT", help="An agent's name.", autocompletion=agent_names)
]

# --- of a search ----------------------------------------------------------------------------------

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WORD]…",
        show_default=False,
        help="All of them must occur, in what was asked or answered, labels or failures.",
    ),
]
Within = Annotated[
    str,
    typer.Option(
        "--in",
        metavar="CONVERSATION",
        show_default=False,
        help="Only in this one.",
        autocompletion=conversation_ids,
    ),
]
LastAgent = Annotated[
    str, typer.Option(metavar="NAME", show_default=False, help="The last to work on it.")
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND", show_default=False, help="Of agents. Repeatable."),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state", "-s", metavar="STATE", show_default=False, autocompletion=contract_states
    ),
]
Since = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        show_default=False,
        help="Accepted so long ago at most (10m, 2h), or since an instant (2026-01-31T12:00:00Z).",
    ),
]
InMemory = Annotated[
    bool, typer.Option("--memory", help="Search memory blocks rather than contracts.")
]

# --- commands -------------------------------------------------------------------------------------


def conversation_list(
    most: Most = 20, output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None
) -> None:
    """List conversations, the one with the newest contract first."""
    from muster.cli.conversation import list_conversations
    from muster.cli.place import Place
    from muster.cli.running import run

    place = Place(address, data_dir)
    run(lambda: list_conversations(place, most, output == Form.JSON))


def conversation_show(
    conversation: Conversation,
    most: Most = 20,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Show a conversation: who took part, its newest contracts, its newest memory."""
    from muster.cli.conversation import show_conversation
    from muster.cli.place import Place
    from muster.cli.running import run

    place = Place(address, data_dir)
    run(lambda: show_conversation(place, conversation, most, output == Form.JSON))


def conversation_search(
    words: Words = None,
    within: Within = "",
    agent: LastAgent = "",
    kind: Kinds = None,
    capability: Capabilities = None,
    state: States = None,
    label: Labels = None,
    since: Since = "",
    memory: InMemory = False,
    most: Most = 20,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Search contracts of a conversation, or of all; or their memory."""
    from muster.cli.conversation_search import SearchOptions, search
    from muster.cli.place import Place
    from muster.cli.running import run

    options = SearchOptions(
        text=" ".join(words or []),
        conversation=within,
        agent=agent,
        kinds=kind or [],
        capabilities=capability or [],
        states=state or [],
        labels=label or [],
        since=since,
        memory=memory,
        most=most,
    )
    place = Place(address, data_dir)
    run(lambda: search(place, options, output == Form.JSON))


def conversation_compress(
    conversation: Conversation,
    summarizer: Annotated[
        str,
        typer.Option(
            metavar="CAPABILITY",
            show_default=False,
            help="What writes the text. Default: what is built in.",
        ),
    ] = "",
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="How long each block waits for that capability.")
    ] = "60s",
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Make memory of what has ended since the last time. Safe to repeat."""
    from muster.cli.conversation import compress_conversation
    from muster.cli.place import Place
    from muster.cli.running import run_until_told

    place, as_json = Place(address, data_dir), output == Form.JSON
    run_until_told(lambda: compress_conversation(place, conversation, summarizer, timeout, as_json))


def conversation_memory(
    conversation: Conversation,
    number: Annotated[
        int,
        typer.Argument(
            metavar="[BLOCK]", min=0, show_default=False, help="One block, whole. Default: a list."
        ),
    ] = 0,
    most: Most = 20,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Show the memory of a conversation, newest block first, or one block with its contracts."""
    from muster.cli.conversation import show_memory
    from muster.cli.place import Place
    from muster.cli.running import run

    place = Place(address, data_dir)
    run(lambda: show_memory(place, conversation, number, most, output == Form.JSON))


def trace(
    conversation: Conversation,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Show who did what in a conversation, in order, compressed or not."""
    from muster.cli.conversation_trace import show_trace
    from muster.cli.place import Place
    from muster.cli.running import run

    place = Place(address, data_dir)
    run(lambda: show_trace(place, conversation, output == Form.JSON))


def state_list(
    agent: Agent, output: Output = Form.TABLE, address: Address = None, data_dir: DataDir = None
) -> None:
    """List what an agent keeps for itself."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.state import list_states

    place = Place(address, data_dir)
    run(lambda: list_states(place, agent, output == Form.JSON))


def state_get(
    agent: Agent,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `muster state list` shows it.")],
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Show one value that an agent keeps."""
    from muster.cli.place import Place
    from muster.cli.running import run
    from muster.cli.state import show_state

    place = Place(address, data_dir)
    run(lambda: show_state(place, agent, name, output == Form.JSON))
