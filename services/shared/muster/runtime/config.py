"""Configuration of a service process; the environment is read here and nowhere else.

Each field is set by the variable MUSTER_<FIELD>, for example MUSTER_GRPC_PORT; names are unique
over all sections. Lists are separated by commas, "none" turns an optional thing off.
"""

from __future__ import annotations

import os
import socket
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from muster.model import limits
from muster.runtime.places import (
    EMBEDDED_BUS,
    EMBEDDED_LEDGER,
    BusUrls,
    DirectoryUrl,
    LedgerUrl,
    TemporalPlace,
)
from muster.wire.security import Security

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Quiet = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Retention = Annotated[float, Field(ge=limits.RETENTION_SECONDS_MIN, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Role(Enum):
    """Which services a process runs; the value names it to people."""

    ALL = "all"
    REGISTRY = "registry"
    SCHEDULER = "scheduler"
    EXECUTOR = "executor"
    ENGINE = "engine"


# role -> (gRPC port, HTTP port)
PORTS: dict[Role, tuple[int, int]] = {
    Role.ALL: (7171, 7180),
    Role.REGISTRY: (7172, 7182),
    Role.SCHEDULER: (7173, 7183),
    Role.EXECUTOR: (7174, 7184),
    Role.ENGINE: (7175, 7185),
}


class ConfigError(Exception):
    """The process cannot start like this; the message tells a person what to change."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a process listens, and how much it takes on."""

    host: str = "127.0.0.1"
    # Anything but loopback is refused without TLS: names in metadata are no identity.

    grpc_port: Port = PORTS[Role.ALL][0]
    # 0 takes any free port; then only the log, or `server.address`, tells which.

    advertise: str = ""
    # Where other services reach the process, as `host:port`, if that is not where it listens.

    http_port: Port | None = PORTS[Role.ALL][1]
    # Metrics, live and ready. None saves the listener, and blinds whoever supervises the process.

    health_port: Port | None = None
    # Another gRPC port, in clear, that tells health and nothing else: the probes of Kubernetes and
    # of load balancers show no certificate, and Consul's need none then. None: there is no such.

    drain_seconds: Seconds = 5.0
    # Longer lets slower calls finish; but clients' retries bridge about 7 s of drain and restart.

    unary_calls_max: Count = limits.UNARY_CALLS_MAX
    # More callers may wait at once; each costs about 20 KB.

    streams_max: Count = limits.STREAMS_MAX
    # Counted apart, because sessions and watchers stay: they must not use up the room for calls.


@dataclass(frozen=True, slots=True)
class Tls:
    """Who is believed. With a certificate all gRPC is TLS, and every call needs an identity.

    Files are read again when they change, so what replaces them is used without a restart: for a
    change of authority, let `tls_ca` hold both for a while. `muster certs` makes such files.
    """

    profile: Literal["development", "production"] = "development"
    # "production" refuses to start without TLS, or with keys that others may read, and serves no
    # reflection. "development" speaks plainly on loopback, where every caller has every role.

    tls_cert: Path | None = None
    # PEM: this process's certificate and what is between it and the authority. Names the process
    # towards others as spiffe://DOMAIN/service/NAME, and needs the addresses that others dial.

    tls_key: Path | None = None
    # PEM: its private key, unencrypted, so it must be readable by this user alone; or be root's,
    # who lends it to a group (0640), as Kubernetes and systemd do.

    tls_ca: Path | None = None
    # PEM: authorities whose certificates are believed, in both directions.

    trust_domain: str = ""
    # The DOMAIN that callers' certificates must have. Empty: that of this process's own.

    token_port: Port | None = None
    # Another gRPC port, for callers with a token (JWT) instead of a certificate. It is apart
    # because gRPC for Python cannot ask for a certificate without insisting on one.

    token_keys: Path | None = None
    # JWKS: public keys of whoever issues tokens; a file, or a folder of *.json. Never fetched.

    token_issuer: str = ""
    # What tokens must say as `iss`.

    token_audience: str = ""
    # What tokens must say as `aud`, so that those for other services are no use here.

    grants: Path | None = None
    # YAML: who may ask for and offer which capabilities. None: the roles alone decide.

    @property
    def enabled(self) -> bool:
        """Whether gRPC is TLS."""
        return self.tls_cert is not None

    @property
    def security(self) -> Security:
        """For the channels to other services."""
        if not self.enabled:
            return Security()
        return Security(ca=self.tls_ca, cert=self.tls_cert, key=self.tls_key)


@dataclass(frozen=True, slots=True)
class Timers:
    """Shorter finds the dead sooner; longer forgives slow machines and networks."""

    heartbeat_seconds: Seconds = limits.HEARTBEAT_SECONDS
    # How often hosts say that they live. Shorter costs a frame per session and period.

    lease_periods: Count = limits.LEASE_PERIODS
    # How many heartbeats may be missed before an attempt is given to somebody else.

    accept_seconds: Seconds = limits.ACCEPT_SECONDS
    # How long a host may take to confirm an assignment. Below 1.5 heartbeats, bare agents lose it.

    resume_grace_seconds: Seconds = limits.RESUME_GRACE_SECONDS
    # How long a broken stream may take to come back before what it held is lost.

    sweep_seconds: Seconds = limits.SWEEP_SECONDS
    # How often judges look. Shorter is more precise, and work for nothing.

    @property
    def lease_seconds(self) -> float:
        """How long a host may be silent."""
        return self.heartbeat_seconds * self.lease_periods


@dataclass(frozen=True, slots=True)
class Logs:
    """What is written to stderr."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    # "debug" follows single calls, and slows the mesh down.

    log_format: Literal["auto", "json", "text"] = "auto"
    # "auto": text on a terminal, JSON elsewhere.


def _data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME", "")
    # The specification has relative paths ignored.
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "share"
    return base / "muster"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a process can be told."""

    listen: Listen = field(default_factory=Listen)
    tls: Tls = field(default_factory=Tls)
    timers: Timers = field(default_factory=Timers)
    logs: Logs = field(default_factory=Logs)

    retention_seconds: Retention = limits.RETENTION_SECONDS
    # How long an ended contract is found, and its request_id remembered. Longer costs disk.

    memory_quiet_seconds: Quiet = 0.0
    # After so long without anything new, a conversation becomes memory. 0: only when somebody asks.

    name: str = ""
    # Names this process in the mesh; must be unique there. Empty: made from role, machine and port.

    data_dir: Path = field(default_factory=_data_dir)
    # Where ledger and blobs are, if they are files. A network file system breaks SQLite's locks.

    ledger: LedgerUrl = field(default=EMBEDDED_LEDGER, repr=False)
    # "sqlite": in data_dir, fastest, one scheduler. postgresql://user:password@host/database: blobs
    # too, several schedulers. Never told to anybody, for the password in it; "file:PATH" keeps it
    # out of the environment.

    bus: BusUrls = field(default=EMBEDDED_BUS, repr=False)
    # Empty: in this process. nats://host:4222, or tls://, of a NATS cluster with JetStream: whoever
    # subscribes there sees what happens. Never told to anybody: there may be a password in it.
    # "file:PATH" works here too.

    scheduler_targets: tuple[str, ...] = (f"127.0.0.1:{PORTS[Role.SCHEDULER][0]}",)
    # Every scheduler, because executors dial each; not used in one process.

    registry_targets: tuple[str, ...] = (f"127.0.0.1:{PORTS[Role.REGISTRY][0]}",)
    # Every registry, because presence is reported to each; not used in one process.

    directory: DirectoryUrl = ""
    # consul://host:port, or consuls:// with TLS: services are found there as well, and the targets
    # above may be left out. Empty: in memory, and found are those that were named.

    directory_token: str = field(default="", repr=False)
    # Consul's ACL token, or "file:PATH" of it. Sent in clear to consul://, so to loopback only.

    directory_ca_file: str = ""
    # PEM file with who has signed Consul's certificate. Empty: whoever signs the world's.

    directory_probe_seconds: Seconds = limits.DIRECTORY_PROBE_SECONDS
    # How often Consul asks a service whether it serves. Shorter finds the dead sooner.

    directory_agents_max: Count = limits.DIRECTORY_AGENTS_MAX
    # Beyond it hosts are registered and not each agent, which costs a call per agent and 30 s.

    temporal: TemporalPlace = ""
    # host:port, or host:port/namespace, of Temporal's frontend; temporals://host:port/namespace
    # where it speaks TLS. Schedulers take runs for Temporal where it is set; the engine's workers
    # (python -m muster.engine) connect to it.

    temporal_ca_file: str = ""
    # PEM file with who has signed Temporal's certificate. Empty: whoever signs the world's.

    temporal_cert_file: str = ""
    temporal_key_file: str = ""
    # PEM files: what the engine's workers show Temporal. Read again with each connection.

    temporal_api_key: str = field(default="", repr=False)
    # Temporal's API key, or "file:PATH" of it, read again with each connection. Sent in clear
    # without temporals://, so to loopback only.

    workflow_engine: Literal["local", "temporal"] = "local"
    # Who runs workflows whose start does not say so. "local" is faster by far and needs no server.

    zone: str = ""
    # Where this process runs, for whoever looks it up in the directory.


def default_config(role: Role) -> Config:
    """The configuration of a process that was told nothing."""
    grpc_port, http_port = PORTS[role]
    return Config(
        listen=Listen(grpc_port=grpc_port, http_port=http_port), name=_name(role, grpc_port)
    )


def load_config(role: Role, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration that the environment asks for; raises `ConfigError` naming each mistake."""
    values = os.environ if environment is None else environment
    tree = _merge(default_config(role), values)
    try:
        config = TypeAdapter(Config).validate_python(tree)
    except ValidationError as error:
        mistakes = (
            f"MUSTER_{str(found['loc'][-1]).upper()}: {found['msg']}" for found in error.errors()
        )
        raise ConfigError("; ".join(mistakes)) from None
    if config.listen.grpc_port != PORTS[role][0] and "MUSTER_NAME" not in values:
        config = replace(config, name=_name(role, config.listen.grpc_port))
    if config.directory:
        config = _without_default_targets(config, values)
    return config


def _without_default_targets(config: Config, values: Mapping[str, str]) -> Config:
    """Who finds the others in a directory looks for them nowhere else, unless told where."""
    told = {"scheduler_targets": "MUSTER_SCHEDULER_TARGETS"}
    told["registry_targets"] = "MUSTER_REGISTRY_TARGETS"
    empty: dict[str, Any] = {name: () for name, variable in told.items() if variable not in values}
    return replace(config, **empty)


def _name(role: Role, port: int) -> str:
    """Unique as long as one machine name is; a process on any free port is told by its pid."""
    return f"{role.value}-{socket.gethostname()}-{port or f'pid{os.getpid()}'}"


def _merge(section: Any, values: Mapping[str, str]) -> dict[str, Any]:
    """The section as a tree for pydantic, with the environment's texts in place of its values."""
    tree: dict[str, Any] = {}
    types = typing.get_type_hints(type(section))
    for each in fields(section):
        value = getattr(section, each.name)
        text = values.get(f"MUSTER_{each.name.upper()}")
        if is_dataclass(value):
            tree[each.name] = _merge(value, values)
        elif text is None:
            tree[each.name] = value
        elif typing.get_origin(types[each.name]) is tuple:
            tree[each.name] = tuple(part.strip() for part in text.split(",") if part.strip())
        else:
            tree[each.name] = None if text.lower() == "none" else text
    return tree
