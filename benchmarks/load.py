"""Loads: closed loops of a client, and what they cost each process."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc

from benchmarks.figures import percentile
from benchmarks.processes import cpu_of_tree, cpu_seconds
from benchmarks.raw_echo import METHOD
from muster.agent import Client

PAYLOAD_BYTES = 200
TEXT = "x" * PAYLOAD_BYTES
RAW_IN_FLIGHT = 256
WARM_UP_SHARE = 0.25  # of the time of a measurement, spent on the same load before it

PLURALS = {
    "host": "hosts",
    "scheduler": "schedulers",
    "registry": "registries",
    "executor": "executors",
}

Ask = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Load:
    """What a closed loop did. Seconds are those of single answers."""

    per_second: float
    seconds: list[float]

    def percentile_ms(self, share: float) -> float:
        """Of the time that an answer took."""
        return percentile(self.seconds, share) * 1000


async def closed_loop(ask: Ask, in_flight: int, seconds: float) -> Load:
    """Asks again as soon as an answer is there, with so many questions in flight."""
    times: list[float] = []
    began = time.perf_counter()
    ends_at = began + seconds

    async def loop() -> None:
        while (asked := time.perf_counter()) < ends_at:
            await ask()
            times.append(time.perf_counter() - asked)

    await asyncio.gather(*(loop() for _ in range(in_flight)))
    return Load(len(times) / (time.perf_counter() - began), times)


async def warmed_loop(ask: Ask, in_flight: int, seconds: float) -> Load:
    """`closed_loop` after a shorter one that does not count."""
    await closed_loop(ask, in_flight, seconds * WARM_UP_SHARE)
    return await closed_loop(ask, in_flight, seconds)


def echo(client: Client) -> Ask:
    """A contract with the workload's payload."""
    return lambda: client.call("bench.echo", {"text": TEXT})


def in_turn(asks: Sequence[Ask]) -> Ask:
    """Asks one after the other, each when its turn comes."""
    turns = itertools.cycle(asks)

    def ask() -> Awaitable[object]:
        return next(turns)()

    return ask


def echo_with_random_id(client: Client) -> Ask:
    """The same with an id that is not ordered in time."""
    return lambda: client.call("bench.echo", {"text": TEXT}, request_id=str(uuid.uuid4()))


class Costs:
    """CPU time of processes and of this one, from when it is made."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """What counts by which name, with its children; "host 1" and "host 2" count together, as
        "hosts"."""
        self._pids = pids
        self._before = self._used()

    def _used(self) -> dict[str, float]:
        used = {"client": cpu_seconds(os.getpid())}
        for name, pid in self._pids.items():
            kind = name.rstrip("0123456789")
            kind = name if kind == name else PLURALS[kind.rstrip(" -")]
            used[kind] = used.get(kind, 0.0) + cpu_of_tree(pid)
        return used

    def microseconds(self, done: int) -> dict[str, float]:
        """CPU time since then for each of `done` things."""
        return {
            kind: (now - self._before[kind]) / max(1, done) * 1e6
            for kind, now in self._used().items()
        }


async def raw_echoes(port: int, seconds: float) -> Load:
    """Unary calls on plain grpc.aio, to a server that listens at `port`."""
    payload = b"x" * PAYLOAD_BYTES
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        await call(payload, wait_for_ready=True)

        async def ask() -> None:
            await call(payload)

        return await warmed_loop(ask, RAW_IN_FLIGHT, seconds)
