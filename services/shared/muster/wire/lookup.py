"""Finds services in Consul with nothing but the standard library, for clients and hosts.

    MUSTER_ADDRESS=consul://127.0.0.1:8500      # consuls:// with TLS

One plain question, asked whenever a channel is opened: who needs to hear of every change as it
comes is a service, and has the directory itself. Consul being away costs a look-up, no more: what
it said last holds, in this process.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PORT_DEFAULT = 8500
_SECONDS = 1.0  # whoever waits has an event loop, which stands still meanwhile; 2 ms are usual
_ANSWER_BYTES_MAX = 1024 * 1024
_TLS = {"consul": False, "consuls": True, "consul+https": True}

# target -> what was found there last; as many as a process has names for its mesh, so a handful.
_last: dict[str, list[str]] = {}
_LAST_MAX = 64


def is_lookup(target: str) -> bool:
    """Whether a target is looked up in Consul."""
    return target.partition("://")[0] in _TLS


def lookup_target(target: str, kind: str) -> str:
    """What `find` takes, of MUSTER_ADDRESS and a kind: "scheduler", "registry", "executor".

    A target of another sort, or one that says already what is looked up, stays as it is.
    """
    if not is_lookup(target) or urlsplit(target).path.strip("/"):
        return target
    return f"{target.rstrip('/')}/muster-{kind}"


def find(target: str) -> list[str]:
    """The `host:port` of each service that passes, of consul://host:port/muster-scheduler; what
    was found last where Consul is away or has none; else empty.

    MUSTER_DIRECTORY_TOKEN and MUSTER_DIRECTORY_CA_FILE are as for services. Raises `ValueError` for
    a target that is none.
    """
    url = urlsplit(target)
    if not url.hostname or not url.path.strip("/") or "@" in url.netloc:
        raise ValueError(f"{target.rpartition('@')[2]!r} is not like consul://host:8500")
    try:
        found = _ask(url.hostname, url.port or PORT_DEFAULT, _TLS[url.scheme], url.path.strip("/"))
    except (OSError, ValueError, KeyError, TypeError):
        found = []
    if found and (target in _last or len(_last) < _LAST_MAX):
        _last[target] = found
    return found or _last.get(target, [])


def _ask(host: str, port: int, tls: bool, service: str) -> list[str]:
    # Slow to import for those who never need them.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    connection: HTTPConnection
    if tls:
        import ssl

        ca_file = os.environ.get("MUSTER_DIRECTORY_CA_FILE") or None
        context = ssl.create_default_context(cafile=ca_file)
        connection = HTTPSConnection(host, port, timeout=_SECONDS, context=context)
    else:
        connection = HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", f"/v1/health/service/{service}?passing=1", headers=_headers())
        answer = connection.getresponse()
        said = answer.read(_ANSWER_BYTES_MAX)
    except HTTPException as error:
        raise ValueError(str(error)) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"Consul answers {answer.status}")
    return [_place(node["Service"]) for node in json.loads(said)]


def _headers() -> dict[str, str]:
    token = os.environ.get("MUSTER_DIRECTORY_TOKEN", "")
    if token.startswith("file:"):
        token = Path(token.removeprefix("file:")).read_text(encoding="utf-8").strip()
    return {"X-Consul-Token": token} if token else {}


def _place(service: Any) -> str:
    host = str(service["Address"])
    return f"[{host}]:{service['Port']}" if ":" in host else f"{host}:{service['Port']}"
