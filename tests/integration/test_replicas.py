"""Several of every service share one ledger: any of them answers any call."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muster.agent import Ask, connect
from muster.model.ids import parse_id, shard_of_id
from muster.v1.response_pb2 import ContractState
from tests.support.replicas import Replicas, replicas
from tests.support.sample_agents import sample


@pytest.fixture
async def both(tmp_path: Path, postgres_url: str) -> AsyncIterator[Replicas]:
    """Two of each service."""
    async with replicas(tmp_path, postgres_url) as made:
        yield made


async def test_any_scheduler_takes_and_answers_what_belongs_to_either(both: Replicas) -> None:
    first, second = both.mesh(0), both.mesh(1)
    async with (
        first.host(sample),
        connect(first.scheduler) as one,
        connect(second.scheduler) as other,
    ):
        for client in (one, other):
            asks = [Ask("demo.echo", {"text": str(number)}) for number in range(200)]
            assert await client.gather(asks) == [str(number) for number in range(200)]
        listed = [contract async for contract in one.list()]
        assert len(listed) == 400
        by_half = Counter(shard_of_id(parse_id(each.id)) for each in listed)
        assert len(by_half) > 32
        for each in listed[:20]:
            for client in (one, other):
                contract = await client.get(each.id)
                assert contract.state == ContractState.CONTRACT_STATE_SUCCEEDED
                response = await client.wait(each.id)
                assert response is not None
                assert response.contract_id == each.id
        counts = await one.statistics()
        assert counts.accepted == counts.ended == 400
