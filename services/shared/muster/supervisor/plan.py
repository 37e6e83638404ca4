"""What a mesh consists of: its services, together or apart, and the servers that they stand on.

Where each listens, and what each is told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from muster.backends.pool_base import PoolError
from muster.model import limits
from muster.servers.known import KINDS
from muster.servers.temporal import NAME as TEMPORAL
from muster.supervisor.finding import PORT_DEFAULT, Endpoints
from muster.supervisor.pools import SUBPROCESS, check_pool
from muster.wire.targets import SEPARATOR

# From the first port on: 7171 gRPC and 7180 HTTP for everything in one process; 7172 to 7174 and
# 7182 to 7184 for services apart, 7175 and 7185 for the engine's worker in any case, 7202 and so on
# for the second of each; 7191 to 7196 for servers.
_HTTP_OFFSET_TOGETHER = 9
_HTTP_OFFSET_APART = 10
_BACKENDS_OFFSET = 20
_REPLICA_OFFSET = 30
_SERVICES = ("registry", "scheduler", "executor")
_ENGINE, _ENGINE_NUMBER = "engine", 4  # beside the services where there is Temporal
PORT_MAX = 65535 - _REPLICA_OFFSET * limits.REPLICAS_MAX


class StartError(Exception):
    """The mesh cannot start; the message tells a person what to change."""


class Refused(StartError):
    """It cannot start like this, and another try would not help."""


class Interrupted(StartError):
    """It was told to stop before it served."""


class AlreadyRunning(StartError):
    """A mesh runs on this data folder."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    data_dir: Path
    separate: bool = False
    port: int = PORT_DEFAULT
    # The first of the ports; 0 takes any that are free.

    host: str = "127.0.0.1"
    http: bool = True
    fleet_file: Path | None = None
    backends: tuple[str, ...] = ()
    # The servers that it stands on, by their names in `KINDS`; what is not named is embedded.

    replicas: int = 1
    # How many there are of each service; several only in separate processes.

    pool: str = SUBPROCESS
    # What runs the hosts of the fleet, one of `POOLS`.

    @property
    def shape(self) -> str:
        """For people, and for `mesh.json`."""
        shape = "separate processes" if self.separate else "one process"
        return shape if self.replicas == 1 else f"{shape}, {self.replicas} of each service"


@dataclass(frozen=True, slots=True)
class Service:
    """One process that serves."""

    name: str
    role: str
    # "registry", "scheduler", "executor", or "mesh" for all of them; "engine" for a worker of
    # Temporal. Replicas share it.

    module: str
    host: str
    grpc_port: int
    http_port: int | None

    @property
    def address(self) -> str:
        """Where its gRPC is."""
        return join(self.host, self.grpc_port)

    @property
    def http_address(self) -> str | None:
        """Where its HTTP is."""
        return None if self.http_port is None else join(self.host, self.http_port)


@dataclass(frozen=True, slots=True)
class Backend:
    """A server that the services stand on: one that is to be run, or one that is there already."""

    name: str
    ports: tuple[int, ...] = ()
    elsewhere: str | None = None
    # The address of one that somebody else runs; it has no ports then.


def check_plan(plan: Plan, environment: Mapping[str, str]) -> None:
    """Raises `Refused` when a mesh cannot be like this."""
    if not 1 <= plan.replicas <= limits.REPLICAS_MAX:
        message = f"there can be 1 to {limits.REPLICAS_MAX} of each service, not {plan.replicas}"
        raise Refused(message)
    unknown = [name for name in plan.backends if name not in KINDS]
    if unknown:
        message = f"there is no server {unknown[0]!r} to stand on; there is {', '.join(KINDS)}"
        raise Refused(message)
    try:
        check_pool(plan.pool)
    except PoolError as error:
        raise Refused(str(error)) from None
    if plan.replicas == 1:
        return
    if not plan.separate:
        message = "several of each service take processes of their own; add: --separate"
        raise Refused(message)
    if "postgres" not in plan.backends and not KINDS["postgres"].elsewhere(environment):
        message = (
            f"{plan.replicas} schedulers cannot share the embedded ledger, which one process "
            "owns; add: --with postgres    (or name one: MUSTER_LEDGER=postgresql://…)"
        )
        raise Refused(message)


def make_folders(data_dir: Path) -> Path:
    """Makes the data folder, for its owner only, and returns the one for logs in it.

    Raises `Refused`.
    """
    logs = data_dir / "logs"
    try:
        for folder in (data_dir, logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        message = f"the data folder {data_dir} cannot be made: {error.strerror}"
        raise Refused(message) from None
    if not os.access(logs, os.W_OK):
        message = (
            f"the data folder {data_dir} cannot be written to; name another: --data-dir FOLDER"
        )
        raise Refused(message)
    return logs


def services_of(plan: Plan) -> list[Service]:
    """The services in the order in which they start; ports 0 are still to be chosen."""
    engines = [(_ENGINE, _ENGINE_NUMBER)] if TEMPORAL in plan.backends else []
    if not plan.separate:
        http = plan.port + _HTTP_OFFSET_TOGETHER
        mesh = _service(plan, "mesh", "mesh", "muster.allinone", plan.port, http)
        return [mesh, *_apart(plan, engines)]
    return _apart(plan, [("scheduler", 2), ("registry", 1), ("executor", 3), *engines])


def _apart(plan: Plan, roles: Sequence[tuple[str, int]]) -> list[Service]:
    return [
        _service(
            plan,
            role if plan.replicas == 1 else f"{role}-{replica + 1}",
            role,
            f"muster.{role}",
            plan.port + replica * _REPLICA_OFFSET + number,
            plan.port + replica * _REPLICA_OFFSET + _HTTP_OFFSET_APART + number,
        )
        for role, number in roles
        for replica in range(plan.replicas)
    ]


def _service(
    plan: Plan, name: str, role: str, module: str, grpc_port: int, http_port: int
) -> Service:
    if plan.port == 0:
        grpc_port = http_port = 0
    return Service(name, role, module, plan.host, grpc_port, http_port if plan.http else None)


def backends_of(plan: Plan, environment: Mapping[str, str]) -> list[Backend]:
    """The servers that the services stand on; ports 0 are still to be chosen.

    One that the environment names is used as it is. Each has its ports, whichever others run.
    """
    backends, port = [], plan.port + _BACKENDS_OFFSET
    for name, kind in KINDS.items():
        if name in plan.backends:
            elsewhere = kind.elsewhere(environment)
            ports = tuple(port + at if plan.port else 0 for at in range(kind.ports))
            backends.append(Backend(name, () if elsewhere else ports, elsewhere))
        port += kind.ports
    return backends


def targets_of(services: Sequence[Service]) -> dict[str, list[str]]:
    """Where each service is, every one of it."""
    targets = {
        role: [each.address for each in services if each.role in (role, "mesh")]
        for role in _SERVICES
    }
    engines = [each.address for each in services if each.role == _ENGINE]
    return targets | ({_ENGINE: engines} if engines else {})


def endpoints_of(services: Sequence[Service]) -> Endpoints:
    """Where clients find each service: any of it will do."""
    targets = targets_of(services)
    return Endpoints(**{role: SEPARATOR.join(targets[role]) for role in _SERVICES})


def environment_of(
    service: Service,
    targets: Mapping[str, Sequence[str]],
    plan: Plan,
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """What a service's process is told, besides what it inherits."""
    told = {
        "MUSTER_HOST": service.host,
        "MUSTER_GRPC_PORT": str(service.grpc_port),
        "MUSTER_HTTP_PORT": "none" if service.http_port is None else str(service.http_port),
        "MUSTER_DATA_DIR": str(plan.data_dir),
    }
    if plan.separate or service.role == _ENGINE:
        told["MUSTER_SCHEDULER_TARGETS"] = ",".join(targets["scheduler"])
        told["MUSTER_REGISTRY_TARGETS"] = ",".join(targets["registry"])
        # One port cannot be everybody's.
        told["MUSTER_HEALTH_PORT"] = "none"
        # Without a name it makes one of its own, from its role, the machine and its port.
        if "MUSTER_NAME" in inherited:
            told["MUSTER_NAME"] = f"{inherited['MUSTER_NAME']}-{service.name}"
    return {**inherited, **told}


def join(host: str, port: int) -> str:
    """An address, of IPv6 too."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
