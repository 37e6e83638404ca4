"""Agents that hear events and publish them, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from muster.agent import Agent, Context, Event, SyncContext
from tests.support.processes import until


@dataclass
class Heard:
    """What an agent was told, in order."""

    events: list[Event] = field(default_factory=list)

    @property
    def data(self) -> list[object]:
        return [each.data for each in self.events]

    async def wait_for(self, count: int) -> None:
        """Returns when there are so many."""

        async def is_there() -> bool:
            return len(self.events) >= count

        await until(is_there, 10, f"{count} events are heard")


def listener(
    name: str, topic: str = "orders.>", *, kind: str = "", competing: bool = False, **options: float
) -> tuple[Agent, Heard]:
    agent, heard = Agent(name, kind=kind), Heard()

    @agent.on(topic, competing=competing, **options)  # type: ignore[arg-type]
    async def hear(event: Event) -> None:
        heard.events.append(event)

    return agent, heard


publisher = Agent("publisher")


@publisher.capability("test.publish")
async def publish(ctx: Context, topic: str, numbers: list[int]) -> int:
    for number in numbers:
        await ctx.publish(topic, {"n": number}, about=f"order-{number}")
    return len(numbers)


@publisher.capability("test.publish_once")
async def publish_once(ctx: Context, topic: str) -> None:
    await ctx.publish(topic, {"n": 1}, id="once")
    await ctx.publish(topic, {"n": 1}, id="once")


@publisher.capability("test.publish_sync", threads=True)
def publish_sync(ctx: SyncContext, topic: str) -> None:
    ctx.publish(topic, b"\x00\x01", type="example.blob")
