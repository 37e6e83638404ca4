"""What compose.yaml, the pods and the units start, started: the same commands and environment.

What stands in for Docker, Kubernetes and systemd is in `tests.support.loopback`.
"""

from __future__ import annotations

import asyncio
import re

import pytest

from muster.servers.server import ServerProcess
from tests.sources import ROOT
from tests.support.deploying import (
    base,
    compose,
    compose_processes,
    image_environment,
    pods,
    unit_environment,
)
from tests.support.found_meshes import listed
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
from tests.support.processes import until

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("processes")]

# --- compose --------------------------------------------------------------------------------------


async def test_compose_starts_a_mesh_in_which_an_agent_answers(
    loopback: Loopback, postgres_url: str, nats_server: ServerProcess, consul_process: ServerProcess
) -> None:
    folder, services = loopback.folder, compose()["services"]
    loopback.places |= {
        "/etc/muster/tls": str(folder / "tls"),
        "/run/secrets/ledger": str(secret(folder, "ledger", postgres_url)),
        "nats://nats:4222": nats_server.server.url,
        "consul://consul:8500": consul_process.server.url,
    }
    at = {
        name: each["environment"]["MUSTER_ADVERTISE"]
        for name, each in compose_processes().items()
        if "MUSTER_ADVERTISE" in each.get("environment", {})
    }
    loopback.place(*at.values())
    for kind, port in (("scheduler", 7173), ("registry", 7172), ("executor", 7174)):
        both = [loopback.places[f"{kind}-{number}:{port}"] for number in (1, 2)]
        loopback.places[f"dns:///{kind}:{port}"] = ",".join(both)

    order = [name for name in in_order(services) if name in compose_processes()]
    order = [name for name in order if "temporal" not in services[name].get("profiles", ())]
    for name in order:
        each = services[name]
        told = {**image_environment(), **each.get("environment", {})}
        if each.get("restart") == "no":
            if "profiles" not in each:
                await loopback.run(name, each["command"], told)
            continue
        # What it depends on is healthy: each waits before the next one starts.
        await loopback.start(name, each["command"], told, at.get(name, ""))
        if name in at:
            await loopback.healthy(name)
    for kind in ("scheduler", "registry", "executor"):
        names = {name for name in at if name.startswith(kind)}

        async def pass_in_consul(kind: str = kind, names: set[str] = names) -> bool:
            # Asked in clear, at the ports for probes: Consul has no certificate here.
            found = await asyncio.to_thread(listed, consul_process.server.address, kind)
            return found == dict.fromkeys(names, "passing")

        await until(pass_in_consul, SECONDS, f"Consul lists {names} as passing")

    cli = {**image_environment(), **services["cli"]["environment"]}
    health = services["scheduler-1"]["healthcheck"]["test"]
    assert health[:2] == ["CMD", "muster"]
    assert "serving" in await loopback.run("probe", health[2:], loopback.told["scheduler-1"])
    await loopback.offered("text.shout", cli)
    said = await loopback.run("call", ["call", "text.shout", "text=hello"], cli)
    assert "HELLO!" in said
    assert re.search(r"\bscheduler +serving\b", await loopback.run("status", ["status"], cli))
    # The other way round: each finds what it needs until its end.
    await loopback.drain(*(name for name in reversed(order) if name in loopback.running))


# --- Kubernetes -----------------------------------------------------------------------------------


async def test_the_pods_are_a_mesh_in_which_an_agent_answers(
    loopback: Loopback, postgres_url: str, nats_server: ServerProcess
) -> None:
    folder = loopback.folder
    await asyncio.to_thread(issue, folder)
    secret(folder, "ledger", postgres_url)
    secret(folder, "bus", nats_server.server.url)
    loopback.places["/etc/muster/backends"] = str(folder)
    ports = {"scheduler": 7173, "registry": 7172, "executor": 7174}
    for kind, port in ports.items():
        peer = f"muster-{kind}-0.muster-{kind}-peers.muster.svc:{port}"
        loopback.place(peer)
        # One of each is enough here.
        loopback.places[f",{peer.replace('-0.', '-1.')}"] = ""
        loopback.places[f"dns:///muster-{kind}.muster.svc:{port}"] = loopback.places[peer]
        loopback.places[f"POD-IP:{port}"] = loopback.places[peer]

    for kind, port in ports.items():
        peer = f"muster-{kind}-0.muster-{kind}-peers.muster.svc:{port}"
        await start_pod(loopback, kind, pods(base())[f"muster-{kind}"], peer)
    await loopback.healthy(*ports)
    told = await start_pod(loopback, "agents", pods(base())["muster-agents"])
    await loopback.offered("text.shout", told)
    said = await loopback.run("call", ["call", "text.shout", "text=hello"], told)
    assert "HELLO!" in said
    await loopback.drain("agents", "executor", "registry", "scheduler")


# --- systemd --------------------------------------------------------------------------------------


async def test_the_units_start_a_mesh_in_which_an_agent_answers(
    loopback: Loopback, postgres_url: str, nats_server: ServerProcess
) -> None:
    folder = loopback.folder
    tls = folder / "tls"
    words = ["certs", str(tls), "--service=service", "--agent=shouter", "--client=you"]
    await loopback.run("certs", words, {})
    loopback.places |= {
        "/run/credentials/ledger": str(secret(folder, "ledger", postgres_url)),
        "nats://nats.example.com:4222": nats_server.server.url,
        "/etc/muster/tls/service": str(tls / "service.service"),
        "/etc/muster/tls/ca.pem": str(tls / "ca.pem"),
        "/etc/muster/host-tls/agent": str(tls / "agent.default.shouter"),
        "/etc/muster/host-tls/ca.pem": str(tls / "ca.pem"),
        "/etc/muster/hosts": str(ROOT / "agents" / "examples"),
        # This is the only machine.
        **{f",mesh-2.example.com:{port}": "" for port in (7172, 7173)},
    }
    at = {"scheduler": 7173, "registry": 7172, "executor": 7174}
    for port in at.values():
        name = f"mesh-1.example.com:{port}"
        loopback.place(name)
        loopback.places[f"dns:///mesh.example.com:{port}"] = loopback.places[name]
    for kind, port in at.items():
        unit = f"muster-{kind}.service"
        await loopback.start(
            kind,
            command_of(unit),
            unit_environment(unit),
            f"mesh-1.example.com:{port}",
            wrapper(unit),
        )
    await loopback.healthy(*at)
    host = "muster-host@.service"
    told = unit_environment(host, "ten_lines")
    await loopback.start("host", command_of(host, "ten_lines"), told, wrapper=wrapper(host))
    mine = "MUSTER_TLS_CERT", "MUSTER_TLS_KEY"
    client = {name: told[name].replace("agent", "client") for name in mine}
    loopback.places["/etc/muster/host-tls/client"] = str(tls / "client.default.you")
    await loopback.offered("text.shout", {**told, **client})
    call = ["call", "text.shout", "text=hello", "--timeout", "30s"]
    assert "HELLO!" in await loopback.run("call", call, {**told, **client})
    await loopback.drain("host", "executor", "registry", "scheduler")
