"""The agents of fleet.yaml: a sync capability, an async one, and one that delegates to both."""

import asyncio

from muster.agent import Agent, Context

counter = Agent("counter")
waiter = Agent("waiter")
boss = Agent("boss")


@counter.capability("demo.count")
def count(text: str) -> dict[str, int]:
    """Counts the words of a text; it computes, so it runs in a worker process."""
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts


@waiter.capability("demo.wait")
async def wait(ctx: Context, seconds: float = 1.0, steps: int = 10) -> float:
    """Waits, and says how far it is."""
    for step in range(steps):
        ctx.progress(step / steps, f"step {step + 1} of {steps}")
        await asyncio.sleep(seconds / steps)
    ctx.log("waited long enough")
    return seconds


@boss.capability("demo.both")
async def both(ctx: Context, text: str) -> int:
    """Lets others wait and count, both at once; how many words there are."""
    waiting = await ctx.submit("demo.wait", {"seconds": 0.2})
    counts: dict[str, int] = await ctx.call("demo.count", {"text": text})
    await waiting.result()
    return sum(counts.values())
