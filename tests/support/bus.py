"""A plain NATS subscriber, which knows nothing of Muster, and what it has seen."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import nats.errors
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from muster.backends.ledger_base import Ledger
from muster.model.ids import format_id, parse_id
from muster.model.ledger import LifecycleEvent, events_of
from tests.support.processes import until

STREAM = "MUSTER"
DRAINED_SECONDS = 30.0  # after the bus is back


class Seen:
    """Messages in the order in which they came."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.subjects: list[str] = []
        self.by_contract: dict[str, list[dict[str, Any]]] = defaultdict(list)

    async def on_message(self, message: Msg) -> None:
        """Keep one."""
        event = json.loads(message.data)
        self.events.append(event)
        self.subjects.append(message.subject)
        if event["type"].startswith("dev.muster.v1.contract."):
            self.by_contract[event["subject"]].append(event["data"])

    @property
    def ended(self) -> int:
        """How many contracts are seen to have ended."""
        return sum(
            any(each["type"] == "EVENT_TYPE_ENDED" for each in events)
            for events in self.by_contract.values()
        )

    def sequences(self) -> dict[str, list[int]]:
        """Of each contract, as they came, without those that came again."""
        found: dict[str, list[int]] = {}
        for contract_id, events in self.by_contract.items():
            found[contract_id] = list(dict.fromkeys(each["sequence"] for each in events))
        return found


@asynccontextmanager
async def plain_subscriber(url: str, subject: str = "muster.*.contract.>") -> AsyncIterator[Seen]:
    """Core NATS, as `nats sub` does it: what comes while the block runs."""
    seen = Seen()
    client = await nats.connect(url)
    try:
        await client.subscribe(subject, cb=seen.on_message)
        await client.flush()
        yield seen
    finally:
        await client.close()


async def stored(url: str, subject: str = "muster.*.contract.>") -> Seen:
    """What the stream holds, from its beginning."""
    seen = Seen()
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        try:
            count = (await jetstream.stream_info(STREAM, subjects_filter=subject)).state.messages
        except NotFoundError:
            return seen
        if count:
            options = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
            subscription = await jetstream.subscribe(
                subject, stream=STREAM, ordered_consumer=True, config=options
            )
            while True:
                message = await subscription.next_msg(timeout=5)
                await seen.on_message(message)
                if not message.metadata.num_pending:
                    break
    finally:
        await client.close()
    return seen


async def drained(url: str, count: int, seconds: float = DRAINED_SECONDS) -> Seen:
    """What the stream holds, once so many contracts have ended in it."""
    client = await nats.connect(url, allow_reconnect=True, max_reconnect_attempts=-1)

    async def enough() -> bool:
        try:
            filtered = "muster.*.contract.ended.>"
            info = await client.jetstream().stream_info(STREAM, subjects_filter=filtered)
        except (nats.errors.Error, NotFoundError):
            return False
        return sum((info.state.subjects or {}).values()) >= count

    try:
        await until(enough, seconds, f"{count} contracts have ended on the bus")
    finally:
        await client.close()
    return await stored(url)


def data_of(event: LifecycleEvent) -> dict[str, Any]:
    """What of a lifecycle event must be the same on the bus."""
    return {
        "contractId": format_id(event.contract_id),
        "sequence": event.sequence,
        "type": f"EVENT_TYPE_{event.type.name}",
        "state": f"CONTRACT_STATE_{event.state.name}",
        "capability": event.capability,
        "epoch": str(event.epoch) if event.epoch else None,
        "agent": event.agent or None,
        "code": event.code or None,
    }


async def differences(seen: Seen, ledger: Ledger, contract_ids: list[str]) -> list[str]:
    """Where what was seen is not exactly, in order and without a gap, what the ledger has."""
    wrong: list[str] = []
    for each in await ledger.load([parse_id(name) for name in contract_ids]):
        name = format_id(each.id)
        meant = [data_of(event) for event in events_of(each)]
        keys = meant[0].keys()
        first: dict[int, dict[str, Any]] = {}
        for data in seen.by_contract.get(name, []):
            got = {key: data.get(key) for key in keys}
            if first.setdefault(data["sequence"], got) != got:
                wrong.append(f"{name}: {data['sequence']} was told in two ways")
        if list(first.values()) != meant:
            wrong.append(f"{name}: {[*first]} of {len(meant)}")
    return wrong
