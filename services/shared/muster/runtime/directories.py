"""A process's part in the directory that it is configured with: it is there, and finds others.

Nothing else of the process waits for this part, and nothing ends with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

from muster.backends.directory_base import Directory
from muster.backends.directory_memory import MemoryDirectory
from muster.model import limits
from muster.model.directory import Entry, Probe, meta_text
from muster.runtime.config import Config, ConfigError
from muster.runtime.directory_metrics import directory_metrics
from muster.runtime.lifetime import Run, background
from muster.runtime.looking_up import OnLevel, follow
from muster.runtime.network import is_loopback
from muster.runtime.places import DIRECTORY_SCHEMES
from muster.runtime.registering import Keeper
from muster.runtime.serve import Part, Readiness

CONSUL_PORT = 8500

# Keeps entries beside those of the process itself, without end.
Enrol = Callable[[Keeper], Coroutine[Any, Any, None]]

# What each kind of service is asked for: it stands for all that a process of the kind serves.
SERVICES = {
    "scheduler": "muster.v1.SchedulerService",
    "registry": "muster.v1.RegistryService",
    "executor": "muster.v1.ExecutorService",
}


def directory_of(config: Config) -> Directory:
    """The configured directory. Raises `ConfigError`. Connects to nothing yet."""
    if not config.directory:
        return MemoryDirectory()
    url = urlsplit(config.directory)
    tls = DIRECTORY_SCHEMES[url.scheme]
    host = url.hostname or ""
    if config.directory_token and not tls and not is_loopback(host):
        message = (
            f"refusing to send MUSTER_DIRECTORY_TOKEN to {host} in clear: use consuls://, or a "
            "Consul agent on this machine, which is Consul's own way"
        )
        raise ConfigError(message)
    try:
        from muster.backends.consul.connection import Address
        from muster.backends.consul.directory import ConsulDirectory
    except ModuleNotFoundError as error:
        if error.name not in ("consul", "requests"):
            raise
        raise ConfigError(
            "MUSTER_DIRECTORY names Consul, whose client is not installed; "
            "pip install 'muster-mesh[server,consul]'"
        ) from None
    address = Address(
        host,
        url.port or CONSUL_PORT,
        tls,
        config.directory_ca_file,
        config.directory_token,
    )
    return ConsulDirectory(address)


def service_entry(config: Config, kind: str, address: str, health_address: str = "") -> Entry:
    """How a process is found as a service of one kind; `health_address` is its port for probes."""
    meta = {"name": config.name, "version": metadata.version("muster-mesh"), "kind": kind}
    if config.zone:
        meta["zone"] = meta_text(config.zone)
    seconds = config.directory_probe_seconds
    return Entry(
        id=f"muster-{kind}:{config.name}",
        kind=kind,
        owner=config.name,
        check=Probe(SERVICES[kind], seconds, config.tls.enabled, health_address),
        address=address,
        meta=meta,
    )


def directory_part(
    config: Config,
    directory: Directory,
    kinds: Sequence[str],
    finds: Mapping[str, OnLevel] | None = None,
    enrol: Enrol | None = None,
) -> Part:
    """Registers the process under each of the kinds while it runs, and until it drains.

    `finds` hears of the services of other kinds; `enrol` keeps more entries. Put this part last:
    what is found must serve.
    """
    keeper = Keeper(directory, config.name, limits.PRESENCE_GRACE_SECONDS if enrol else 0)
    loops: list[Run] = [keeper.run]
    loops += [partial(follow, directory, *each) for each in (finds or {}).items()]
    if enrol is not None:
        loops.append(partial(enrol, keeper))

    @asynccontextmanager
    async def run(readiness: Readiness) -> AsyncIterator[None]:
        at = readiness.address, readiness.health_address
        keeper.want(service_entry(config, kind, *at) for kind in kinds)
        async with directory, background(*loops):
            try:
                yield
            finally:
                keeper.leave()
                await keeper.left()

    async def drain() -> None:
        # Consul would only see that it is critical, and after a minute take it out.
        keeper.leave()

    return Part(
        name="directory", services={}, run=run, drain=drain, metrics=[directory_metrics(keeper)]
    )
