"""Workflows in files: reading them, checking what can be checked here, and problems with lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from muster.cli.exits import USAGE, Trouble
from muster.model import limits
from muster.model.errors import InvalidArgument
from muster.workflow.checking import check_workflow
from muster.workflow.places import Problem
from muster.workflow.source import BadSource, Source, read_workflow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muster.agent.client import Client
    from muster.v1.capability_pb2 import Capability
    from muster.v1.workflow_pb2 import Workflow, WorkflowVersion


def read_file(path: Path) -> Source:
    """Reads a file; what it means is not checked. Raises `Trouble`."""
    try:
        if path.stat().st_size > limits.FLEET_FILE_BYTES_MAX:
            message = f"{path} is too large for a workflow"
            raise Trouble(message, USAGE)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise Trouble(message, USAGE) from None
    except UnicodeDecodeError:
        message = f"{path} is not UTF-8 text"
        raise Trouble(message, USAGE) from None
    try:
        return read_workflow(text, str(path))
    except BadSource as error:
        raise bad(error.mistakes) from None


def bad(mistakes: Iterable[str]) -> Trouble:
    """What a person is told of mistakes, each with file and line."""
    shown = BadSource(mistakes)
    lines = "\n".join(f"  {line}" for line in str(shown).splitlines())
    count = len(shown.mistakes)
    noun = "mistake" if count == 1 else "mistakes"
    return Trouble(f"{count} {noun}:\n{lines}", USAGE)


async def register(
    client: Client, source: Source, *, validate_only: bool = False
) -> WorkflowVersion:
    """Has the mesh check a workflow, and keep it. Raises `Trouble` with the lines of mistakes."""
    try:
        return await client.workflows.register(source.workflow, validate_only=validate_only)
    except InvalidArgument as error:
        if not error.violations:
            raise
        # Rules of the message itself name places from the request on.
        problems = [
            Problem(each.field.removeprefix("workflow."), each.description)
            for each in error.violations
        ]
        raise bad(source.located(problems)) from None


def check_alone(source: Source) -> list[str]:
    """The mistakes that can be known without a mesh; what it would know is taken to be there."""
    return source.located(check_workflow(source.workflow, _any_capability, _any_workflow))


def _any_capability(name: str, _version: str) -> Capability:
    from muster.v1.capability_pb2 import Capability

    return Capability(name=name, version="1.0.0")


def _any_workflow(name: str, version: int) -> Workflow:
    """One that takes anything and may give back anything."""
    from muster.v1.workflow_pb2 import Workflow

    made = Workflow(name=name, output='"${input}"')
    made.steps.add(name="any").capability.name = "any"
    return made
