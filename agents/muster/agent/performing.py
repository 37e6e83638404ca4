"""Runs a capability's function on its input: the part that is the same wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, Protocol

from muster.agent.capability import Capability
from muster.agent.context import AsyncPort, Context, Facts, SyncContext, SyncPort
from muster.agent.failures import (
    AGENT_ERROR,
    CHILD_FAILED,
    AttemptCancelled,
    ChildFailed,
    Failed,
)
from muster.agent.values import Content, arguments_of, output_content
from muster.model.errors import Code, MusterError


def perform_sync(capability: Capability, content: Content, facts: Facts, port: SyncPort) -> Content:
    """Runs a sync function to its end; raises whatever it raises."""
    if facts.traceparent:
        from muster.agent.spans import of_worker

        spans = of_worker()
        if spans is not None:
            with spans.run(facts, failed_of):
                return _perform_sync(capability, content, facts, port)
    return _perform_sync(capability, content, facts, port)


def _perform_sync(
    capability: Capability, content: Content, facts: Facts, port: SyncPort
) -> Content:
    arguments = arguments_of(capability, content)
    if capability.context_parameter:
        arguments[capability.context_parameter] = SyncContext(facts, port)
    value = capability.function(**arguments)
    if capability.is_generator:
        value = _exhaust(capability, value, port)
    return output_content(capability, value)


def _exhaust(capability: Capability, parts: Generator[Any, None, Any], port: SyncPort) -> Any:
    yielded = []
    try:
        while True:
            part = next(parts)
            port.output(part)
            if capability.returns_array:
                yielded.append(part)
    except StopIteration as end:
        return yielded if capability.returns_array else end.value
    finally:
        parts.close()


class AsyncJob(Protocol):
    """An attempt at an async capability, as far as running it goes."""

    @property
    def capability(self) -> Capability: ...

    @property
    def facts(self) -> Facts: ...

    @property
    def port(self) -> AsyncPort: ...

    def started(self) -> None:
        """Its code begins to run."""


async def perform_async(job: AsyncJob, content: Content) -> Content:
    """Runs an async function to its end; raises whatever it raises."""
    capability = job.capability
    arguments = arguments_of(capability, content)
    if capability.context_parameter:
        arguments[capability.context_parameter] = Context(job.facts, job.port)
    job.started()
    if capability.is_generator:
        value = await _exhaust_async(capability.function(**arguments), job.port)
    else:
        value = await capability.function(**arguments)
    return output_content(capability, value)


async def _exhaust_async(parts: AsyncGenerator[Any, None], port: AsyncPort) -> list[Any]:
    yielded = []
    try:
        async for part in parts:
            await port.output(part)
            yielded.append(part)
    finally:
        await parts.aclose()
    return yielded


def failed_of(error: BaseException) -> Failed:
    """How an attempt fails whose code raised this."""
    match error:
        case Failed():
            return error
        case ChildFailed():
            what = f"child {error.contract_id} ended as {error.state}: {error}"
            return Failed(CHILD_FAILED, what, permanent=error.permanent or bool(error.key))
        case AttemptCancelled():
            return Failed("CANCELLED", "it stopped when it was told to")
        case MusterError():
            permanent = error.code is Code.INVALID_ARGUMENT
            return Failed(error.reason or AGENT_ERROR, error.message, permanent=permanent)
        case SystemExit():
            return Failed(AGENT_ERROR, f"it called exit({error.code!r})")
    if type(error).__name__ == "CancelledError":  # a worker process need not load asyncio for it
        return Failed(AGENT_ERROR, "it cancelled itself")
    # An OSError's own text names the file.
    said = error.strerror if isinstance(error, OSError) else str(error)
    text = " ".join((said or "").split())
    return Failed(AGENT_ERROR, f"{type(error).__name__}: {text}" if text else type(error).__name__)
