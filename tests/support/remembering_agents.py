"""Agents that look back, in every way in which code can: async, in threads, in worker processes."""

from __future__ import annotations

from typing import Any

from muster.agent import Agent, Context, Event, Failed, SyncContext

writer = Agent("writer", kind="writing", max_in_flight=20)
keeper = Agent("keeper", kind="test", max_in_flight=20)


@writer.capability("text.write")
async def write(topic: str, ctx: Context, delegate: bool = False) -> dict[str, str]:
    if topic == "nothing":
        raise Failed("NO_TOPIC", "there is nothing to write about", permanent=True)
    ctx.use(input_tokens=100, output_tokens=10, model="scribe")
    if delegate:
        await ctx.call("text.check", {"topic": topic})
    return {"text": f"All about {topic}. The café is open.", "verdict": "accepted"}


@writer.capability("text.check")
async def check(topic: str) -> str:
    return f"{topic} is fine"


@writer.capability("text.broken_summary")
async def broken(
    conversation_id: str, number: int, bytes_max: int, text: str, contracts: list[Any]
) -> int:
    return 5


@writer.capability("text.summary")
async def summary(
    conversation_id: str, number: int, bytes_max: int, text: str, contracts: list[Any]
) -> dict[str, str]:
    return {"text": f"{conversation_id} in short: {len(contracts)} contracts"}


@keeper.capability("past.look")
async def look(ctx: Context, words: str = "") -> dict[str, Any]:
    blocks = await ctx.memory.search(words) if words else await ctx.memory()
    contracts = await ctx.conversation()
    return {
        "memory": [[each.number, each.contracts, each.text] for each in blocks],
        "contracts": [[each.capability, each.state, each.asked] for each in contracts],
    }


def _look(ctx: SyncContext, words: str = "") -> dict[str, Any]:
    blocks = ctx.memory.search(words) if words else ctx.memory()
    contracts = ctx.conversation()
    return {
        "memory": [[each.number, each.contracts, each.text] for each in blocks],
        "contracts": [[each.capability, each.state, each.asked] for each in contracts],
    }


@keeper.capability("past.look_in_worker")
def look_in_worker(ctx: SyncContext, words: str = "") -> dict[str, Any]:
    return _look(ctx, words)


@keeper.capability("past.look_in_thread", threads=True)
def look_in_thread(ctx: SyncContext, words: str = "") -> dict[str, Any]:
    return _look(ctx, words)


@keeper.capability("state.count")
async def count(ctx: Context) -> int:
    async with ctx.state.update("counts", {"seen": 0}) as counts:
        counts["seen"] += 1
    return int(counts["seen"])


def _count(ctx: SyncContext) -> int:
    with ctx.state.update("counts", {"seen": 0}) as counts:
        counts["seen"] += 1
    return int(counts["seen"])


@keeper.capability("state.count_in_worker")
def count_in_worker(ctx: SyncContext) -> int:
    return _count(ctx)


@keeper.capability("state.count_in_thread", threads=True)
def count_in_thread(ctx: SyncContext) -> int:
    return _count(ctx)


@keeper.capability("state.walk")
async def walk(ctx: Context) -> list[Any]:
    before = await ctx.state.get("walk", "none")
    first = await ctx.state.put("walk", {"step": 1}, expected_revision=0)
    second = await ctx.state.put("walk", b"bytes", expected_revision=first)
    kept = await ctx.state.read("walk")
    assert kept is not None
    names = await ctx.state.names("wa")
    deleted = [await ctx.state.delete("walk"), await ctx.state.delete("walk")]
    return [before, second > first, kept.revision == second, kept.value == b"bytes", names, deleted]


@keeper.on("counted.>")
async def counted(event: Event, ctx: Context) -> None:
    async with ctx.state.update("events", []) as seen:
        seen.append(event.data)


if __name__ == "__main__":
    keeper.run()
