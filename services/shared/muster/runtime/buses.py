"""Which bus a process has: the choice is made here."""

from __future__ import annotations

from muster.backends.bus_base import Bus
from muster.runtime.config import Config, ConfigError
from muster.runtime.places import EMBEDDED_BUS


def bus_of(config: Config) -> Bus:
    """The configured bus; the one within this process where none is. Raises `ConfigError`."""
    if config.bus == EMBEDDED_BUS:
        from muster.backends.bus_embedded import EmbeddedBus

        return EmbeddedBus()
    try:
        from muster.backends.jetstream.bus import JetStreamBus
    except ModuleNotFoundError as error:
        if error.name != "nats":
            raise
        raise ConfigError(
            "MUSTER_BUS names NATS, whose client is not installed; "
            "pip install 'muster-mesh[server,nats]'"
        ) from None
    return JetStreamBus(config.bus, config.name)
