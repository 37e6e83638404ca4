"""The kinds of runs that are disturbed: the four templates, and workflows made for it.

A kind says how its run is started, and does what somebody outside does for it while it runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster.v1.workflow_pb2 import Workflow
from muster.v1.workflow_run_pb2 import WorkflowRun
from muster.workflow.source import read_workflow
from muster.workflows import TEMPLATES, Place, Template
from tests.faults import flow_texts as t
from tests.support.processes import ROOT
from tests.support.recording_runs import RunRecorder

LEFT = "left"  # in a folder, what a run leaves there
PROBED = 5
ARTICLES = 40
NO_PAGES = frozenset({"build", "node_modules"})
OF_TIME = frozenset({"monitoring"})  # whose files say when something was seen


@dataclass(frozen=True)
class Run:
    """One run of a kind. `folder` is its own."""

    kind: Kind
    recorder: RunRecorder
    start_id: str
    folder: Path

    async def go(self) -> list[str]:
        """Has it started, and done; returns the ids of what was started, once all has ended."""
        return await self.kind.drive(self)

    async def start(self) -> str:
        """Starts it."""
        value = self.kind.make_input(self.folder)
        return await self.recorder.start(self.kind.workflow, self.start_id, value, self.kind.name)


@dataclass(frozen=True)
class Kind:
    """A kind of run. Its name stands for what its outcome follows from."""

    name: str
    workflow: str
    sources: Sequence[str]
    make_input: Callable[[Path], dict[str, Any]]
    drive: Callable[[Run], Awaitable[list[str]]]

    def definitions(self) -> Iterator[Workflow]:
        """What must be registered before, in this order."""
        for text in self.sources:
            yield read_workflow(text).workflow


# --- what is done for them ------------------------------------------------------------------------


async def only_follow(run: Run) -> list[str]:
    """Nothing."""
    run_id = await run.start()
    await run.recorder.follow(run_id)
    return [run_id]


async def answer_gate(run: Run) -> list[str]:
    """Somebody answers, as soon as there is a question, and then somebody else, who is too late."""
    run_id = await run.start()

    async def answer() -> None:
        question = await run.recorder.asked(run_id, "approve")
        await run.recorder.answer(run_id, question, "yes")
        await run.recorder.answer(run_id, question, "no")

    await asyncio.gather(run.recorder.follow(run_id), answer())
    return [run_id]


async def send_signal(run: Run) -> list[str]:
    """A signal comes, perhaps before anybody waits for it; and it is sent again."""
    run_id = await run.start()

    async def send() -> None:
        for _ in range(2):
            await run.recorder.signal(run_id, "go", "now")

    await asyncio.gather(run.recorder.follow(run_id), send())
    return [run_id]


async def mend_and_retry(run: Run) -> list[str]:
    """It fails, what it needs is brought, and it is tried again."""
    run_id = await run.start()
    seen = await run.recorder.follow(run_id)
    needed_by(run.folder).write_text("here\n")
    await run.recorder.retry(run_id)
    await run.recorder.follow(run_id, after=seen)
    return [run_id]


async def fork_from_third(run: Run) -> list[str]:
    """When it has ended, another one is made from its third step on, with another input."""
    run_id = await run.start()
    await run.recorder.follow(run_id)
    forked = await run.recorder.fork(
        run_id, "s3", f"{run.start_id}-fork", {"text": "other", "ms": 110}, f"{run.kind.name} fork"
    )
    await run.recorder.follow(forked)
    return [run_id, forked]


# --- kinds ----------------------------------------------------------------------------------------


def needed_by(folder: Path) -> Path:
    """What a run needs that is not there."""
    return folder / "needed"


def _texts(count: int) -> dict[str, Any]:
    return {"texts": [f"t{number}" for number in range(count)]}


def _synthetic() -> Iterator[Kind]:
    plain: Sequence[tuple[str, Sequence[str], dict[str, Any]]] = (
        ("flow_chain", [t.chain("flow_chain", t.STEPS)], {"text": "begin", "ms": 60}),
        ("flow_fan", [t.LEAF, t.FAN], _texts(t.CHILDREN)),
        ("flow_first", [t.FIRST], _texts(t.FIRST_OF)),
    )
    for name, sources, value in plain:
        yield Kind(name, name, sources, _always(value), only_follow)
    missing = {"missing": "/nowhere/at/all"}
    yield Kind("flow_saga", "flow_saga", [t.SAGA], _always(missing), only_follow)
    yield Kind("flow_gate", "flow_gate", [t.GATE], _always({}), answer_gate)
    yield Kind("flow_times", "flow_times", [t.TIMES], _always({}), send_signal)
    yield Kind(
        "flow_retry",
        "flow_retry",
        [t.RETRY],
        lambda folder: {"path": str(needed_by(folder))},
        mend_and_retry,
    )
    forked = t.chain("flow_fork", 5)
    value = {"text": "begin", "ms": 80}
    yield Kind("flow_fork", "flow_fork", [forked], _always(value), fork_from_third)


def _always(value: dict[str, Any]) -> Callable[[Path], dict[str, Any]]:
    return lambda _folder: value


SYNTHETIC: dict[str, Kind] = {kind.name: kind for kind in _synthetic()}


def templates(ports: Sequence[int], pages: Path) -> dict[str, Kind]:
    """Those of the four that can run here. Monitoring looks at these ports; the site is made of the
    Markdown in `pages`, which nobody may change meanwhile."""
    given: dict[str, dict[str, Any]] = {
        "content": {"count": ARTICLES},
        "site": {"folder": str(pages)},
        "monitoring": {"urls": [f"tcp://127.0.0.1:{port}" for port in ports]},
    }
    return {
        template.name: _of_template(template, given.get(template.name, {}))
        for template in TEMPLATES.values()
        if not template.missing()
    }


def _of_template(template: Template, given: dict[str, Any]) -> Kind:
    def make_input(folder: Path) -> dict[str, Any]:
        return {**template.default_input(folder / LEFT, Place(ROOT)), **given}

    sources = [path.read_text() for path in template.definitions]
    return Kind(template.name, template.name, sources, make_input, only_follow)


def copy_pages(into: Path) -> None:
    """Muster's own Markdown, as it is now."""
    for path in ROOT.rglob("*.md"):
        place = path.relative_to(ROOT)
        if place.parts[0] not in NO_PAGES and not place.parts[0].startswith("."):
            (into / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, into / place)


@contextmanager
def listening(count: int = PROBED) -> Iterator[list[int]]:
    """Ports on which somebody listens while the block runs, whatever happens to the mesh."""
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=1000) for _ in range(count)]
    try:
        yield [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


# --- what they come to ----------------------------------------------------------------------------


def outcome_of(run: WorkflowRun) -> Any:
    """What a run gave back and left behind, without what differs from run to run."""
    folder = _folder_of(run)
    text = run.output.json if run.HasField("output") else ""
    if folder is None:
        return [text, run.failure.code, run.output.blob.sha256]
    text = text.replace(str(folder), "FOLDER")
    told = run.workflow not in OF_TIME and not run.parent_id
    return [text, run.failure.code, dict(_files_in(folder)) if told else {}]


def _files_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Whole files; one that a kill cut off is still hidden."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            content = path.read_bytes().replace(str(folder).encode(), b"FOLDER")
            yield path.relative_to(folder).as_posix(), hashlib.sha256(content).hexdigest()


def _folder_of(run: WorkflowRun) -> Path | None:
    value = json.loads(run.input.json) if run.input.json else {}
    return Path(value["out_dir"]) if "out_dir" in value else None
