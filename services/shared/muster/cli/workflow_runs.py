"""`muster workflow runs`, and the commands that steer a run."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from muster.cli import exits, text
from muster.cli.call_input import input_of
from muster.cli.exits import Trouble
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import out, print_json, say, state_text, table, without_empty_last
from muster.cli.workflow_input import run_input
from muster.cli.workflow_states import run_seconds, run_state
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.agent.runs import RunHandle
    from muster.v1.workflow_run_pb2 import WorkflowRun

_ID = re.compile(r"[0-9a-f]{16}")
_GROUPS = {"OPEN": ["RUNNING", "UNWINDING"], "ENDED": ["SUCCEEDED", "FAILED", "CANCELLED"]}


async def find_run(client: Client, named: str) -> RunHandle:
    """The run that a person means: by id, by start id, or the newest. Raises `Trouble`."""
    flows = client.workflows
    if _ID.fullmatch(named):
        return flows.handle(named)
    if named:
        return flows.handle((await flows.find(named)).id)
    async for run in flows.runs(most=100):
        if not run.parent_id:  # what a person started, rather than what a run did
            return flows.handle(run.id)
    message = "there are no runs yet"
    raise Trouble(message, exits.NOT_FOUND, "start one with: muster workflow run NAME")


def run_states_of(names: Sequence[str]) -> list[str]:
    """States as the mesh calls them; "open" and "ended" stand for several. Raises `Trouble`."""
    known = [state for states in _GROUPS.values() for state in states]
    found: dict[str, None] = {}
    for name in names:
        word = name.upper()
        if word not in known and word not in _GROUPS:
            listed = ", ".join(state.lower() for state in known)
            message = f"{name!r} is no state; there are {listed}, and open and ended for several"
            raise Trouble(message, exits.USAGE)
        found.update(dict.fromkeys(_GROUPS.get(word, [word])))
    return list(found)


@dataclass(frozen=True)
class ListOptions:
    """What the command line says of a list."""

    workflow: str = ""
    states: Sequence[str] = ()
    conversation: str = ""
    children: bool = False
    most: int = 20


async def list_runs(place: Place, options: ListOptions, as_json: bool) -> int:
    """Lists runs, newest first."""
    async with connected(place) as client:
        found = await _found(client, options)
    shown = found[: options.most or None]
    if as_json:
        print_json([message_json(run) for run in shown])
    elif not shown:
        filtered = options.workflow or options.states or options.conversation
        say("no run fits" if filtered else "there are no runs yet")
    else:
        now = time.time()
        columns = ["RUN", "STATE", "<WORKFLOW", "ENGINE", ">AGE", ">TOOK", "<OF"]
        rows = [_row(run, now) for run in shown]
        out().print(table(*without_empty_last(columns, rows)))
        if len(shown) < len(found):
            say("there are more; show them with: -n 100, or -n 0 for all", style="bright_black")
    return exits.OK


async def _found(client: Client, options: ListOptions) -> list[WorkflowRun]:
    """One more than is shown, to know whether there are more."""
    found: list[WorkflowRun] = []
    async for run in client.workflows.runs(
        workflow=options.workflow,
        states=run_states_of(options.states),
        conversation_id=options.conversation,
        most=options.most + 1 if options.most and options.children else None,
    ):
        if options.children or not run.parent_id:
            found.append(run)
        if options.most and len(found) > options.most:
            break
    return found


def _row(run: WorkflowRun, now: float) -> list[str | Text]:
    took = text.duration(run_seconds(run, now)) if run.HasField("end_time") else ""
    of = f"step {run.parent_step} of {run.parent_id}" if run.parent_id else ""
    if run.forked_from:
        of = f"fork of {run.forked_from} from {run.forked_step}"
    return [
        run.id,
        state_text(run_state(run)),
        f"{run.workflow} {run.version}",
        engine_name(run),
        text.short_age(now - seconds_of_timestamp(run.start_time)),
        took,
        of,
    ]


def engine_name(run: WorkflowRun) -> str:
    """Who runs it, in a word."""
    from muster.v1.workflow_run_pb2 import EngineKind

    return EngineKind.Name(run.engine).removeprefix("ENGINE_KIND_").lower()


# --- steering -------------------------------------------------------------------------------------


def _told(run_id: str, message: str, as_json: bool, **fields: Any) -> int:
    if as_json:
        print_json({"run_id": run_id, **fields})
    else:
        say(message)
    return exits.OK


async def signal_run(
    place: Place, named: str, name: str, words: Sequence[str], signal_id: str, as_json: bool
) -> int:
    """Sends a signal."""
    payload = input_of(words)
    async with connected(place) as client:
        run = await find_run(client, named)
        await run.signal(name, payload, signal_id=signal_id)
    return _told(run.id, f"run {run.id} has been told {name}", as_json, signal=name)


async def cancel_run(place: Place, named: str, reason: str, as_json: bool) -> int:
    """Cancels a run; returns when that is decided."""
    async with connected(place) as client:
        run = await find_run(client, named)
        state = await run.cancel(reason or "cancelled at the terminal")
    done = "is cancelled" if state == "CANCELLED" else "unwinds, and is cancelled then"
    return _told(run.id, f"run {run.id} {done}", as_json, state=state)


async def pause_run(place: Place, named: str, as_json: bool) -> int:
    """Pauses a run."""
    async with connected(place) as client:
        run = await find_run(client, named)
        await run.pause()
    message = f"run {run.id} begins nothing new; let it go on with: muster workflow resume {run.id}"
    return _told(run.id, message, as_json, paused=True)


async def resume_run(place: Place, named: str, as_json: bool) -> int:
    """Ends a pause."""
    async with connected(place) as client:
        run = await find_run(client, named)
        await run.resume()
    return _told(run.id, f"run {run.id} goes on", as_json, paused=False)


async def retry_run(place: Place, named: str, step: str, as_json: bool) -> int:
    """Has a run tried again."""
    async with connected(place) as client:
        run = await find_run(client, named)
        revision = await run.retry(step)
    where = f" from {step}" if step else ""
    message = f"run {run.id} goes on{where}, in revision {revision}"
    return _told(run.id, message, as_json, revision=revision)


@dataclass(frozen=True)
class ForkOptions:
    """What the command line says of a fork."""

    step: str
    words: Sequence[str] = ()
    input_file: Path | None = None
    sets: Sequence[str] = ()
    engine: str = ""
    start_id: str = ""


async def fork_run(place: Place, named: str, options: ForkOptions, as_json: bool) -> int:
    """Forks a run."""
    from muster.agent.contents import fetch
    from muster.agent.values import value_of

    changes: dict[str, Any] = {}
    async with connected(place) as client:
        run = await find_run(client, named)
        begin = None
        if options.sets and not (options.words or options.input_file):
            old = value_of(await fetch((await run.get()).input, client.blobs))
            begin = old if isinstance(old, dict) else None
        given = run_input(options.words, options.input_file, options.sets, begin)
        if given is not None:
            changes["input"] = given
        fork = await run.fork(
            options.step,
            start_id=options.start_id,
            engine=options.engine,  # type: ignore[arg-type]
            **changes,
        )
    if as_json:
        return _told(fork.id, "", as_json, forked_from=run.id, forked_step=options.step)
    out().print(fork.id)
    say(f"follow it: muster workflow show {fork.id} --watch", style="bright_black")
    return exits.OK
