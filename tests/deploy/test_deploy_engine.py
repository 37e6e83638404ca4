"""Workers of the engine as compose.yaml, the pods and the units start them, on a real Temporal.

What stands in for Docker, Kubernetes and systemd is in `tests.support.loopback`. Temporal speaks no
TLS here and asks for no key, and workers read theirs all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from muster.servers.server import ServerProcess
from muster.v1.workflow_pb2 import Step, Wait
from muster.v1.workflow_run_pb2 import ENGINE_KIND_TEMPORAL, RUN_STATE_SUCCEEDED
from muster.wire.security import find_security
from muster.wire.times import duration_of_seconds
from tests.support.deploying import (
    SECRETS,
    TEMPORAL,
    base,
    compose,
    compose_processes,
    engine,
    environment_file,
    image_environment,
    pods,
    unit_environment,
)
from tests.support.loopback import (
    SECONDS,
    Loopback,
    command_of,
    in_order,
    issue,
    secret,
    start_pod,
    wrapper,
)
from tests.support.workflows import flows

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("processes")]

AT = {"scheduler": 7173, "engine": 7175}


async def run_ends(scheduler: str, told: Mapping[str, str]) -> None:
    """Has a run go to its end on Temporal, which needs a scheduler, workers and no agent."""
    async with flows(scheduler, ENGINE_KIND_TEMPORAL, find_security(told)) as flow:
        rest = Step(name="rest", wait=Wait(duration=duration_of_seconds(0.01)))
        await flow.register("resting", rest)
        run = await flow.end(await flow.start("resting"), SECONDS)
        assert (run.state, run.engine) == (RUN_STATE_SUCCEEDED, ENGINE_KIND_TEMPORAL)


async def test_the_workers_of_compose_run_workflows(
    loopback: Loopback,
    postgres_url: str,
    nats_server: ServerProcess,
    consul_process: ServerProcess,
    temporal_server: ServerProcess,
) -> None:
    folder, services = loopback.folder, compose(**TEMPORAL)["services"]
    loopback.places |= {
        "/etc/muster/tls": str(folder / "tls"),
        "/run/secrets/ledger": str(secret(folder, "ledger", postgres_url)),
        "nats://nats:4222": nats_server.server.url,
        "consul://consul:8500": consul_process.server.url,
        TEMPORAL["MUSTER_TEMPORAL"]: temporal_server.server.address,
    }
    at = {f"{kind}-{n}": port for kind, port in AT.items() for n in (1, 2)}
    loopback.place(*(f"{name}:{port}" for name, port in at.items()))
    processes = compose_processes(**TEMPORAL)
    order = [name for name in in_order(services) if name in at or name == "certs"]
    for name in order:
        words, told = processes[name]["command"], processes[name].get("environment", {})
        if name == "certs":
            await loopback.run(name, words, {**image_environment(), **told})
        else:
            target = f"{name}:{at[name]}"
            await loopback.start(name, words, {**image_environment(), **told}, target)
            await loopback.healthy(name)
    cli = {key: loopback.here(each) for key, each in services["cli"]["environment"].items()}
    await run_ends(loopback.places["scheduler-1:7173"], cli)
    await loopback.drain(*reversed(order[1:]))


async def test_the_pods_of_workers_serve(
    loopback: Loopback,
    postgres_url: str,
    nats_server: ServerProcess,
    temporal_server: ServerProcess,
) -> None:
    folder = loopback.folder
    await asyncio.to_thread(issue, folder)
    secret(folder, "ledger", postgres_url)
    secret(folder, "bus", nats_server.server.url)
    secret(folder, "api-key", TEMPORAL["MUSTER_TEMPORAL_API_KEY"])
    peer = "muster-scheduler-{}.muster-scheduler-peers.muster.svc:7173"
    # The other schedulers that workers are told of are not there.
    loopback.place(*map(peer.format, range(4)), "of the worker")
    loopback.places |= {
        "/etc/muster/backends": str(folder),
        "/etc/muster/temporal": str(folder),
        SECRETS["muster-temporal"]["temporal"]: temporal_server.server.address,
    }
    scheduler, worker = pods(base())["muster-scheduler"], pods(engine())["muster-engine"]
    await start_pod(loopback, "scheduler", scheduler, peer.format(0))
    await start_pod(loopback, "engine", worker, "of the worker")
    await loopback.healthy("scheduler", "engine")
    await loopback.drain("engine", "scheduler")


async def test_the_units_of_workers_run_workflows(
    loopback: Loopback,
    postgres_url: str,
    nats_server: ServerProcess,
    temporal_server: ServerProcess,
) -> None:
    folder = loopback.folder
    tls = folder / "tls"
    await loopback.run("certs", ["certs", str(tls), "--service=service", "--client=you"], {})
    told = environment_file("engine.env")
    key = secret(folder, "api-key", TEMPORAL["MUSTER_TEMPORAL_API_KEY"])
    loopback.places |= {
        "/run/credentials/ledger": str(secret(folder, "ledger", postgres_url)),
        "/run/credentials/temporal-api-key": str(key),
        "nats://nats.example.com:4222": nats_server.server.url,
        "/etc/muster/tls/service": str(tls / "service.service"),
        "/etc/muster/tls/ca.pem": str(tls / "ca.pem"),
        told["MUSTER_TEMPORAL"]: temporal_server.server.address,
        ",mesh-2.example.com:7173": "",
    }
    for kind, port in AT.items():
        name, unit = f"mesh-1.example.com:{port}", f"muster-{kind}.service"
        loopback.place(name)
        # As scheduler.env has it in a comment.
        own = {**unit_environment(unit), "MUSTER_TEMPORAL": told["MUSTER_TEMPORAL"]}
        await loopback.start(kind, command_of(unit), own, name, wrapper(unit))
    await loopback.healthy(*AT)
    client = {
        "MUSTER_TLS_CA": str(tls / "ca.pem"),
        "MUSTER_TLS_CERT": str(tls / "client.default.you.pem"),
        "MUSTER_TLS_KEY": str(tls / "client.default.you.key"),
    }
    await run_ends(loopback.places["mesh-1.example.com:7173"], client)
    await loopback.drain("engine", "scheduler")
