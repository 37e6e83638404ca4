"""`muster workflow run`: registers what is needed, starts a run, and shows it to its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muster.cli import exits, text
from muster.cli.exits import Trouble
from muster.cli.fleet_files import read_fleet
from muster.cli.messages import message_json
from muster.cli.own_mesh import own_mesh, plan_of_mesh
from muster.cli.place import Place, connected, is_supervised
from muster.cli.terminal import complain, out, print_json, say
from muster.cli.workflow_files import read_file, register
from muster.cli.workflow_following import follow
from muster.cli.workflow_hosts import are_there, hosts_beside
from muster.cli.workflow_input import run_input
from muster.cli.workflow_plan_view import show_plan
from muster.cli.workflow_states import run_seconds, run_state
from muster.cli.workflow_view import RunView
from muster.model import limits
from muster.model.errors import InvalidArgument, MusterError

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.agent.runs import RunHandle
    from muster.supervisor.mesh import Mesh
    from muster.v1.workflow_run_pb2 import WorkflowRun
    from muster.workflow.source import Source
    from muster.workflows import Template

_NAMED_BY = ("MUSTER_ADDRESS", "MUSTER_SCHEDULER")
_FILE_ENDINGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class RunOptions:
    """What the command line says."""

    what: str
    words: Sequence[str] = ()
    input_file: Path | None = None
    sets: Sequence[str] = ()
    engine: str = ""
    start_id: str = ""
    conversation: str = ""
    detach: bool = False
    dry_run: bool = False
    quiet: bool = False
    as_json: bool = False


@dataclass(frozen=True)
class _Job:
    """What is to be run: a workflow by its name, what must be registered before, its template."""

    name: str
    sources: tuple[Source, ...] = ()
    template: Template | None = None


@dataclass(frozen=True)
class _Outcome:
    """How it ended. `artefact` is what a person opens, if there is such a thing."""

    run: WorkflowRun
    value: Any
    artefact: Path | None
    interrupted: bool


def run_workflow(place: Place, options: RunOptions) -> int:
    """Runs it; returns the exit code."""
    job = _job_of(options.what)
    named = place.address is not None or any(os.environ.get(name) for name in _NAMED_BY)
    if job.template is None or named or is_supervised(place):
        return asyncio.run(_on_running_mesh(place, job, options))
    if options.detach:
        message = "no mesh runs that the run could be left to"
        hint = f"start one with the agents: muster up --detach --fleet {job.template.fleet}"
        raise Trouble(message, exits.NO_MESH, hint)
    return asyncio.run(_on_own_mesh(place, job, job.template, options))


def _job_of(what: str) -> _Job:
    """A file, a workflow that comes with Muster, or one that the mesh knows. Raises `Trouble`."""
    from muster.workflows import EXTRA, TEMPLATES

    path = Path(what).expanduser()
    if what.endswith(_FILE_ENDINGS) or os.sep in what:
        source = read_file(path)
        return _Job(source.workflow.name, (source,))
    template = TEMPLATES.get(what)
    if template is None:
        return _Job(what)
    if missing := template.missing():
        message = f"{what} needs {text.listed(missing, 5)}, which is not installed"
        raise Trouble(message, exits.USAGE, f"pip install '{EXTRA}'")
    return _Job(template.name, tuple(map(read_file, template.definitions)), template)


# --- on a mesh ------------------------------------------------------------------------------------


async def _on_running_mesh(place: Place, job: _Job, options: RunOptions) -> int:
    view = RunView(quiet=options.quiet or options.as_json)
    async with (
        connected(place, "scheduler", "registry") as client,
        _agents(place, client, job, options, view),
    ):
        handle = await _started(place, client, job, options)
        if handle is None:
            return exits.OK
        if options.detach:
            _tell_of(handle, options)
            return exits.OK
        with view:
            run, interrupted = await _until_ended(handle, view)
        outcome = await _outcome(client, run, job, interrupted=interrupted)
    return _finish(outcome, options, is_up=True)


def _agents(place: Place, client: Client, job: _Job, options: RunOptions, view: RunView) -> Any:
    """The agents of what comes with Muster, where the mesh has none."""

    @asynccontextmanager
    async def there() -> AsyncIterator[None]:
        if job.template is None:
            yield
            return
        fleet = read_fleet(job.template.fleet)
        if await are_there(client, fleet):
            yield
        elif options.detach:
            message = f"the mesh has no agents for {job.name}, and they would end with this command"
            hint = f"run them elsewhere: muster pool {job.template.fleet}"
            raise Trouble(message, exits.NOT_FOUND, hint)
        else:
            async with hosts_beside(place, fleet, view.note):
                yield

    return there()


async def _on_own_mesh(place: Place, job: _Job, template: Template, options: RunOptions) -> int:
    from muster.cli.up import trouble_of_start
    from muster.supervisor.plan import Interrupted, StartError

    view = RunView(quiet=options.quiet or options.as_json)
    plan = plan_of_mesh(place, template.fleet)
    view.note(f"no mesh runs; starting one with the agents of {template.name}")
    try:
        async with own_mesh(plan, view.note) as mesh:
            here = Place(mesh.endpoints.scheduler, place.data_dir)
            async with connected(here, "scheduler") as client:
                handle = await _started(here, client, job, options)
                if handle is None:
                    return exits.OK
                with view:
                    run = await _unless_stopped(mesh, handle, view)
                if run is None:
                    _left_alone(handle.id, template)
                    return exits.INTERRUPTED
                outcome = await _outcome(client, run, job, interrupted=False)
    except Interrupted:
        return exits.INTERRUPTED
    except StartError as error:
        raise trouble_of_start(error, plan) from None
    return _finish(outcome, options, is_up=False)


async def _unless_stopped(mesh: Mesh, handle: RunHandle, view: RunView) -> WorkflowRun | None:
    """The run when it has ended; None when the mesh was told to stop before."""
    try:
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow(handle, view.tell))
            stop = tasks.create_task(mesh.stop_requested())
            await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            following.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return None if following.cancelled() else following.result()


def _left_alone(run_id: str, template: Template) -> None:
    say(f"run {run_id} has not ended; it goes on where it was when a mesh is up again:")
    say(f"muster up --fleet {template.fleet}", style="bright_black")


# --- the run --------------------------------------------------------------------------------------


async def _started(
    place: Place, client: Client, job: _Job, options: RunOptions
) -> RunHandle | None:
    """The run, once it is recorded; None after a dry run. Raises `Trouble`."""
    async with asyncio.timeout(limits.COMMAND_SECONDS):
        for source in job.sources:
            await register(client, source)
        begin = _first_input(place, job.template) if job.template is not None else None
        given = run_input(options.words, options.input_file, options.sets, begin)
        try:
            if options.dry_run:
                show_plan(job.name, await client.workflows.plan(job.name, given), options.as_json)
                return None
            return await client.workflows.start(
                job.name,
                given,
                start_id=options.start_id,
                conversation_id=options.conversation,
                engine=options.engine,  # type: ignore[arg-type]
            )
        except InvalidArgument as error:
            trouble = exits.trouble_of(error)
            hint = f"what it takes: muster workflow get {job.name}"
            raise Trouble(trouble.message, trouble.code, hint) from None


def _first_input(place: Place, template: Template) -> dict[str, Any]:
    """What a template is given that is given nothing; its artefacts go into the data folder."""
    from muster.supervisor.state import read_state
    from muster.workflows import Place as Where

    state, endpoints = read_state(place.folder), place.endpoints()
    is_this = state is not None and state.endpoints["scheduler"] == endpoints.scheduler
    http = tuple(state.http.values()) if state is not None and is_this else ()
    services = (endpoints.scheduler, endpoints.registry, endpoints.executor)
    where = Where(Path.cwd(), tuple(dict.fromkeys(services)), http)
    return template.default_input(place.folder / "artefacts" / template.name, where)


def _tell_of(handle: RunHandle, options: RunOptions) -> None:
    if options.as_json:
        print_json({"run_id": handle.id})
        return
    out().print(handle.id)
    if not options.quiet:
        say(f"follow it: muster workflow show {handle.id} --watch", style="bright_black")


async def _until_ended(handle: RunHandle, view: RunView) -> tuple[WorkflowRun, bool]:
    """The run when it has ended, and whether the person has interrupted it."""
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def interrupted() -> None:
        (second if first.is_set() else first).set()

    async def cancel() -> None:
        await first.wait()
        view.note("cancelling; Ctrl-C again leaves it to itself")
        with suppress(MusterError):  # it may have just ended
            await handle.cancel("interrupted at the terminal")
        await second.wait()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow(handle, view.tell))
            cancelling = tasks.create_task(cancel())
            await asyncio.wait({following, cancelling}, return_when=asyncio.FIRST_COMPLETED)
            cancelling.cancel()
            following.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    if following.cancelled():
        message = f"run {handle.id} may still go on"
        hint = f"look at it: muster workflow show {handle.id}"
        raise Trouble(message, exits.INTERRUPTED, hint)
    return following.result(), first.is_set()


# --- when it has ended ----------------------------------------------------------------------------


async def _outcome(client: Client, run: WorkflowRun, job: _Job, *, interrupted: bool) -> _Outcome:
    from muster.agent.contents import fetch
    from muster.agent.values import value_of

    value = value_of(await fetch(run.output, client.blobs))
    artefact = None
    if job.template is not None and run_state(run) == "succeeded":
        given = value_of(await fetch(run.input, client.blobs))
        found = Path(given["out_dir"]) / job.template.artefacts[0]
        artefact = found if found.exists() else None
    return _Outcome(run, value, artefact, interrupted)


def _finish(outcome: _Outcome, options: RunOptions, *, is_up: bool) -> int:
    """Prints the artefact's place, or the output; returns the exit code."""
    run = outcome.run
    succeeded = run_state(run) == "succeeded"
    look = f"muster workflow show {run.id}"
    look = look if is_up else f"muster up, and then: {look}"
    if options.as_json:
        artefact = str(outcome.artefact) if outcome.artefact else None
        print_json({**message_json(run), "artefact": artefact})
    elif outcome.artefact is not None:
        out().print(str(outcome.artefact), soft_wrap=True)
    elif succeeded and run.HasField("output"):
        print_json(outcome.value)
    if not succeeded:
        complain(failure_line(run), f"look closer: {look}")
    elif not (options.quiet or options.as_json):
        say(_summary(run), style="bright_black")
        say(f"look closer: {look}", style="bright_black")
    if outcome.interrupted:
        return exits.INTERRUPTED
    return exits.OK if succeeded else exits.FAILED


def failure_line(run: WorkflowRun) -> str:
    """Why there is no output, in a sentence."""
    message = text.printable(run.failure.message.strip())
    why = f"{run.failure.code}: {message}" if message else run.failure.code
    return f"{run.workflow} {run_state(run)}: {why}"


def _summary(run: WorkflowRun) -> str:
    items = sum(step.items_succeeded for step in run.steps)
    failed = sum(step.items_failed for step in run.steps)
    took = text.duration(run_seconds(run, 0.0))
    parts = [f"{run.workflow} {run.version}", f"succeeded in {took}"]
    parts.append(text.counted(len(run.steps), "step"))
    if items > len(run.steps):
        parts.append(f"{items:,} items")
    if failed:
        parts.append(f"{failed:,} of them not done")
    return f"{run.id} · {' · '.join(parts)}"
