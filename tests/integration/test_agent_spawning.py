"""A host on uvloop starts worker processes beside live calls."""

from __future__ import annotations

import os
import subprocess
import sys

FORKED = "fork()"  # what gRPC says when somebody forks while it works

PROGRAM = """
import asyncio, os
import muster.agent
import grpc, uvloop

async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0
    await server.stop(None)

uvloop.run(main())
"""


def test_whoever_spawns_beside_live_calls_runs_no_fork_handlers() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRPC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert FORKED not in done.stderr
