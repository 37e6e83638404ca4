"""Agents whose handlers compute, or never finish; as a program, a host of the latter."""

import asyncio
import os

from muster.agent import Agent, Context, Event, SyncContext

computing = Agent("computing")
stuck = Agent("stuck", kind="workers")


@computing.on("questions")
def answer(event: Event, ctx: SyncContext) -> None:
    ctx.publish("answers.computed", {"of": event.data["n"], "in": os.getpid()})


@stuck.on("orders.>", competing=True)
async def hang(event: Event, ctx: Context) -> None:
    ctx.log(str(event.data))
    await asyncio.Event().wait()


if __name__ == "__main__":
    stuck.run()
