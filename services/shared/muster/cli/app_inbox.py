"""The commands that are about questions to people."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.completion import question_subjects
from muster.cli.options import Address, DataDir, Form, Most, Output

Subject = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The contract or run that asks, as `muster inbox` shows it. Of one that asks several "
        "things: ID/QUESTION.",
        autocompletion=question_subjects,
    ),
]


def inbox(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on and show what changes, until Ctrl-C.")
    ] = False,
    most: Most = 20,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Questions of agents and workflows that wait for a person, oldest first."""
    if context.invoked_subcommand is not None:
        return
    from muster.cli.inbox import list_questions, watch_questions
    from muster.cli.place import Place
    from muster.cli.running import run, run_until_told

    place, as_json = Place(address, data_dir), output == Form.JSON
    if watch:
        run_until_told(lambda: watch_questions(place, as_json))
    run(lambda: list_questions(place, most, as_json))


def inbox_show(
    subject: Subject,
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Show a question, how to answer it, and its answer if there is one."""
    from muster.cli.inbox import show_question
    from muster.cli.place import Place
    from muster.cli.running import run

    place = Place(address, data_dir)
    run(lambda: show_question(place, subject, output == Form.JSON))


def answer(
    subject: Subject,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE",
            help="One of the choices, text, or JSON where that is asked for. @FILE or - for stdin.",
        ),
    ],
    output: Output = Form.TABLE,
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Answer a question, once; whoever asked goes on with it."""
    from muster.cli.inbox import answer_question
    from muster.cli.place import Place
    from muster.cli.running import run

    place = Place(address, data_dir)
    run(lambda: answer_question(place, subject, value, output == Form.JSON))
