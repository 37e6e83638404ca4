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
_WORST = ("critical", "warning")
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
        nodes = _ask(target, f"/v1/health/service/{url.path.strip('/')}?passing=1")
        found = [_place(node["Service"]) for node in nodes]
    except (OSError, ValueError, KeyError, TypeError):
        found = []
    if found and (target in _last or len(_last) < _LAST_MAX):
        _last[target] = found
    return found or _last.get(target, [])


def states(target: str, kind: str) -> list[str]:
    """The state of each entry of a kind, in the directory that `target` names: "passing",
    "warning" or "critical". Raises `OSError` or `ValueError` where Consul does not tell."""
    nodes = _ask(target, f"/v1/health/service/muster-{kind}")
    try:
        told = [{check["Status"] for check in node["Checks"]} for node in nodes]
    except (KeyError, TypeError):
        raise ValueError("Consul's answer is not to be understood") from None
    return [next((each for each in _WORST if each in checks), "passing") for checks in told]


def _ask(target: str, path: str) -> list[Any]:
    """What Consul answers at a path of its HTTP API. Raises `OSError` or `ValueError`."""
    # Slow to import for those who never need them.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    url = urlsplit(target)
    host, port = url.hostname or "", url.port or PORT_DEFAULT
    connection: HTTPConnection
    if _TLS[url.scheme]:
        import ssl

        ca_file = os.environ.get("MUSTER_DIRECTORY_CA_FILE") or None
        context = ssl.create_default_context(cafile=ca_file)
        connection = HTTPSConnection(host, port, timeout=_SECONDS, context=context)
    else:
        connection = HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers=_headers())
        answer = connection.getresponse()
        said = answer.read(_ANSWER_BYTES_MAX)
    except HTTPException as error:
        raise ValueError(str(error)) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"Consul answers {answer.status}")
    nodes = json.loads(said)
    if not isinstance(nodes, list):
        raise ValueError("Consul's answer is not to be understood")
    return nodes


def _headers() -> dict[str, str]:
    token = os.environ.get("MUSTER_DIRECTORY_TOKEN", "")
    if token.startswith("file:"):
        token = Path(token.removeprefix("file:")).read_text(encoding="utf-8").strip()
    return {"X-Consul-Token": token} if token else {}


def _place(service: Any) -> str:
    host = str(service["Address"])
    return f"[{host}]:{service['Port']}" if ":" in host else f"{host}:{service['Port']}"
