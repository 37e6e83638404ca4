"""AutoGen's distributed runtime: a host process, workers with echoing agents, and this client.

Nothing is kept: messages live in memory. `python autogen_echo.py --folder … --port …` drives it.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass

import uvloop
from autogen_core import AgentId, MessageContext, RoutedAgent, rpc
from autogen_core._serialization import try_get_known_serializers_for_type
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost
from driving import PAYLOAD, answer, closed_loop, cpu_seconds, options, process, ready
from opentelemetry.trace import NoOpTracerProvider

WORKERS = 1  # a second one was slower on two cores
AGENTS = 620


@dataclass
class Echo:
    """Question and answer."""

    text: str


class Echoer(RoutedAgent):
    """Answers with what it was asked."""

    @rpc
    async def echo(self, message: Echo, ctx: MessageContext) -> Echo:
        """The whole of its work."""
        return message


async def run_host(port: int) -> None:
    """The server through which all messages go."""
    host = GrpcWorkerAgentRuntimeHost(address=f"127.0.0.1:{port}")
    host.start()
    ready()
    await host.stop_when_signal()


async def run_worker(port: int, kind: str) -> None:
    """A process with agents of a type of its own: the host knows one worker for each type."""
    runtime = await connect(port)
    await Echoer.register(runtime, kind, lambda: Echoer("echo"))
    ready()
    await runtime.stop_when_signal()


async def connect(port: int) -> GrpcWorkerAgentRuntime:
    """A runtime that speaks to the host, without tracing."""
    runtime = GrpcWorkerAgentRuntime(f"127.0.0.1:{port}", tracer_provider=NoOpTracerProvider())
    await runtime.start()
    return runtime


async def drive(port: int, seconds: float, in_flight: int, pids: list[int]) -> None:
    """Asks the agents in turn, many at a time and then one at a time."""
    runtime = await connect(port)
    runtime.add_message_serializer(try_get_known_serializers_for_type(Echo))
    ids = [AgentId(f"echo{w}", f"a{n}") for n in range(AGENTS) for w in range(WORKERS)]
    turn = itertools.cycle(ids)
    question = Echo(PAYLOAD)

    async def ask() -> None:
        await runtime.send_message(question, next(turn))

    await closed_loop(ask, in_flight, seconds / 4)
    before = cpu_seconds(*pids)
    load = await closed_loop(ask, in_flight, seconds)
    load["cpu_us"] = (cpu_seconds(*pids) - before) / load["answers"] * 1e6
    alone = await closed_loop(ask, 1, seconds / 2)
    await runtime.stop()
    load["p50_ms"] = alone["p50_ms"]
    answer(load, "autogen-core", "autogen-ext", "grpcio")


def main() -> None:
    logging.disable(logging.CRITICAL)
    if sys.argv[1] == "host":
        uvloop.run(run_host(int(sys.argv[2])))
    elif sys.argv[1] == "worker":
        uvloop.run(run_worker(int(sys.argv[2]), sys.argv[3]))
    else:
        chosen = options()
        with ExitStack() as stack:
            me = (sys.executable, __file__)
            pids = [stack.enter_context(process(*me, "host", str(chosen.port)))]
            for number in range(WORKERS):
                command = (*me, "worker", str(chosen.port), f"echo{number}")
                pids.append(stack.enter_context(process(*command)))
            uvloop.run(drive(chosen.port, chosen.seconds, chosen.in_flight, [*pids, os.getpid()]))


if __name__ == "__main__":
    main()
