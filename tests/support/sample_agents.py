"""Agents whose sync capabilities a worker process can find."""

import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from muster.agent import Agent, Blob, Call, ChildFailed, Context, Failed, SyncContext

sample = Agent("sample", kind="test", max_in_flight=100)


@dataclass
class Point:
    x: int
    y: int = 0


@sample.capability("demo.echo")
async def echo(text: str, times: int = 1) -> str:
    """Says it again.

    And this is not part of the description.
    """
    return text * times


@sample.capability("demo.mirror")
async def mirror(point: Point) -> Point:
    return Point(point.y, point.x)


@sample.capability("demo.process")
def process_id() -> int:
    return os.getpid()


@sample.capability("demo.repeat_in_worker")
def repeat_in_worker(text: str, times: int) -> str:
    return text * times


@sample.capability("demo.thread", threads=True)
def thread_name() -> str:
    return threading.current_thread().name


@sample.capability("demo.die")
def die() -> None:
    os._exit(7)


@sample.capability("demo.exit")
def leave() -> None:
    raise SystemExit(3)


@sample.capability("demo.fail")
async def fail(code: str, permanent: bool = False) -> None:
    raise Failed(code, "as asked", permanent=permanent, retry_after=1.5, details={"n": 1})


@sample.capability("demo.raise")
async def raise_error() -> None:
    raise LookupError("no such\nthing")


@sample.capability("demo.wrong")
async def wrong() -> int:
    return "not a number"  # type: ignore[return-value]


@sample.capability("demo.talk")
async def talk(words: list[str], ctx: Context) -> int:
    ctx.log("begins", "debug")
    for number, word in enumerate(words):
        await ctx.output(word)
        ctx.progress((number + 1) / len(words), word)
    ctx.use(input_tokens=3, model="small")
    ctx.use(output_tokens=4)
    return len(words)


@sample.capability("demo.talk_in_worker")
def talk_in_worker(words: list[str], ctx: SyncContext) -> int:
    ctx.log("begins", "warning")
    for word in words:
        ctx.output(word)
        ctx.progress(0.5, word)
    ctx.use(cost_micros=5)
    return len(words)


@sample.capability("demo.count")
async def count(upto: int) -> AsyncIterator[int]:
    for number in range(upto):
        yield number


@sample.capability("demo.count_in_worker")
def count_in_worker(upto: int) -> Iterator[int]:
    yield from range(upto)


def note_process(path: str) -> None:
    """Says in a file which process this is; the file is there at once with all that it says."""
    with open(f"{path}.part", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{path}.part", path)


@sample.capability("demo.spin")
def spin(path: str, ctx: SyncContext) -> str:
    note_process(path)
    while not ctx.cancelled:
        time.sleep(0.01)
    return "noticed"


@sample.capability("demo.stubborn")
def stubborn(path: str) -> None:
    note_process(path)
    while True:
        time.sleep(0.01)


@sample.capability("demo.descend")
async def descend(levels: int, ctx: Context) -> int:
    if levels == 0:
        return 0
    below: int = await ctx.call("demo.descend", {"levels": levels - 1}, key="below")
    return below + 1


@sample.capability("demo.descend_in_worker")
def descend_in_worker(levels: int, ctx: SyncContext) -> int:
    if levels == 0:
        return 0
    below: int = ctx.call("demo.descend_in_worker", {"levels": levels - 1})
    return below + 1


@sample.capability("demo.descend_in_thread", threads=True)
def descend_in_thread(levels: int, ctx: SyncContext) -> int:
    if levels == 0:
        return 0
    below: int = ctx.call("demo.descend_in_thread", {"levels": levels - 1})
    return below + 1


@sample.capability("demo.fan_out")
async def fan_out(texts: list[str], ctx: Context) -> list[str]:
    return list(await ctx.gather([Call("demo.echo", {"text": text}) for text in texts]))


@sample.capability("demo.fan_out_in_worker")
def fan_out_in_worker(texts: list[str], ctx: SyncContext) -> list[str]:
    return list(ctx.gather([Call("demo.echo", {"text": text}) for text in texts]))


@sample.capability("demo.rescue")
def rescue(ctx: SyncContext) -> str:
    try:
        ctx.call("demo.fail", {"code": "BROKEN"}, key="it")
    except ChildFailed as failed:
        return f"{failed.code} {failed.key} {failed.details}"
    return "no failure"


@sample.capability("demo.pass_on")
async def pass_on(ctx: Context) -> None:
    await ctx.call("demo.fail", {"code": "BROKEN"}, key="it")


@sample.capability("demo.keep")
def keep(text: str, ctx: SyncContext) -> Blob:
    blob = ctx.blobs.put(text.encode(), "text/plain")
    assert ctx.blobs.get(blob, 1, 2) == text.encode()[1:3]
    return blob
