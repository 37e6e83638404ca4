"""Requests as they go out, and responses as they come back."""

from __future__ import annotations

import secrets
import time
from typing import Any

from muster.agent.failures import ContractFailed
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import ContractState, Response
from muster.wire.payload import fill_payload, json_value, value_of
from muster.wire.times import timestamp_of_seconds


class RequestIds:
    """Request ids that are ordered in time and unlike anybody else's.

    44 bits of milliseconds, then 64 random bits that name this maker, then a count.
    """

    __slots__ = ("_count", "_maker")

    def __init__(self) -> None:
        self._maker = secrets.token_hex(8)
        self._count = 0

    def make(self) -> str:
        """A new id."""
        self._count += 1
        return f"{time.time_ns() // 1_000_000:011x}-{self._maker}-{self._count:x}"


def fill_request(
    request_id: str,
    capability: str,
    input: Any,
    *,
    version: str = "",
    timeout: float | None = None,
) -> Request:
    """A request whose deadline, if any, is fixed now."""
    request = Request()
    request.request_id = request_id
    request.capability.name = capability
    if version:
        request.capability.version = version
    if input is not None:
        fill_payload(request.payload, input)
    if timeout is not None:
        request.deadline.CopyFrom(timestamp_of_seconds(time.time() + timeout))
    return request


def output_of(response: Response) -> Any:
    """The output. Raises `ContractFailed` when there is none."""
    if response.state != ContractState.CONTRACT_STATE_SUCCEEDED:
        raise contract_failed(response, ContractFailed)
    payload = response.payload
    return json_value(payload.json) if payload.HasField("json") else value_of(payload)


def contract_failed(response: Response, kind: type[ContractFailed]) -> ContractFailed:
    """The exception that says why a contract has no output."""
    failure = response.failure
    return kind(
        failure.code,
        failure.message,
        contract_id=response.contract_id,
        state=ContractState.Name(response.state).removeprefix("CONTRACT_STATE_"),
        permanent=failure.permanent,
        details=value_of(failure.details) if failure.HasField("details") else None,
    )
