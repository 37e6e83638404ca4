"""The directory in Consul: https://developer.hashicorp.com/consul/api-docs.

Entries are services of the Consul agent that is asked, named `muster-<kind>`, with one check each:
Consul asks grpc.health.v1 itself, or is told in time. Consul takes out what is critical for a
minute; an owner that lives sees that when it reads, and puts it again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self
from urllib.parse import quote, unquote

from muster.backends.consul.connection import Address, Client, accepted, parsed
from muster.backends.directory_base import DirectoryError
from muster.model import limits
from muster.model.directory import Change, Entry, Found, Probe, Put, Remove, State, TimeToLive

PREFIX = "muster-"
_OWNER, _DIGEST = "owner", "digest"
_THREADS_MAX = 8  # a watch has one all the time; there are no more than three, and two callers
_PROBE_TIMEOUT_SECONDS = 1.0
# Consul lets a blocking query end up to a sixteenth late, so that not all end at once.
_WATCH_SECONDS = limits.DIRECTORY_WAIT_SECONDS * 17 / 16 + limits.DIRECTORY_CALL_SECONDS
# A kind of which there is nothing wakes its watchers with every change of anything.
_WATCH_PAUSE_SECONDS = 0.1


class ConsulDirectory:
    """See `Directory`."""

    def __init__(self, address: Address) -> None:
        self._threads = ThreadPoolExecutor(_THREADS_MAX, "consul")
        self._calls = Client(address, self._threads, limits.DIRECTORY_CALL_SECONDS)
        self._watches = Client(address, self._threads, _WATCH_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._calls.close()
        self._watches.close()
        await asyncio.to_thread(self._threads.shutdown)

    async def apply(self, changes: Sequence[Change]) -> None:
        await self._calls.call(lambda consul: _apply_all(consul, changes))

    async def read(self, owner: str) -> Mapping[str, str]:
        chosen = [("filter", f'Meta.{_OWNER} == "{quote(owner)}"')]
        services: Mapping[str, Any] = await self._calls.call(
            lambda consul: consul.http.get(parsed, "/v1/agent/services", params=chosen)
        )
        return {each["ID"]: each["Meta"].get(_DIGEST, "") for each in services.values()}

    async def watch(self, kind: str) -> AsyncGenerator[Sequence[Found], None]:
        index, told = 0, None
        while True:
            ask = partial(_health, kind=kind, since=index)
            answer, nodes = await self._watches.call(ask)
            level = sorted(map(_found, nodes or ()), key=lambda each: each.id)
            if level != told:
                told = level
                yield level
            # An index that goes back is another Consul's, or one that has lost its data.
            # https://developer.hashicorp.com/consul/api-docs/features/blocking
            index = int(answer) if int(answer) >= index else 0
            await asyncio.sleep(_WATCH_PAUSE_SECONDS)


def _health(consul: Any, kind: str, since: int) -> tuple[str, list[Mapping[str, Any]] | None]:
    wait = f"{limits.DIRECTORY_WAIT_SECONDS:.0f}s"
    answer: tuple[str, list[Mapping[str, Any]] | None]
    answer = consul.health.service(PREFIX + kind, index=str(since) if since else None, wait=wait)
    return answer


def _apply_all(consul: Any, changes: Sequence[Change]) -> None:
    for change in changes:
        _apply(consul, change)


def _apply(consul: Any, change: Change) -> None:
    if isinstance(change, Remove):
        consul.agent.service.deregister(change.id)  # False where it is not there
        return
    entry = change.entry
    if isinstance(change, Put):
        # By hand, because `agent.service.register` knows no meta.
        consul.http.put(
            accepted,
            "/v1/agent/service/register",
            params=[("replace-existing-checks", "true")],
            data=json.dumps(_registration(entry)),
        )
    # Also after a Put: what is put in another's place has his state, whatever is said there.
    if isinstance(entry.check, TimeToLive):
        _tell_state(consul, entry)


def _tell_state(consul: Any, entry: Entry) -> None:
    checks = consul.agent.check
    says = {
        State.PASSING: checks.ttl_pass,
        State.WARNING: checks.ttl_warn,
        State.CRITICAL: checks.ttl_fail,
    }
    if not says[entry.state](f"service:{entry.id}"):
        raise DirectoryError(f"Consul has forgotten {entry.id}")


def _registration(entry: Entry) -> dict[str, Any]:
    host, _, port = entry.address.rpartition(":")
    return {
        "ID": entry.id,
        "Name": PREFIX + entry.kind,
        "Address": host.strip("[]"),
        "Port": int(port or 0),
        "Meta": {**entry.meta, _OWNER: quote(entry.owner), _DIGEST: entry.digest},
        "Check": _check(entry),
    }


def _check(entry: Entry) -> dict[str, Any]:
    check = entry.check
    common = {"DeregisterCriticalServiceAfter": f"{limits.DIRECTORY_FORGET_SECONDS:.0f}s"}
    if isinstance(check, Probe):
        # Critical until Consul has asked for the first time.
        return {
            **common,
            "Name": "grpc.health.v1",
            "GRPC": f"{check.address or entry.address}/{check.service}",
            "GRPCUseTLS": check.tls and not check.address,
            "Interval": f"{check.interval_seconds}s",
            "Timeout": f"{_PROBE_TIMEOUT_SECONDS}s",
        }
    return {
        **common,
        "Name": "heard of",
        "TTL": f"{check.seconds}s",
        "Status": entry.state.value,
    }


def _found(node: Mapping[str, Any]) -> Found:
    service, states = node["Service"], {check["Status"] for check in node["Checks"]}
    state = next((each for each in (State.CRITICAL, State.WARNING) if each.value in states), None)
    host, port = service.get("Address"), service.get("Port")  # neither where it is empty
    host = f"[{host}]" if host and ":" in host else host
    meta = dict(service.get("Meta") or {})
    owner, _ = meta.pop(_OWNER, ""), meta.pop(_DIGEST, "")
    return Found(
        id=service["ID"],
        kind=service["Service"].removeprefix(PREFIX),
        owner=unquote(owner),
        address=f"{host}:{port}" if host and port else "",
        meta=meta,
        state=state or State.PASSING,
    )
