"""Requests as they go out, and responses as they come back."""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from muster.agent.codec.annotations import Codec, Definitions, compile_type
from muster.agent.contents import content_in, fetch
from muster.agent.failures import ContractFailed
from muster.agent.values import value_of
from muster.v1 import policy_pb2, request_pb2
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import CONTRACT_STATE_SUCCEEDED, ContractState, Response
from muster.wire.jsontext import json_value
from muster.wire.times import duration_of_seconds, timestamp_of_seconds

if TYPE_CHECKING:
    from muster.agent.blobs import Blobs
    from muster.model.retry import RetryPolicy


class RequestOptions(TypedDict, total=False):
    """What can be said about a request besides its capability and input. Times are in seconds.

    `timeout` fixes the deadline, from now; `schedule_to_start`, `start_to_close` and `heartbeat`
    limit the wait in the queue, one attempt, and an attempt's silence. `request_id` is for callers
    that keep their own; the same id with the same body is the same contract.
    """

    version: str
    timeout: float | None
    request_id: str
    conversation_id: str
    priority: Literal["low", "normal", "high", "critical"]
    fairness_key: str
    labels: Mapping[str, str]
    schedule_to_start: float
    start_to_close: float
    heartbeat: float
    retry: RetryPolicy
    traceparent: str


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


def fill_options(request: Request, options: RequestOptions) -> None:
    """Says what the options say; the deadline is fixed now, once for every resend."""
    request.capability.version = options.get("version", "")
    request.conversation_id = options.get("conversation_id", "")
    request.fairness_key = options.get("fairness_key", "")
    timeout = options.get("timeout")
    if timeout is not None:
        request.deadline.CopyFrom(timestamp_of_seconds(time.time() + timeout))
    if "priority" in options:
        name = f"PRIORITY_{options['priority'].upper()}"
        request.priority = request_pb2.Priority.Value(name)
    for key, value in options.get("labels", {}).items():
        request.labels[key] = value
    if "traceparent" in options:
        request.trace_context.traceparent = options["traceparent"]
    _fill_timeouts(request, options)
    if "retry" in options:
        fill_retry(request.retry_policy, options["retry"])


def _fill_timeouts(request: Request, options: RequestOptions) -> None:
    timeouts = request.timeouts
    if "schedule_to_start" in options:
        timeouts.schedule_to_start.CopyFrom(duration_of_seconds(options["schedule_to_start"]))
    if "start_to_close" in options:
        timeouts.start_to_close.CopyFrom(duration_of_seconds(options["start_to_close"]))
    if "heartbeat" in options:
        timeouts.heartbeat.CopyFrom(duration_of_seconds(options["heartbeat"]))


def fill_retry(policy: policy_pb2.RetryPolicy, retry: RetryPolicy) -> None:
    """Says all that a policy says, defaults included."""
    policy.maximum_attempts = retry.maximum_attempts
    policy.initial_interval.CopyFrom(duration_of_seconds(retry.initial_seconds))
    policy.backoff_coefficient = retry.coefficient
    policy.maximum_interval.CopyFrom(duration_of_seconds(retry.maximum_seconds))
    policy.non_retryable_codes.extend(sorted(retry.non_retryable_codes))


async def output_of(response: Response, blobs: Blobs, returns: Any = None) -> Any:
    """The output, as `returns` where that is given. Raises `ContractFailed` when there is none.

    Raises `ValueError` when the output does not fit `returns`.
    """
    if response.state != CONTRACT_STATE_SUCCEEDED:
        raise contract_failed(response)
    payload = response.payload
    if payload.HasField("json"):
        value = json_value(payload.json)
    else:
        value = value_of(await fetch(payload, blobs))
    return decoded(value, returns)


def decoded(value: Any, returns: Any) -> Any:
    """A value of JSON as an annotated type; as it is where that is None. Raises `ValueError`."""
    return value if returns is None else _codec_of(returns).decode(value)


@functools.lru_cache(maxsize=256)
def _codec_of(annotation: Any) -> Codec:
    return compile_type(annotation, Definitions())


def contract_failed(
    response: Response, kind: type[ContractFailed] = ContractFailed
) -> ContractFailed:
    """The exception that says why a contract has no output."""
    failure = response.failure
    return kind(
        failure.code,
        failure.message,
        contract_id=response.contract_id,
        state=state_name(response.state),
        permanent=failure.permanent,
        details=value_of(content_in(failure.details)),
    )


def state_name(state: ContractState.ValueType) -> str:
    """A contract's state in one word, for example SUCCEEDED."""
    return ContractState.Name(state).removeprefix("CONTRACT_STATE_")
