"""Agents without code as people use them: checked, run, in a fleet, with workflows and requests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muster.agent import Agent, Context, ContractFailed, Workflow, connect
from muster.hosting.loading import agents_of_job, load_agents
from muster.model.fleet import spread
from muster.runtime.fleet import FleetError, load_fleet
from tests.sources import ROOT
from tests.support.meshes import Mesh, all_in_one
from tests.support.mode_hosts import EXAMPLES, hosts, offered, shop
from tests.support.processes import until


@pytest.fixture
async def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    async with all_in_one(tmp_path / "mesh") as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


def written(folder: Path, text: str, name: str = "agent.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


async def muster(*words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "muster.cli", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_check_tells_what_files_define_and_every_mistake(tmp_path: Path) -> None:
    wrong = written(
        tmp_path, "name: a\ncapabilities:\n- {name: a.b, template: '${inptu}'}\nkid: x\n"
    )
    code, out, err = await muster("agent", "check", str(EXAMPLES / "scheduled.yaml"), str(wrong))
    assert code == 2
    assert out.endswith("scheduled.yaml: agent bookkeeper: till.summary, on time as till.summary\n")
    assert f"{wrong}:4: kid: there is no such key; did you mean kind?" in err
    written(tmp_path, "name: a\ncapabilities:\n- {name: a.b, template: '${inptu}'}\n")
    code, out, err = await muster("agent", "check", str(wrong))
    assert (code, out) == (2, "")
    assert err == (
        f"muster: {wrong}:3: capabilities[0].template: there is no variable inptu here; did you "
        "mean input?\n"
    )
    assert (await muster("agent", "check", *map(str, EXAMPLES.iterdir()), ".nothing"))[0] == 2


async def test_run_refuses_what_is_wrong_and_two_agents_of_one_name(tmp_path: Path) -> None:
    code, _, err = await muster("agent", "run", str(written(tmp_path, "name: a")))
    assert code == 2
    assert "it offers nothing and hears nothing" in err
    till = EXAMPLES / "continuous.yaml"
    code, _, err = await muster("agent", "run", str(till), str(EXAMPLES / "continuous.py"))
    assert code == 2
    assert "several agents are called till: give each a name of its own" in err


async def test_a_workflow_does_it_and_its_run_is_found_again(mesh: Mesh, tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """\
name: runner
capabilities:
  - name: run.doubled
    workflow: {name: doubled, input: {n: "${input.n}"}, output: {twice: "${result.twice}"}}
  - name: run.double
    template: "${input.n * 2}"
""",
    )
    (runner,) = load_agents(file)
    workflow = Workflow("doubled")
    double = workflow.step("double", "run.double", input={"n": workflow.input.n})
    workflow.output = {"twice": double.output}
    # With one slot: while it waits for the run, whose step it does itself, the slot is free.
    async with mesh.host(runner), connect() as client:
        await client.workflows.register(workflow)
        handle = await client.submit("run.doubled", {"n": 21}, timeout=30)
        assert await handle.result() == {"twice": 42}
        runs = [run async for run in client.workflows.runs(workflow="doubled")]
        assert [run.start_id for run in runs] == [f"contract.{await handle.accepted()}"]
        with pytest.raises(ContractFailed, match="WORKFLOW_FAILED"):
            await client.call("run.doubled", {"n": "x"}, timeout=30)


async def test_a_run_is_cancelled_with_the_contract_that_waits_for_it(
    mesh: Mesh, tmp_path: Path
) -> None:
    file = written(
        tmp_path, "name: runner\ncapabilities: [{name: run.long, workflow: {name: long}}]\n"
    )
    (runner,) = load_agents(file)
    workflow = Workflow("long")
    workflow.wait("night", 3600)
    async with mesh.host(runner), connect() as client:
        await client.workflows.register(workflow)
        handle = await client.submit("run.long", {})
        number = await handle.accepted()

        async def in_state(state: str) -> bool:
            return bool([run async for run in client.workflows.runs(states=[state])])

        await until(lambda: in_state("RUNNING"), 10, "the run is there")
        await client.cancel(number)
        await until(lambda: in_state("CANCELLED"), 10, "the run is cancelled")


async def test_an_event_submits_a_contract_and_an_idle_agent_says_that_it_sleeps(
    mesh: Mesh, tmp_path: Path
) -> None:
    file = written(
        tmp_path,
        """\
name: clerk
mode: continuous
subscriptions:
  - topic: orders.placed
    when: event.data.item != "nothing"
    call: {capability: parcel.pack, input: {item: "${event.data.item}"}, timeout: 1m}
    note: "${event.data.item} is to be packed"
limits: {idle_timeout: 300ms}
""",
    )
    packed: list[str] = []
    packer = Agent("packer")

    @packer.capability("parcel.pack")
    async def pack(ctx: Context, item: str) -> None:
        packed.append(item)

    async with (
        hosts(tmp_path, mesh) as started,
        mesh.host(shop, packer, name="shop"),
        connect() as client,
    ):
        process = await started.run(file)
        await until(lambda: "is connected" in process.said, 30, "the clerk is there")
        items = ["tea", "nothing", "jam"]
        await client.call("orders.place_many", {"items": items}, timeout=30)
        await until(lambda: packed == ["tea", "jam"], 20, "both are packed, in order")
        await until(lambda: "clerk has heard nothing for 0.3 s" in process.said, 20, "it sleeps")
        contracts = [each async for each in client.list(capabilities=["parcel.pack"])]
        assert all(each.request.request_id.startswith("clerk.") for each in contracts)


def test_a_fleet_may_have_agents_without_code(tmp_path: Path) -> None:
    for name in ("parts.yaml", "continuous.yaml"):
        written(tmp_path, (EXAMPLES / name).read_text(), name)
    text = """\
kinds:
  writer: {count: 3, capabilities: parts.yaml, max_in_flight: 2, labels: {tier: gold}}
  till: {count: 2, capabilities: [continuous.yaml]}
hosts: 1
"""
    (job,) = spread(load_fleet(written(tmp_path, text, "fleet.yaml")))
    agents = {agent.name: agent for agent in agents_of_job(job)}
    assert list(agents) == ["writer-1", "writer-2", "writer-3", "till-1", "till-2"]
    writer, till = agents["writer-2"], agents["till-1"]
    assert (writer.max_in_flight, writer.labels) == (2, {"tier": "gold"})
    assert ("letter.join", "1.0.0") in writer.capabilities
    assert list(till.handlers) == ["topic.orders.placed"]
    with pytest.raises(FleetError, match=r"there is no file gone\.yaml beside the fleet file"):
        load_fleet(written(tmp_path, "kinds: {a: {capabilities: gone.yaml}}", "bad.yaml"))
    with pytest.raises(FleetError, match="a YAML file is one agent: leave out :x"):
        load_fleet(written(tmp_path, "kinds: {a: {capabilities: agent.yml:x}}", "bad.yaml"))


async def test_who_has_not_what_yaml_takes_is_told_how_to_get_it(tmp_path: Path) -> None:
    file = written(tmp_path, "name: a")
    without = "import sys; sys.modules['yaml'] = None; from pathlib import Path;"
    code = f"{without} from muster.hosting.loading import load_agents as l; l(Path({str(file)!r}))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert err.decode().splitlines()[-1] == (
        f"muster.hosting.loading.LoadError: {file} is YAML, and yaml, which reads it, is not "
        "installed: pip install 'muster-mesh[yaml]'"
    )


async def test_a_fleet_of_till_and_shop_counts(mesh: Mesh, tmp_path: Path) -> None:
    """Agents of a fleet have states of their own: each hears every order."""
    written(tmp_path, (EXAMPLES / "continuous.yaml").read_text(), "continuous.yaml")
    text = "kinds: {till: {count: 2, capabilities: continuous.yaml}}\n"
    (job,) = spread(load_fleet(written(tmp_path, text, "fleet.yaml")))
    async with (
        mesh.host(*agents_of_job(job), name="tills"),
        mesh.host(shop, name="shop"),
        connect() as client,
    ):
        await offered(client, "till.report")
        await client.call("orders.place_many", {"items": ["tea", "jam"]}, timeout=30)

        async def both_have_counted() -> bool:
            minds = []
            for agent in ("till-1", "till-2"):
                names = [each.name async for each in client.states.list(agent)]
                minds.append(names)
            return minds == [["mind"], ["mind"]]

        await until(both_have_counted, 20, "both have a mind of their own")
