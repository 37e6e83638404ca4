"""Agents that ask a person, in every way in which code can."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any

from muster.agent import Agent, Context, SyncContext

asker = Agent("asker", kind="test", max_in_flight=10)
runs: list[tuple[str, int]] = []  # (contract, attempt) of every time that async code began


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@asker.capability("ask.colour")
async def colour(ctx: Context, deadline: float | None = None, default: str | None = None) -> str:
    runs.append((ctx.contract_id, ctx.attempt))
    options: dict[str, Any] = {}
    if deadline is not None:
        options["deadline"] = deadline
    if default is not None:
        options["default"] = default
    answer: str = await ctx.ask("Which colour?", choices=["red", "blue"], **options)
    return f"painted {answer}"


@asker.capability("ask.several")
async def several(ctx: Context) -> list[str]:
    name = await ctx.ask("Whose?", id="name")
    count = await ctx.ask("How many?", type=int)
    size = await ctx.ask("Which size?", type=Size)
    again = await ctx.ask("Whose?")
    return [name, str(count + 1), size.name, again]


@asker.capability("ask.in_a_group")
async def in_a_group(ctx: Context) -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ctx.ask("Well?", id=each)) for each in ("a", "b")]
    return [task.result() for task in tasks]


@asker.capability("ask.in_worker")
def in_worker(ctx: SyncContext, number: int) -> int:
    return number + int(ctx.ask("How much more?", type=int))


@asker.capability("ask.in_thread", threads=True)
def in_thread(ctx: SyncContext, number: int) -> int:
    return number + int(ctx.ask("How much more?", type=int))
