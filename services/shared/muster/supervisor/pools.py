"""Which pool runs the hosts of a fleet: processes of this machine, or actors of Ray."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from muster.backends.pool_base import OnChange, Pool, PoolError
from muster.model import limits

SUBPROCESS, RAY = "subprocess", "ray"
POOLS = (SUBPROCESS, RAY)


def check_pool(name: str) -> None:
    """Raises `PoolError` when there is no such pool, or what it needs is not installed."""
    if name not in POOLS:
        message = f"there is no pool {name!r}; there is {' and '.join(POOLS)}"
        raise PoolError(message)
    if name == RAY and importlib.util.find_spec("ray") is None:
        message = "the pool ray needs Ray, which is not installed; pip install 'muster-mesh[ray]'"
        raise PoolError(message)


def make_pool(
    name: str,
    environment: Mapping[str, str],
    logs: Path,
    on_change: OnChange,
    stop_seconds: float = limits.HOST_STOP_SECONDS,
) -> Pool:
    """The pool of that name. `environment` is what its hosts get, `logs` where they write; those
    that are left when it is left have `stop_seconds` to finish. Raises `PoolError`."""
    check_pool(name)
    if name == RAY:
        from muster.backends.pool_ray.pool import RayPool

        return RayPool(environment, logs, on_change, stop_seconds=stop_seconds)
    from muster.backends.pool_subprocess.pool import SubprocessPool

    return SubprocessPool(environment, logs, on_change, stop_seconds=stop_seconds)
