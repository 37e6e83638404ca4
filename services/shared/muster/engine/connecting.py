"""Connects to Temporal, with what it asks to be shown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import TLSConfig

from muster.engine.converting import CONVERTER
from muster.runtime.config import Config, ConfigError
from muster.runtime.network import is_loopback
from muster.runtime.places import FILE, temporal_at

FILES_LOOK_SECONDS = 2.0  # how soon what has replaced a file is used


class Shown(NamedTuple):
    """What is shown to a Temporal, as its files are now."""

    tls: TLSConfig | None
    api_key: str | None


@dataclass(frozen=True, slots=True)
class Temporal:
    """A Temporal, and what is shown to it."""

    address: str
    # host:port of its frontend.

    namespace: str
    tls: bool = False
    ca: Path | None = None
    # PEM; None: whoever signs the world's certificates.

    cert: Path | None = None
    key: Path | None = None
    api_key: str = field(default="", repr=False)
    # The key itself, or file:PATH.

    def shown(self) -> Shown:
        """Reads the files. Raises `OSError` where one cannot be read, `ValueError` where one that
        should hold a key holds no text."""
        tls = None
        if self.tls:
            files = (self.ca, self.cert, self.key)
            ca, cert, key = (path.read_bytes() if path is not None else None for path in files)
            tls = TLSConfig(server_root_ca_cert=ca, client_cert=cert, client_private_key=key)
        api_key = self.api_key
        if api_key.startswith(FILE):
            api_key = Path(api_key.removeprefix(FILE)).read_text(encoding="utf-8").strip()
        return Shown(tls, api_key or None)

    async def connect(self, shown: Shown, identity: str, runtime: Runtime) -> Client:
        """Raises as `Client.connect` does."""
        return await Client.connect(
            self.address,
            namespace=self.namespace,
            tls=shown.tls or False,
            api_key=shown.api_key,
            identity=identity,
            data_converter=CONVERTER,
            runtime=runtime,
        )

    async def follow_files(self, client: Client, shown: Shown) -> None:
        """Has the client show a new API key from when its file holds it. Returns when there is
        another certificate, which takes another connection."""
        while True:
            await asyncio.sleep(FILES_LOOK_SECONDS)
            try:
                now = self.shown()
            except (OSError, ValueError):
                continue  # they are being replaced
            if now.tls != shown.tls:
                return
            if now.api_key != shown.api_key:
                client.api_key = now.api_key
                shown = now


def temporal_of(config: Config) -> Temporal:
    """The configured Temporal. Raises `ConfigError`. Connects to nothing yet."""
    if not config.temporal:
        raise ConfigError("MUSTER_TEMPORAL names no Temporal: host:7233 or host:7233/namespace")
    at = temporal_at(config.temporal)
    files = {
        "MUSTER_TEMPORAL_CA_FILE": config.temporal_ca_file,
        "MUSTER_TEMPORAL_CERT_FILE": config.temporal_cert_file,
        "MUSTER_TEMPORAL_KEY_FILE": config.temporal_key_file,
    }
    named = [name for name, value in files.items() if value]
    if named and not at.tls:
        message = f"{named[0]} is for TLS: say temporals://{at.address}/{at.namespace}"
        raise ConfigError(f"{message} in MUSTER_TEMPORAL")
    if bool(config.temporal_cert_file) != bool(config.temporal_key_file):
        raise ConfigError("MUSTER_TEMPORAL_CERT_FILE and MUSTER_TEMPORAL_KEY_FILE go together")
    if config.temporal_api_key and not at.tls and not is_loopback(at.host):
        raise ConfigError(
            f"refusing to send MUSTER_TEMPORAL_API_KEY to {at.host} in clear: say "
            f"temporals://{at.address}/{at.namespace} in MUSTER_TEMPORAL"
        )
    ca, cert, key = (Path(value) if value else None for value in files.values())
    made = Temporal(at.address, at.namespace, at.tls, ca, cert, key, config.temporal_api_key)
    try:
        made.shown()
    except OSError as error:
        reason = error.strerror or "no reason is given"
        raise ConfigError(f"{error.filename}, for Temporal, cannot be read: {reason}") from None
    except ValueError:
        raise ConfigError("the file that MUSTER_TEMPORAL_API_KEY names holds no text") from None
    return made
