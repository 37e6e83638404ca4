"""`muster workflow register`, `check`, `list`, `get` and `schema`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from muster.cli import exits, text
from muster.cli.exits import Trouble
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, say, table
from muster.cli.workflow_files import bad, check_alone, read_file, register
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.workflow_pb2 import WorkflowVersion
    from muster.workflow.source import Source


async def register_files(place: Place, files: Sequence[Path], as_json: bool) -> int:
    """Registers the workflows of files, in their order; none where one cannot be read."""
    sources = [read_file(file) for file in files]
    made: list[WorkflowVersion] = []
    async with connected(place) as client:
        for source in sources:
            version = await register(client, source)
            made.append(version)
            if not as_json:
                say(f"{version.workflow.name} is there as version {version.version}")
    if as_json:
        print_json([_version_json(version) for version in made])
    return exits.OK


async def check_file(place: Place, file: Path, as_json: bool) -> int:
    """Checks a file against the mesh, or alone where none answers."""
    source = read_file(file)
    against = "the mesh"
    try:
        async with connected(place) as client:
            await register(client, source, validate_only=True)
    except Trouble as trouble:
        if trouble.code != exits.NO_MESH:
            raise
        if mistakes := check_alone(source):
            raise bad(mistakes) from None
        against = ""
    if as_json:
        print_json({"name": source.workflow.name, "mistakes": [], "against_mesh": bool(against)})
    else:
        say(_checked(source, against))
    return exits.OK


def _checked(source: Source, against: str) -> str:
    name, steps = source.workflow.name, text.counted(len(source.workflow.steps), "step")
    if against:
        return f"{name}: {steps}, no mistakes"
    return (
        f"{name}: {steps}, no mistakes, as far as that can be known without a mesh; with one, "
        "capabilities and their types are checked, too"
    )


# --- reading --------------------------------------------------------------------------------------


async def list_workflows(place: Place, as_json: bool) -> int:
    """Lists what is registered, and what comes with Muster."""
    from muster.workflows import TEMPLATES

    known: dict[str, WorkflowVersion] = {}
    try:
        async with connected(place) as client:
            async for version in client.workflows.list():
                known[version.workflow.name] = version
    except Trouble as trouble:
        if trouble.code != exits.NO_MESH:
            raise
        say("no mesh answers; these come with Muster", style="bright_black")
    shipped = {name: each.title for name, each in TEMPLATES.items() if name not in known}
    if as_json:
        rows = [{**_version_json(version), "shipped": False} for version in known.values()]
        rows += [
            {"name": name, "version": 0, "description": title, "shipped": True}
            for name, title in shipped.items()
        ]
        print_json(rows)
        return exits.OK
    now = time.time()
    lines = [_row(version, now) for version in known.values()]
    lines += [[name, "", "", "", Text(title, "bright_black")] for name, title in shipped.items()]
    out().print(table(["WORKFLOW", ">VERSION", ">STEPS", ">AGE", "<DESCRIPTION"], lines))
    if shipped:
        say("those without a version come with Muster: muster workflow run NAME", "bright_black")
    return exits.OK


def _row(version: WorkflowVersion, now: float) -> list[str | Text]:
    return [
        version.workflow.name,
        str(version.version),
        str(len(version.workflow.steps)),
        text.short_age(now - seconds_of_timestamp(version.create_time)),
        text.shortened(version.workflow.description, 120),
    ]


def _version_json(version: WorkflowVersion) -> dict[str, Any]:
    return {
        "name": version.workflow.name,
        "version": version.version,
        "description": version.workflow.description,
        "steps": len(version.workflow.steps),
        "principal": version.principal,
        "create_time": version.create_time.ToJsonString(),
    }


async def get_workflow(place: Place, name: str, version: int, as_json: bool) -> int:
    """Prints a definition, as YAML, or with all that is known of the version as JSON."""
    from muster.workflow.messages import plain
    from muster.workflow.source import to_yaml

    async with connected(place) as client:
        found = await client.workflows.get(name, version)
    if as_json:
        print_json({**_version_json(found), "workflow": plain(found.workflow)})
        return exits.OK
    try:
        written = to_yaml(found.workflow)
    except ValueError as error:
        message = f"{name} has no form as YAML: {error}"
        raise Trouble(message, exits.FAILED) from None
    out().print(
        f"# version {found.version}, {found.create_time.ToJsonString()}", style="bright_black"
    )
    sys.stdout.write(written)
    sys.stdout.flush()
    return exits.OK


def print_schema() -> int:
    """Prints the JSON Schema."""
    from muster.workflow.published import workflow_schema

    print_json(workflow_schema())
    return exits.OK
