"""The till of continuous.yaml in Python. Run one of the two beside events.py, then:
muster call orders.place item=tea, and: muster call till.report"""

from typing import Any

from muster.agent import Agent, Context
from muster.agent.modes.continuous import Bounds, Continuous, Event, Mind, id_for

till = Agent("till", kind="accounting")
running = Continuous(
    till,
    {"orders": 0, "drinks": 0, "last": ""},
    idle_seconds=600,
    bounds=Bounds(history=20),
)


@running.on("orders.placed")
async def count(event: Event, mind: Mind, ctx: Context) -> None:
    item = event.data["item"]
    mind.state["orders"] += 1
    mind.state["drinks"] += item in ("tea", "coffee")
    mind.state["last"] = item
    mind.note(f"order {mind.state['orders']}: {item}")
    counted = {"orders": mind.state["orders"], "last": item}
    await ctx.publish("till.counted", counted, id=id_for(event))


@till.capability("till.report")
async def report(ctx: Context) -> dict[str, Any]:
    mind = await running.read(ctx)
    return {**mind.state, "lately": [each.text for each in mind.history]}


if __name__ == "__main__":
    till.run()
