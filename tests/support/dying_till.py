"""A continuous agent that dies right after an event was kept, before it is acknowledged."""

import os
import signal
from typing import Any

from muster.agent import Agent, Context
from muster.agent.modes.continuous import Continuous, Event, Mind

till = Agent("till")


class Dying(Continuous):
    """Kills its process when the last thing that it has in mind is death."""

    async def _keep(self, ctx: Context, mind: Mind, revision: int) -> int:
        kept = await super()._keep(ctx, mind, revision)
        if mind.state["orders"][-1] == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        return kept


running = Dying(till, {"orders": []})


@running.on("orders.placed")
async def count(event: Event, mind: Mind) -> None:
    mind.state["orders"].append(event.data["item"])


@till.capability("till.report")
async def report(ctx: Context) -> dict[str, Any]:
    mind = await running.read(ctx)
    return {**mind.state, "events": mind.events}
