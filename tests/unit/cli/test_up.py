from pathlib import Path

import pytest

from muster.cli.exits import USAGE, Trouble
from muster.cli.up import UpOptions, already_running, plan_of
from muster.hosting.loading import LoadError, agents_of_job, copies
from muster.model.fleet import AgentGroup, HostJob, Kind
from muster.supervisor.identity import Identity
from muster.supervisor.plan import PORT_MAX
from muster.supervisor.state import MeshState


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_DIR", "GRPC_PORT", "HTTP_PORT", "HOST", "LEDGER"):
        monkeypatch.delenv(f"MUSTER_{name}", raising=False)


def test_without_options_everything_is_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_DATA_DIR", "/data")
    plan = plan_of(UpOptions())
    assert (plan.data_dir, plan.port, plan.http) == (Path("/data"), 7171, True)
    assert (plan.host, plan.separate, plan.fleet_file) == ("127.0.0.1", False, None)


def test_the_environment_is_heard_and_the_command_line_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MUSTER_GRPC_PORT", "9000")
    monkeypatch.setenv("MUSTER_HTTP_PORT", "none")
    plan = plan_of(UpOptions())
    assert (plan.port, plan.http) == (9000, False)
    assert plan_of(UpOptions(port=0)).port == 0


def test_paths_do_not_depend_on_where_the_mesh_later_runs() -> None:
    plan = plan_of(UpOptions(fleet=Path("fleet.yaml"), data_dir=Path("data")))
    assert plan.fleet_file is not None
    assert plan.fleet_file.is_absolute()
    assert plan.data_dir.is_absolute()


@pytest.mark.parametrize("port", [-1, PORT_MAX + 1, 65536])
def test_a_port_that_leaves_no_room_is_refused(port: int) -> None:
    with pytest.raises(Trouble, match="--port must be from 1 to") as raised:
        plan_of(UpOptions(port=port))
    assert raised.value.code == USAGE


def test_servers_are_named_in_one_word_and_several_of_each_service_mean_processes() -> None:
    plan = plan_of(UpOptions(backends="consul, postgres,", replicas=2))
    assert plan.backends == ("consul", "postgres")
    assert (plan.separate, plan.replicas) == (True, 2)


@pytest.mark.parametrize("options", [UpOptions(backends="redis"), UpOptions(replicas=2)])
def test_a_mesh_that_cannot_be_is_refused_before_anything_starts(options: UpOptions) -> None:
    with pytest.raises(Trouble) as raised:
        plan_of(options)
    assert raised.value.code == USAGE


def test_a_second_mesh_is_told_which_one_runs() -> None:
    endpoints = {"registry": "h:1", "scheduler": "h:1", "executor": "h:1"}
    state = MeshState("serving", "one process", 1000.0, Identity(4711, "x"), endpoints, {})
    assert already_running(state, 1000.5).endswith("at h:1 (pid 4711, started just now)")
    assert already_running(state, 1184.0).endswith("(pid 4711, started 3m 04s ago)")


AGENTS = """
from muster.agent import Agent

agent = Agent("pattern")

@agent.capability("demo.echo")
async def echo(text: str) -> str:
    return text

def offer(given):
    @given.capability("demo.double")
    async def double(x: int) -> int:
        return 2 * x

def broken(given):
    raise ValueError("no")

number = 3
"""


def job_of(folder: Path, *names: str) -> HostJob:
    (folder / "agents_for_a_job.py").write_text(AGENTS)
    sources = tuple(f"{folder / 'agents_for_a_job.py'}:{name}" for name in names)
    kind = Kind("demo", 5, sources, 2, "1.0", {"tier": "gold"})
    return HostJob("h", (AgentGroup(kind, 2, 2),), paths=(str(folder),))


def test_a_job_becomes_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    monkeypatch.delitem(__import__("sys").modules, "agents_for_a_job", raising=False)
    first, second = agents_of_job(job_of(tmp_path, "agent", "offer"))
    assert (first.name, second.name) == ("demo-2", "demo-4")
    assert (first.kind, first.version, first.max_in_flight) == ("demo", "1.0", 2)
    assert first.labels == {"tier": "gold"}
    assert {name for name, _ in first.capabilities} == {"demo.echo", "demo.double"}
    assert [agent.name for agent in copies([first], 2)] == ["demo-2-1", "demo-2-2"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "there is no such thing"),
        ("number", "it is no Agent and no function"),
        ("broken", "no$"),
    ],
)
def test_a_job_that_names_no_capabilities_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    monkeypatch.delitem(__import__("sys").modules, "agents_for_a_job", raising=False)
    with pytest.raises(LoadError, match=says):
        agents_of_job(job_of(tmp_path, name))
