import json
import os
import signal
from pathlib import Path

import pytest

from muster.supervisor.finding import Endpoints, find_endpoints
from muster.supervisor.identity import Identity, identify
from muster.supervisor.remains import running_of, sweep_remains
from muster.supervisor.state import (
    LOCK_FILE,
    STATE_FILE,
    Lock,
    MeshState,
    RunningProcess,
    read_state,
    remove_state,
    write_state,
)


def own() -> Identity:
    found = identify(os.getpid())
    assert found is not None
    return found


def recycled() -> Identity:
    """A process that is gone, whose number this one has now."""
    return Identity(os.getpid(), "before")


def state_of(supervisor: Identity, *processes: RunningProcess) -> MeshState:
    endpoints = {"registry": "h:1", "scheduler": "h:2", "executor": "h:3"}
    return MeshState(
        "serving",
        "one process",
        1.5,
        supervisor,
        endpoints,
        {"mesh": "h:4"},
        processes,
        backends={"postgres": "h:5"},
        targets={"scheduler": ["h:2", "h:6"]},
    )


def process_of(identity: Identity, name: str = "mesh") -> RunningProcess:
    return RunningProcess(name, "service", identity.pid, identity.start, "/logs/mesh.log")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    state = state_of(own(), process_of(own()))
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert (tmp_path / STATE_FILE).stat().st_mode & 0o777 == 0o600
    remove_state(tmp_path)
    assert read_state(tmp_path) is None
    remove_state(tmp_path)


def test_what_an_older_version_has_written_is_read(tmp_path: Path) -> None:
    write_state(tmp_path, state_of(own(), process_of(own())))
    value = json.loads((tmp_path / STATE_FILE).read_text())
    del value["backends"], value["targets"]
    del value["processes"][0]["since"], value["processes"][0]["stop_signal"]
    (tmp_path / STATE_FILE).write_text(json.dumps(value))
    found = read_state(tmp_path)
    assert found is not None
    assert found.processes == (process_of(own()),)
    assert found.backends == found.targets == {}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"version": 1}', '{"version": 2}', "\x00\xff"]
)
def test_a_file_that_cannot_be_understood_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE_FILE).write_text(text)
    assert read_state(tmp_path) is None


def test_a_state_of_another_version_counts_as_none(tmp_path: Path) -> None:
    write_state(tmp_path, state_of(own()))
    value = json.loads((tmp_path / STATE_FILE).read_text())
    (tmp_path / STATE_FILE).write_text(json.dumps({**value, "version": 99}))
    assert read_state(tmp_path) is None


def test_a_process_is_itself_and_no_other_with_its_number() -> None:
    assert own().is_running
    assert not recycled().is_running


def test_a_recycled_number_is_never_signalled() -> None:
    assert recycled().send(signal.SIGKILL) is False
    assert recycled().send(signal.SIGKILL, group=True) is False
    assert recycled().wait_gone(60) is True


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_a_number_that_nobody_has_is_nobody(pid: int) -> None:
    assert identify(pid) is None
    assert not Identity(pid, "x").is_running
    assert Identity(pid, "x").send(signal.SIGTERM) is False


def test_remains_are_only_those_processes_that_still_are_what_they_were() -> None:
    state = state_of(recycled(), process_of(own(), "left"), process_of(recycled(), "gone"))
    assert [name for name, _ in running_of(state)] == ["left"]


def test_sweeping_up_after_a_mesh_spares_processes_that_have_its_numbers(tmp_path: Path) -> None:
    said: list[str] = []
    write_state(tmp_path, state_of(recycled(), process_of(recycled())))
    sweep_remains(tmp_path, said.append)
    assert said == []
    assert read_state(tmp_path) is None


def test_only_one_holds_the_lock_of_a_folder(tmp_path: Path) -> None:
    first, second = Lock(tmp_path), Lock(tmp_path)
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()
    second.release()
    assert (tmp_path / LOCK_FILE).exists()


def test_the_mesh_of_the_data_folder_is_found_while_its_supervisor_runs(tmp_path: Path) -> None:
    write_state(tmp_path, state_of(own()))
    assert find_endpoints(None, tmp_path, {}) == Endpoints("h:1", "h:2", "h:3")
    write_state(tmp_path, state_of(recycled()))
    assert find_endpoints(None, tmp_path, {}) == Endpoints.at("127.0.0.1:7171")


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(
    tmp_path: Path,
) -> None:
    write_state(tmp_path, state_of(own()))
    named = {"MUSTER_ADDRESS": "a:1", "MUSTER_SCHEDULER": "s:1"}
    assert find_endpoints(None, tmp_path, named) == Endpoints("a:1", "s:1", "a:1")
    only_one = find_endpoints(None, tmp_path, {"MUSTER_EXECUTOR": "e:1"})
    assert only_one == Endpoints("h:1", "h:2", "e:1")
    assert find_endpoints("c:1", tmp_path, named) == Endpoints.at("c:1")
