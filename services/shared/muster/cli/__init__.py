"""The command line `muster`. Nothing is imported before a command needs it."""

from __future__ import annotations


def main() -> None:
    """The entry point; ends the process with one of the codes in `muster.cli.exits`."""
    from muster.cli.app import app

    app()
