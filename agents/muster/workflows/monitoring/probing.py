"""Looks at a target, once, and always answers: that nobody is there is an answer too."""

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote, urlsplit

import grpc
import urllib3
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from muster.agent import connect
from muster.wire.channel import open_channel
from muster.wire.security import find_security
from muster.workflows.monitoring.shapes import Probe, Target

BODY_BYTES_MAX: Final = 4 * 1024 * 1024  # of an answer that count for its digest
DIGEST_CHARS: Final = 16

Clock = Callable[[], float]
Answer = tuple[bool, str, str, str]
"""Whether it is up, its code, the digest of its content, and details for a person."""


async def probe(
    target: Target, timeout: float, *, wall: Clock = time.time, clock: Clock = time.perf_counter
) -> Probe:
    """What is seen of a target within `timeout` seconds."""
    look = _LOOKS[urlsplit(target.url).scheme]
    at, began = wall(), clock()
    try:
        async with asyncio.timeout(timeout):
            up, code, digest, detail = await look(target.url, timeout)
    except TimeoutError:
        up, code, digest, detail = False, "TIMEOUT", "", f"no answer in {timeout:g} s"
    took = round((clock() - began) * 1000, 2)
    kept = digest if target.content else ""
    return Probe(target.url, target.name, up, code, kept, took, round(at, 3), detail)


async def _http(url: str, timeout: float) -> Answer:
    return await asyncio.to_thread(_get, url, timeout)


def _get(url: str, timeout: float) -> Answer:
    with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
        try:
            answer = pool.request("GET", url, redirect=False, preload_content=False)
            body = answer.read(BODY_BYTES_MAX)
            answer.release_conn()
        except urllib3.exceptions.NewConnectionError as error:
            return False, "REFUSED", "", _line(error)
        except urllib3.exceptions.TimeoutError:
            return False, "TIMEOUT", "", f"no answer in {timeout:g} s"
        except urllib3.exceptions.HTTPError as error:
            return False, "FAILED", "", _line(error)
    digest = hashlib.sha256(body).hexdigest()[:DIGEST_CHARS]
    return answer.status < 400, str(answer.status), digest, answer.reason or ""


async def _tcp(url: str, _timeout: float) -> Answer:
    parts = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError as error:
        return False, "REFUSED", "", _line(error)
    writer.close()
    return True, "OPEN", "", ""


async def _grpc(url: str, timeout: float) -> Answer:
    parts = urlsplit(url)
    async with open_channel(parts.netloc, find_security(os.environ), retries=False) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        try:
            answer = await check(
                HealthCheckRequest(service=unquote(parts.path.strip("/"))), timeout=timeout
            )
        except grpc.aio.AioRpcError as error:
            code = "TIMEOUT" if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else ""
            return False, code or error.code().name, "", _line(error.details() or "")
    state = HealthCheckResponse.ServingStatus.Name(answer.status)
    return answer.status == HealthCheckResponse.SERVING, state, "", ""


async def _agents(url: str, _timeout: float) -> Answer:
    kind = urlsplit(url).netloc
    async with connect() as mesh:
        found = [agent async for agent in mesh.agents(kinds=[kind])]
    return bool(found), f"{len(found)} READY", "", ""


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]


_LOOKS: Final[dict[str, Callable[[str, float], Awaitable[Answer]]]] = {
    "http": _http,
    "https": _http,
    "tcp": _tcp,
    "grpc": _grpc,
    "agents": _agents,
}
