"""The one server interceptor: principal, limits, parsing, validation, errors and metrics.

grpc.aio turns every exception into UNKNOWN with the exception's text, the request parser's own
included, and sends no status at all after a CancelledError that nobody asked for. So handlers are
given raw bytes to parse here, and everything they raise becomes a status here:

    no or bad credentials    UNAUTHENTICATED, but for what the protos leave open
    a role of no use here    PERMISSION_DENIED
    MusterError              its code, with google.rpc.Status in the trailers
    unparseable request      INVALID_ARGUMENT, MALFORMED_MESSAGE
    a rule of the proto      INVALID_ARGUMENT, INVALID_FIELD (unary requests; streams check items)
    the caller went away     passes
    anything else            INTERNAL with a number to search the logs for

Handlers with streaming responses must give async generators.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, TypeAlias

import grpc

from muster.model import limits
from muster.model.errors import (
    InvalidArgument,
    MusterError,
    NotAllowed,
    ResourceExhausted,
    Unavailable,
)
from muster.runtime.health import Condition, Health
from muster.runtime.identity.callers import Identify, by_metadata
from muster.runtime.lifetime import Owned
from muster.runtime.logs import bind, get_logger
from muster.runtime.metrics import CallMetrics
from muster.runtime.permissions import request_fields, roles_of_method
from muster.runtime.principal import ROLE_NAMES, set_current_principal
from muster.runtime.validation import check
from muster.wire.errors import DETAILS_TRAILER, GRPC_CODES, status_of

_Context = grpc.aio.ServicerContext[Any, Any]
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# Callers pause for at least 0.16 s before they call again, so within 0.1 s it does become quiet.
_QUIET_SECONDS = 0.02
_QUIET_TRIES_MAX = 5

_log = get_logger("muster.runtime")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Give it to `grpc.aio.server`; one for each server."""

    def __init__(
        self, health: Health, metrics: CallMetrics, unary_calls_max: int, streams_max: int
    ) -> None:
        # Who calls. To be set before the server starts, where it is not by metadata.
        self.identify: Identify = by_metadata
        self._health = health
        self._metrics = metrics
        self._unary = _Room(unary_calls_max)
        self._streams = _Room(streams_max)
        self._methods: dict[str, _Handler] = {}
        self._stream_tasks: set[asyncio.Task[Any]] = set()
        self._ending = False
        self._arrived = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """The guarded handler of the method; gRPC answers UNIMPLEMENTED where there is none."""
        name = handler_call_details.method
        guarded = self._methods.get(name)
        if guarded is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            guarded = self._methods[name] = _Method(self, name, handler).as_handler()
        return guarded

    async def end(self) -> None:
        """Ends the streams that are still open with UNAVAILABLE, and refuses new calls with it.

        Returns when nobody calls any more, or soon after: gRPC answers calls that reach a stopping
        server with CANCELLED, which tells a caller nothing, so they had better be told before.
        """
        self._ending = True
        for task in self._stream_tasks:
            task.cancel()
        for _ in range(_QUIET_TRIES_MAX):
            arrived = self._arrived
            await asyncio.sleep(_QUIET_SECONDS)
            if self._arrived == arrived:
                return

    @property
    def is_ending(self) -> bool:
        """Whether streams are being ended."""
        return self._ending

    def admit(self, service: str, streaming: bool) -> None:
        """Raises what a call to `service` must be refused with now, or else counts it as open."""
        self._arrived += 1
        condition = self._health.condition(service)
        if condition is Condition.STARTING:
            raise Unavailable("the service is starting")
        if self._ending or (streaming and condition is Condition.DRAINING):
            raise Unavailable("the service is going away; connect again")
        # Probes get through whatever the load is.
        (self._streams if streaming else self._unary).enter(must=condition is None)
        if streaming:
            self._stream_tasks.add(_this_task())

    def release(self, streaming: bool) -> None:
        """Counts an admitted call as over."""
        (self._streams if streaming else self._unary).open -= 1
        if streaming:
            self._stream_tasks.discard(_this_task())

    def metrics_of(self, method: str) -> Any:
        """The metrics of one method."""
        return self._metrics.of(method)


class _Room:
    """How many calls of a kind are open, and how many may be."""

    __slots__ = ("_max", "open")

    def __init__(self, open_max: int) -> None:
        self._max = open_max
        self.open = 0

    def enter(self, *, must: bool) -> None:
        if self.open >= self._max and not must:
            raise ResourceExhausted(f"{self._max} calls of this kind are open already")
        self.open += 1


class _Method:
    """One method of a service, as gRPC calls it."""

    def __init__(self, owner: CallInterceptor, name: str, handler: _Handler) -> None:
        self.owner = owner
        self.name = name
        self.service = name[1:].partition("/")[0]
        self.metrics = owner.metrics_of(name)
        self._roles = roles_of_method(name)
        self._has_rules = name.startswith("/muster.")
        self._names_contract = "contract_id" in request_fields(name)
        self.takes_stream = handler.request_streaming
        self.gives_stream = handler.response_streaming
        self.is_stream = self.takes_stream or self.gives_stream
        self._parse = handler.request_deserializer
        self._serialize = handler.response_serializer
        self._run: Any = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )

    def as_handler(self) -> _Handler:
        """A handler that takes and gives bytes."""
        if self.gives_stream:
            streaming: Any = self.answer_many
            if self.takes_stream:
                return grpc.stream_stream_rpc_method_handler(streaming)
            return grpc.unary_stream_rpc_method_handler(streaming)
        single: Any = self.answer_once
        if self.takes_stream:
            return grpc.stream_unary_rpc_method_handler(single)
        return grpc.unary_unary_rpc_method_handler(single)

    def authorize(self, context: _Context) -> None:
        """Finds out who calls; raises what it must be refused with for that."""
        roles = self._roles
        if roles is None:
            return
        principal = self.owner.identify(context)
        if roles.isdisjoint(principal.roles):
            allowed = " or ".join(sorted(ROLE_NAMES[role] for role in roles)) or "nobody"
            raise NotAllowed(f"this call is for the role {allowed}")
        set_current_principal(principal)

    # gRPC keeps the error that a call was aborted with, and that the frames that it went through,
    # until the garbage collector comes round. So these hold on to no message.

    async def answer_once(self, request: Any, context: _Context) -> bytes:
        async with _Call(self, context) as call:
            try:
                call.begin()
                answer = self._run(self._request(request), context)
            finally:
                del request
            return self._encode(await answer)

    async def answer_many(self, request: Any, context: _Context) -> None:
        # It writes instead of yielding, so that a stream that is ended while it writes ends here.
        async with _Call(self, context) as call:
            try:
                call.begin()
                run = self._run(self._request(request), context)
            finally:
                del request
            async with aclosing(run) as answers:
                has_headers = False
                async for answer in answers:
                    try:
                        if not has_headers:
                            await _send_headers(context)
                            has_headers = True
                        await context.write(self._encode(answer))
                    except grpc.aio.InternalError:
                        # The caller has gone, and gRPC had not noticed before.
                        call.code = "CANCELLED"
                        return
                    del answer

    def _request(self, request: Any) -> Any:
        if self.takes_stream:
            return self._decode_each(request)
        message = self._decode(request)
        if self._has_rules:
            check(message)
        if self._names_contract and message.contract_id:
            bind(contract_id=message.contract_id)  # for the lines of this call
        return message

    async def _decode_each(self, raw: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for each in raw:
            yield self._decode(each)

    def _decode(self, raw: bytes) -> Any:
        if self._parse is None:
            return raw
        try:
            return self._parse(raw)
        except Exception:  # noqa: BLE001 - whatever a parser finds, the sender is to blame
            raise InvalidArgument(
                "the message could not be parsed", reason="MALFORMED_MESSAGE"
            ) from None

    def _encode(self, answer: Any) -> bytes:
        raw: bytes = answer if self._serialize is None else self._serialize(answer)
        if len(raw) > limits.MESSAGE_BYTES_MAX:
            raise ResourceExhausted(
                f"the answer has {len(raw)} bytes, and {limits.MESSAGE_BYTES_MAX} are allowed; "
                "ask for less at a time",
                reason="MESSAGE_TOO_LARGE",
            )
        return raw


class _Call:
    """One call; whatever ends it ends it here."""

    __slots__ = ("_admitted", "_context", "_method", "_started", "code")

    def __init__(self, method: _Method, context: _Context) -> None:
        self._method = method
        self._context = context
        self._admitted = False
        self.code = "OK"
        self._started = time.perf_counter()

    async def __aenter__(self) -> _Call:
        self._method.metrics.begin()
        return self

    def begin(self) -> None:
        """Finds out who calls, and raises what the call must be refused with."""
        self._method.authorize(self._context)
        self._method.owner.admit(self._method.service, self._method.is_stream)
        self._admitted = True

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del traceback
        try:
            if error is not None:
                self.code = "CANCELLED"
                refusal = self._refusal(error)
                if refusal is not None:
                    self.code = refusal.code.name
                    error.__traceback__ = None
                    await self._abort(refusal)
        finally:
            if self._admitted:
                self._method.owner.release(self._method.is_stream)
            seconds = None if self._method.is_stream else time.perf_counter() - self._started
            self._method.metrics.end(self.code, seconds)

    def _refusal(self, error: BaseException) -> MusterError | None:
        """What to tell the caller; None when the error is gRPC's own business."""
        if isinstance(error, MusterError):
            return error
        if isinstance(error, asyncio.CancelledError):
            task = _this_task()
            if self._method.is_stream and self._method.owner.is_ending and task.cancelling():
                task.uncancel()
                return Unavailable("the service is going away; connect again")
            if task.cancelling():
                return None
        elif isinstance(error, grpc.aio.BaseError) or not isinstance(error, Exception):
            # The handler has aborted by itself, or its caller has gone while it wrote.
            return None
        number = secrets.token_hex(4)
        _log.error("a call failed", number=number, method=self._method.name, exc_info=error)
        return MusterError(f"internal error; search the logs for {number}")

    async def _abort(self, refusal: MusterError) -> None:
        status = status_of(refusal)
        trailers = ((DETAILS_TRAILER, status.SerializeToString()),)
        try:
            await self._context.abort(GRPC_CODES[refusal.code], status.message, trailers)
        except grpc.aio.InternalError:
            # The caller has gone meanwhile, which may be long: it read nothing.
            raise asyncio.CancelledError from None


async def _send_headers(context: _Context) -> None:
    """Headers go first, and nothing interrupts them. A first write would take them along; where it
    was cancelled gRPC did not know that they were sent, failed to send them again with the status,
    and the caller waited for ever."""
    headers = Owned(context.send_initial_metadata(()), "headers")
    try:
        await headers.wait()
    except asyncio.CancelledError:
        with suppress(grpc.aio.BaseError):
            await headers.wait()
        raise


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
