"""python-consul as we need it: calls that end in time, in threads, and end at once when we do.

Of itself the library waits for ever, lets CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN of the environment
overrule what it is told, and puts the token into the URL, from where it gets into logs. So it is
given a session of our own.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import consul
import requests
from consul.std import HTTPClient
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from muster.backends.directory_base import DirectoryError

TOKEN_FILE = "file:"  # noqa: S105 - what a token begins with that is in a file
_BAD_REQUEST, _FORBIDDEN = 400, 403
_CONNECT_SECONDS = 1.0
_REASON_CHARACTERS_MAX = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """Where Consul is, and what it is to be told and shown."""

    host: str
    port: int
    tls: bool = False
    ca_file: str = ""
    # Who has signed Consul's certificate; empty: whoever signs the world's.

    token: str = field(default="", repr=False)
    # An ACL token, or "file:PATH"; the file is read again when Consul refuses what it held.

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Client:
    """One session with Consul. `reply_seconds` is how long an answer may take."""

    def __init__(self, address: Address, threads: ThreadPoolExecutor, reply_seconds: float) -> None:
        self._address = address
        self._threads = threads
        self._adapter = _Adapter((_CONNECT_SECONDS, reply_seconds))
        self._session = requests.Session()
        self._session.trust_env = False  # neither proxies nor passwords of the environment
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)
        self._consul = _consul(address, self._session)
        self._show_token()

    async def call(self, ask: Callable[[Any], T]) -> T:
        """What `ask(consul)` gives, in a thread. Raises `DirectoryError`."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._call, ask)
        except RuntimeError as error:  # the threads have ended
            raise DirectoryError(str(error)) from None

    def _call(self, ask: Callable[[Any], T]) -> T:
        try:
            return ask(self._consul)
        except consul.ACLPermissionDenied as error:
            self._show_token()
            raise DirectoryError(f"Consul at {self._address} refuses: {_first(error)}") from None
        except consul.ConsulException as error:
            raise DirectoryError(f"Consul at {self._address} fails: {_first(error)}") from None
        except requests.exceptions.SSLError as error:
            raise DirectoryError(f"no TLS with Consul at {self._address}: {_why(error)}") from None
        except (requests.RequestException, OSError, ValueError, KeyError) as error:
            why = type(error).__name__
            raise DirectoryError(f"Consul at {self._address} does not answer ({why})") from None

    def close(self) -> None:
        """Ends every call that is under way, and all that would come."""
        self._adapter.abort()

    def _show_token(self) -> None:
        token = self._address.token
        if token.startswith(TOKEN_FILE):
            with suppress(OSError):
                token = Path(token.removeprefix(TOKEN_FILE)).read_text(encoding="utf-8").strip()
                self._session.headers["X-Consul-Token"] = token
        elif token:
            self._session.headers["X-Consul-Token"] = token


# What python-consul may call with an answer of Consul; its own have other places in its fork.


def accepted(response: Any) -> Any:
    """The answer, if it is not a refusal."""
    if response.code == _FORBIDDEN:
        raise consul.ACLPermissionDenied(response.body)
    if response.code >= _BAD_REQUEST:
        raise consul.ConsulException(f"{response.code} {response.body}")
    return response


def parsed(response: Any) -> Any:
    """What the answer says."""
    return json.loads(accepted(response).body)


def _consul(address: Address, session: requests.Session) -> Any:
    scheme = "https" if address.tls else "http"
    host = f"[{address.host}]" if ":" in address.host else address.host

    class Ours(consul.Consul):  # type: ignore[misc] # it has no types
        def connect(self, *_told: object, **_more: object) -> Any:
            http = HTTPClient(host, address.port, scheme, verify=address.ca_file or True)
            http.session = session
            return http

    try:
        made = Ours()
    except consul.ConsulException as error:
        raise DirectoryError(f"{_first(error)}; unset it, for it is not looked at") from None
    made.token = None  # the session has it
    return made


class _Adapter(HTTPAdapter):
    """Knows its connections, so that it can end what waits on them."""

    def __init__(self, timeout: tuple[float, float]) -> None:
        self._timeout = timeout
        self._closed = False
        self._open: WeakSet[HTTPConnection] = WeakSet()
        super().__init__(pool_maxsize=8)

    def init_poolmanager(self, *words: Any, **named: Any) -> None:
        super().init_poolmanager(*words, **named)
        opened = self._open

        class Plain(HTTPConnection):
            def connect(self) -> None:
                opened.add(self)
                super().connect()

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                opened.add(self)
                super().connect()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        pools = {"http": PlainPool, "https": SecurePool}
        self.poolmanager.pool_classes_by_scheme = pools

    def send(self, request: Any, *words: Any, **named: Any) -> requests.Response:
        if self._closed:
            raise requests.ConnectionError("closed")
        named["timeout"] = self._timeout
        return super().send(request, *words, **named)

    def abort(self) -> None:
        self._closed = True
        for connection in list(self._open):
            sock = getattr(connection, "sock", None)
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def _why(error: requests.exceptions.SSLError) -> str:
    """What OpenSSL says, out of what urllib3 and requests make of it."""
    found = re.search(r"certificate verify failed: [\w ',.-]+|\[SSL[^\]]*\][\w ]*", str(error))
    return found[0].strip() if found else "the handshake fails"


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:_REASON_CHARACTERS_MAX]
