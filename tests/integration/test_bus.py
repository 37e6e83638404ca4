"""What happens in a mesh, as a plain NATS subscriber sees it."""

from __future__ import annotations

from pathlib import Path

from muster.agent import Ask, connect
from muster.backends.sqlite.ledger import SqliteLedger
from muster.servers.server import ServerProcess
from tests.support.bus import differences, plain_subscriber, stored
from tests.support.meshes import all_in_one
from tests.support.processes import until
from tests.support.sample_agents import sample


async def test_a_plain_subscriber_sees_every_contracts_events_in_order(
    tmp_path: Path, nats_process: ServerProcess
) -> None:
    url = nats_process.server.url
    async with plain_subscriber(url) as seen:
        async with all_in_one(tmp_path, bus=url) as mesh:
            async with mesh.host(sample), connect(mesh.scheduler) as client:
                asks = [Ask("demo.echo", {"text": str(number)}) for number in range(300)]
                await client.gather(asks)
                ids = [each.id async for each in client.list()]
                await until(lambda: seen.ended == 300, 10, "all have ended on the bus")
        kept = await stored(url)
    ledger = SqliteLedger(tmp_path / "ledger.db", "test")
    await ledger.open()
    for each in (seen, kept):
        assert len(each.by_contract) == 300
        assert await differences(each, ledger, ids) == []
    await ledger.close()
