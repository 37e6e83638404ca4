"""Requests and sessions from the wire, as the core wants them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import lru_cache
from sys import intern

from muster.model import limits
from muster.model.errors import InvalidArgument, Unimplemented, Violation
from muster.model.ids import parse_id
from muster.model.retry import DEFAULT_RETRY, RetryPolicy
from muster.model.versions import Version, parse_version
from muster.scheduler.core_sessions import AgentInfo, Held
from muster.scheduler.records import Asked, Contract, Given, Now
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.policy_pb2 import RetryPolicy as RetryPolicyMessage
from muster.v1.question_pb2 import Answer, Question
from muster.v1.request_pb2 import PARENT_CLOSE_POLICY_ABANDON, PRIORITY_NORMAL, Request
from muster.v1.session_pb2 import HeldLease
from muster.wire.times import ms_of_timestamp, seconds_of_duration

_DEADLINE_DEFAULT_MS = int(limits.DEADLINE_DEFAULT_SECONDS * 1000)


def body_sha256(request: Request) -> tuple[bytes, bytes]:
    """The digest that tells whether a resend is the same request, and the serialized request.

    Trace context is left out, for every try has its own; so are a keyed child's parent epoch and
    deadline, for the next attempt of its parent has others.
    """
    body = request.SerializeToString(deterministic=True)
    if not request.HasField("trace_context") and not request.HasField("parent"):
        return hashlib.sha256(body).digest(), body
    same = Request()
    same.CopyFrom(request)
    same.ClearField("trace_context")
    if same.parent.HasField("key"):
        same.parent.ClearField("epoch")
        same.ClearField("deadline")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).digest(), body


def refuse_unserved(request: Request) -> None:
    """Raise for what is defined on the wire and comes with a later version."""
    later = {
        "not_before": request.HasField("not_before"),
        "placement": request.HasField("placement"),
        "budget": request.HasField("budget"),
        "callbacks": bool(request.callbacks),
    }
    for name, is_set in later.items():
        if is_set:
            raise Unimplemented(f"request.{name} is not served yet; leave it out")


def child_request_id(request: Request) -> str:
    """The id that the mesh gives to a child; unique, because clients' ids have no "/"."""
    parent = request.parent
    if parent.HasField("key"):
        return f"{parent.contract_id}/{parent.key}"
    return f"{parent.contract_id}/{parent.epoch}/{parent.ordinal}"


def contract_of_plain(
    request: Request, tenant: str, principal: str, selector: str, wall_ms: int
) -> Contract:
    """What `contract_of` makes of a plain request (see `muster.scheduler.plain_requests`)."""
    if request.HasField("trace_context"):
        sha256, body = body_sha256(request)
    else:
        body = request.SerializeToString(deterministic=True)
        sha256 = hashlib.sha256(body).digest()
    deadline_ms = wall_ms + _DEADLINE_DEFAULT_MS
    if request.HasField("deadline"):
        deadline_ms = _deadline_ms(request, wall_ms, None)
    return Contract(
        tenant,
        principal,
        request.request_id,
        sha256,
        request.capability.name,
        selector,
        PRIORITY_NORMAL,
        principal,
        deadline_ms,
        0.0,
        limits.START_TO_CLOSE_DEFAULT_SECONDS,
        0.0,
        request,
        body,
        len(body),
        DEFAULT_RETRY,
        request.conversation_id,
    )


def contract_of(
    request: Request,
    tenant: str,
    principal: str,
    selector: str,
    wall_ms: int,
    parent: Contract | None,
) -> Contract:
    """A validated request in plain values, with the mesh's defaults and what children inherit."""
    sha256, body = body_sha256(request)
    is_child = request.HasField("parent")
    timeouts = request.timeouts
    start_to_close = seconds_of_duration(timeouts.start_to_close)
    return Contract(
        tenant=tenant,
        principal=parent.principal if parent is not None else principal,
        request_id=child_request_id(request) if is_child else request.request_id,
        body_sha256=sha256,
        capability=request.capability.name,
        selector=selector,
        band=request.priority or (parent.band if parent is not None else PRIORITY_NORMAL),
        share=request.fairness_key or (parent.share if parent is not None else principal),
        deadline_ms=_deadline_ms(request, wall_ms, parent),
        schedule_to_start=seconds_of_duration(timeouts.schedule_to_start),
        start_to_close=start_to_close or limits.START_TO_CLOSE_DEFAULT_SECONDS,
        heartbeat=seconds_of_duration(timeouts.heartbeat),
        body=request,
        body_bytes=body,
        size=len(body),
        retry=_retry(request.retry_policy) if request.HasField("retry_policy") else DEFAULT_RETRY,
        conversation=request.conversation_id or (parent.conversation if parent else ""),
        parent_id=parse_id(request.parent.contract_id) if is_child else 0,
        parent_epoch=request.parent.epoch if is_child else 0,
        keyed=request.parent.HasField("key") if is_child else True,
        abandoned_on_close=(
            is_child and request.parent.on_parent_close == PARENT_CLOSE_POLICY_ABANDON
        ),
    )


def _deadline_ms(request: Request, wall_ms: int, parent: Contract | None) -> int:
    latest = wall_ms + int(limits.DEADLINE_MAX_SECONDS * 1000)
    if not request.HasField("deadline"):
        if parent is not None:
            return parent.deadline_ms
        return wall_ms + _DEADLINE_DEFAULT_MS
    deadline_ms = ms_of_timestamp(request.deadline)
    if deadline_ms > latest:
        days = int(limits.DEADLINE_MAX_SECONDS // 86400)
        message = f"must be at most {days} days ahead"
        raise InvalidArgument(
            f"request.deadline: {message}", violations=[Violation("request.deadline", message)]
        )
    return min(deadline_ms, parent.deadline_ms) if parent is not None else deadline_ms


def _retry(policy: RetryPolicyMessage) -> RetryPolicy:
    default = DEFAULT_RETRY
    first, most = policy.initial_interval, policy.maximum_interval
    has_first, has_most = policy.HasField("initial_interval"), policy.HasField("maximum_interval")
    return RetryPolicy(
        maximum_attempts=policy.maximum_attempts or default.maximum_attempts,
        initial_seconds=seconds_of_duration(first) if has_first else default.initial_seconds,
        coefficient=policy.backoff_coefficient or default.coefficient,
        maximum_seconds=seconds_of_duration(most) if has_most else default.maximum_seconds,
        non_retryable_codes=frozenset(policy.non_retryable_codes),
    )


def asked_of(question: Question, epoch: int, agent: str, asked_ms: int, now: Now) -> Asked:
    """A question that an attempt ends with, or ended with before a restart."""
    deadline_ms = ms_of_timestamp(question.deadline) if question.HasField("deadline") else 0
    return Asked(
        question.id,
        epoch,
        agent,
        asked_ms,
        deadline_ms,
        now.mono + (deadline_ms - now.wall_ms) / 1000 if deadline_ms else math.inf,
        question.default_answer if question.HasField("default_answer") else None,
        question,
        question.ByteSize(),
    )


def given_of(answer: Answer) -> Given:
    """An answer that the ledger has."""
    answered_ms = ms_of_timestamp(answer.answer_time)
    value = answer.value
    return Given(answer.question_id, value, answer.principal, answered_ms, value.ByteSize())


def agent_info(spec: AgentSpec) -> AgentInfo:
    """An agent as placement needs it."""
    offers = _offers(tuple((each.name, each.version) for each in spec.capabilities))
    return AgentInfo(spec.name, intern(spec.kind), spec.max_in_flight or 1, offers)


@lru_cache(limits.SPECS_SHARED_MAX)
def _offers(named: tuple[tuple[str, str], ...]) -> dict[str, list[Version]]:
    """Versions by capability; one object for all agents that offer the same."""
    offers: dict[str, list[Version]] = {}
    for capability, version in named:
        offers.setdefault(capability, []).append(parse_version(version))
    return offers


def held_leases(held: Iterable[HeldLease]) -> list[Held]:
    """What a host says it holds; malformed ids are left out, so they get no verdict but DROP."""
    leases = []
    for lease in held:
        try:
            number = parse_id(lease.key.contract_id)
        except ValueError:
            continue
        leases.append(Held(number, lease.key.epoch, lease.agent, lease.state))
    return leases


def id_of(text: str) -> int:
    """A contract id that validation has let through; 0, which is no contract's, otherwise."""
    try:
        return parse_id(text)
    except ValueError:
        return 0
