"""What a mesh consists of: one process or three, where each listens, what each is told."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from muster.supervisor.finding import PORT_DEFAULT, Endpoints

# From the first port on: 7171 gRPC and 7180 HTTP for everything in one process; 7172 to 7174 and
# 7182 to 7184 for services apart.
_HTTP_OFFSET_TOGETHER = 9
_HTTP_OFFSET_APART = 10
_SERVICES = ("registry", "scheduler", "executor")
_FREE_PORTS = range(20_000, 32_000)
_FREE_PORTS_TRIED = 100
PORT_MAX = 65535 - _HTTP_OFFSET_APART - len(_SERVICES)


class StartError(Exception):
    """The mesh cannot start; the message tells a person what to change."""


class Refused(StartError):
    """It cannot start like this, and another try would not help."""


class _Taken(Refused):
    """The port is somebody else's."""


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

    @property
    def shape(self) -> str:
        """For people, and for `mesh.json`."""
        return "separate processes" if self.separate else "one process"


@dataclass(frozen=True, slots=True)
class Service:
    """One process that serves."""

    name: str
    module: str
    host: str
    grpc_port: int
    http_port: int | None

    @property
    def address(self) -> str:
        """Where its gRPC is."""
        return _join(self.host, self.grpc_port)

    @property
    def http_address(self) -> str | None:
        """Where its HTTP is."""
        return None if self.http_port is None else _join(self.host, self.http_port)


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
    if not plan.separate:
        http = plan.port + _HTTP_OFFSET_TOGETHER
        return [_service(plan, "mesh", "muster.allinone", plan.port, http)]
    return [
        _service(
            plan,
            name,
            f"muster.{name}",
            plan.port + number,
            plan.port + _HTTP_OFFSET_APART + number,
        )
        for name, number in (("scheduler", 2), ("registry", 1), ("executor", 3))
    ]


def _service(plan: Plan, name: str, module: str, grpc_port: int, http_port: int) -> Service:
    if plan.port == 0:
        grpc_port = http_port = 0
    return Service(name, module, plan.host, grpc_port, http_port if plan.http else None)


def endpoints_of(services: list[Service]) -> Endpoints:
    """Where clients find each service."""
    if len(services) == 1:
        return Endpoints.at(services[0].address)
    return Endpoints(**{each.name: each.address for each in services})


def environment_of(
    service: Service, endpoints: Endpoints, plan: Plan, inherited: Mapping[str, str]
) -> dict[str, str]:
    """What a service's process is told, besides what it inherits."""
    told = {
        "MUSTER_HOST": service.host,
        "MUSTER_GRPC_PORT": str(service.grpc_port),
        "MUSTER_HTTP_PORT": "none" if service.http_port is None else str(service.http_port),
        "MUSTER_DATA_DIR": str(plan.data_dir),
    }
    if plan.separate:
        told["MUSTER_SCHEDULER_TARGETS"] = endpoints.scheduler
        told["MUSTER_REGISTRY_TARGETS"] = endpoints.registry
        if "MUSTER_NAME" in inherited:
            told["MUSTER_NAME"] = f"{inherited['MUSTER_NAME']}-{service.name}"
    return {**inherited, **told}


def choose_ports(services: list[Service]) -> list[Service]:
    """The services with free ports where they asked for any.

    Raises `Refused` when a port that was asked for is in use. Another process may still take a
    port before the service does; then the service says so.
    """
    with ExitStack() as held:
        return [
            replace(
                each,
                grpc_port=_hold(held, each.host, each.grpc_port) or 0,
                http_port=_hold(held, each.host, each.http_port),
            )
            for each in services
        ]


def _hold(held: ExitStack, host: str, port: int | None) -> int | None:
    if port is None:
        return None
    if port == 0:
        return _hold_any(held, host)
    family, address = _resolved(host, port)
    try:
        listener = held.enter_context(socket.create_server(address, family=family))
    except OSError as error:
        raise _Taken(_why_not(host, port, error)) from None
    return int(listener.getsockname()[1])


def _hold_any(held: ExitStack, host: str) -> int | None:
    """A free port that no system gives to outgoing connections.

    One of those could be gone while a service is being started again, and might even be taken by
    the very connection that looks for the service.
    """
    for port in random.sample(_FREE_PORTS, _FREE_PORTS_TRIED):
        try:
            return _hold(held, host, port)
        except _Taken:
            continue
    message = f"{_FREE_PORTS_TRIED} ports were tried and none is free; name one: muster up --port N"
    raise Refused(message)


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        message = f"the host {host!r} has no address; set MUSTER_HOST"
        raise Refused(message) from None
    return family, (str(address[0]), port)


def _why_not(host: str, port: int, error: OSError) -> str:
    address = _join(host, port)
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use: another process listens at {address}\n"
            f"take other ports with: muster up --port {port + 100}    (or --port 0 for any free)"
        )
    return f"cannot listen at {address}: {os.strerror(error.errno or 0)}"


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
