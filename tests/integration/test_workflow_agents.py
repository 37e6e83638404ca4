"""The agents of the workflow templates on a real mesh: worker processes, blobs and events."""

import asyncio
from pathlib import Path
from typing import Any

from muster.agent import Agent, Ask, Event, connect
from muster.workflows.analysis import agents as analysing
from muster.workflows.content import agents as content
from muster.workflows.monitoring import agents as watching
from tests.support.meshes import Mesh
from tests.support.processes import until
from tests.unit.workflows.running import broken_links


async def test_articles_are_written_by_agents_on_a_mesh(mesh: Mesh, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    kinds = (content.planner, content.writer, content.reviewer, content.editor, content.publisher)
    async with mesh.host(*kinds), connect() as client:

        async def step(name: str, **given: Any) -> Any:
            return await client.call(f"content.{name}", given, timeout=60)

        async def article(item: Any) -> Any:
            draft = await step("draft", item=item)
            verdict = await step("review", item=item, draft=draft)
            for _ in range(2):
                if verdict["accepted"]:
                    break
                remarks = verdict["remarks"]
                draft = await step("draft", item=item, previous=draft, remarks=remarks)
                verdict = await step("review", item=item, draft=draft)
            if not verdict["accepted"]:
                return None
            edited = await step("edit", item=item, draft=draft, verdict=verdict)
            return await step("publish", item=item, article=edited, out_dir=out)

        items = (await step("plan", count=6))["items"]
        published = [each for each in await asyncio.gather(*map(article, items)) if each]
        index = await step("index", items=items, published=published, out_dir=out)
    assert index["published"] >= 3
    assert broken_links(tmp_path / "out") == []


async def test_a_table_and_its_charts_travel_as_blobs(mesh: Mesh, tmp_path: Path) -> None:
    kinds = (
        analysing.loader,
        analysing.cleaner,
        analysing.profiler,
        analysing.statistician,
        analysing.reporter,
    )
    async with mesh.host(*kinds), connect() as client:
        table = await client.call("analysis.load", {}, timeout=60)
        cleaned = await client.call("analysis.clean", {"table": table}, timeout=60)
        columns = [each for each in cleaned["columns"] if each["name"] in ("Sex", "Body Mass (g)")]
        asks = [
            Ask("analysis.profile", {"table": cleaned, "column": column}, timeout=60)
            for column in columns
        ]
        profiles = await client.gather(asks)
        statistics = await client.call(
            "analysis.statistics", {"table": cleaned, "shuffles": 19}, timeout=60
        )
        given = {
            "table": cleaned,
            "profiles": profiles,
            "statistics": statistics,
            "out_dir": str(tmp_path),
        }
        report = await client.call("analysis.report", given, timeout=60)
    assert [profile["chart"]["svg"]["media_type"] for profile in profiles] == ["image/svg+xml"] * 2
    assert report["findings"]
    assert broken_links(tmp_path) == []


async def test_whoever_listens_hears_an_alert(mesh: Mesh, tmp_path: Path) -> None:
    heard: asyncio.Queue[Event] = asyncio.Queue()
    listener = Agent("listener", kind="test")

    @listener.on("monitoring.alert")
    async def hear(event: Event) -> None:
        heard.put_nowait(event)

    kinds = (watching.planner, watching.prober, watching.analyst, watching.alerter)
    async with mesh.host(*kinds, listener), connect() as client:
        address = mesh.scheduler.split(",")[0]
        found: dict[str, Any] = {}

        async def are_listed() -> bool:
            given = {"grpc": [address], "http": [address]}
            told = await client.call("monitoring.targets", given, timeout=30)
            found.update({target["url"]: target for target in told["targets"]})
            return "agents://monitoring-prober" in found

        await until(are_listed, 10, "the registry knows of the agents")
        wanted = [found[f"grpc://{address}/live"], found["agents://monitoring-prober"]]
        for run in ("one", "two"):
            probes = await client.gather(
                [Ask("monitoring.probe", {"target": target}, timeout=30) for target in wanted]
            )
            assert [probe["up"] for probe in probes] == [True] * len(wanted)
            look = {"run": run, "probes": probes, "out_dir": str(tmp_path)}
            seen = await client.call("monitoring.compare", look, timeout=30)
            wanted = wanted[:1]
        assert [change["kind"] for change in seen["changes"]] == ["GONE"]
        await client.call(
            "monitoring.alert", {"run": "two", "changes": seen["changes"]}, timeout=30
        )
        async with asyncio.timeout(20):
            event = await heard.get()
    assert event.data["kind"] == "GONE"
    assert event.type == "monitoring.alert.gone"
