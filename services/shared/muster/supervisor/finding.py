"""Where things are: the data folder, the mesh that runs on it, and who calls.

The environment of clients and commands is read here; `muster.runtime.config` reads that of services
and agrees with this, which a test holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from muster.supervisor.state import read_state
from muster.wire.lookup import lookup_target

PORT_DEFAULT = 7171
ADDRESS_DEFAULT = f"127.0.0.1:{PORT_DEFAULT}"

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """gRPC targets of the services, all the same when one process runs all of them."""

    registry: str
    scheduler: str
    executor: str

    @classmethod
    def at(cls, address: str) -> Endpoints:
        """All services at one address, or in one directory (consul://host:port)."""
        return cls(**{kind: lookup_target(address, kind) for kind in cls.__slots__})

    @property
    def environment(self) -> dict[str, str]:
        """What tells the SDK of another process."""
        return {
            "MUSTER_ADDRESS": self.scheduler,
            "MUSTER_REGISTRY": self.registry,
            "MUSTER_SCHEDULER": self.scheduler,
            "MUSTER_EXECUTOR": self.executor,
        }

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys((self.registry, self.scheduler, self.executor)))


def find_data_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """MUSTER_DATA_DIR, or else `muster` where the XDG specification keeps data."""
    named = environment.get("MUSTER_DATA_DIR")
    if named:
        return Path(named).expanduser().absolute()
    home = environment.get("XDG_DATA_HOME", "")
    # The specification has relative paths ignored.
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "share"
    return base / "muster"


def find_endpoints(
    address: str | None, data_dir: Path, environment: Mapping[str, str] = os.environ
) -> Endpoints:
    """Where the mesh is: as asked, else as the environment says, else as `mesh.json` does.

    Of the environment, MUSTER_REGISTRY, MUSTER_SCHEDULER and MUSTER_EXECUTOR name a service each,
    and MUSTER_ADDRESS all that are not named. Without any of it, and without a mesh that runs on
    the data folder, it is 127.0.0.1:7171.
    """
    if address:
        return Endpoints.at(address)
    shared = environment.get("MUSTER_ADDRESS")
    known = Endpoints.at(shared) if shared else _running(data_dir) or Endpoints.at(ADDRESS_DEFAULT)
    return Endpoints(
        **{
            kind: lookup_target(environment.get(f"MUSTER_{kind.upper()}", ""), kind)
            or getattr(known, kind)
            for kind in Endpoints.__slots__
        }
    )


def _running(data_dir: Path) -> Endpoints | None:
    state = read_state(data_dir)
    if state is None or not state.supervisor.is_running:
        return None
    return Endpoints(**{name: state.endpoints[name] for name in Endpoints.__slots__})


def find_metadata(environment: Mapping[str, str] = os.environ) -> Metadata:
    """Who calls, as gRPC metadata: MUSTER_TENANT and MUSTER_PRINCIPAL."""
    named = (
        ("muster-tenant", environment.get("MUSTER_TENANT", "")),
        ("muster-principal", environment.get("MUSTER_PRINCIPAL", "")),
    )
    return tuple((key, value) for key, value in named if value)


def fleet_identity(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What shows a fleet's hosts for agents: MUSTER_FLEET_TLS_CERT and MUSTER_FLEET_TLS_KEY.

    They run beside the services, whose own certificate is no agent's.
    """
    return {
        name: environment[f"MUSTER_FLEET_{name.removeprefix('MUSTER_')}"]
        for name in ("MUSTER_TLS_CERT", "MUSTER_TLS_KEY")
        if environment.get(f"MUSTER_FLEET_{name.removeprefix('MUSTER_')}")
    }
