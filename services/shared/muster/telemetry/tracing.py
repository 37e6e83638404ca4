"""Traces of this process: on or off, decided once when it starts.

tracing = begin("muster-scheduler", "scheduler-1")   # None: off, and nothing was imported
…
end()
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from muster.telemetry.context import SpanRef
from muster.telemetry.wanted import TelemetryInvalid, wanted

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

    from muster.telemetry.exporting import Counts, Export
    from muster.telemetry.roots import Roots

INSTALL = "pip install 'muster-mesh[telemetry]'"
_API = "opentelemetry.trace"


class Tracing:
    """What a process needs to make spans, while traces are on."""

    def __init__(self, provider: TracerProvider, exports: list[Export], roots: Roots) -> None:
        self._provider = provider
        self._exports = exports
        self._roots = roots

    @property
    def counts(self) -> list[Counts]:
        """What became of spans, for each exporter."""
        return [export.counts for export in self._exports]

    @property
    def resource(self) -> Resource:
        """What every span says of the process."""
        return self._provider.resource

    def skips_root(self) -> bool:
        """Whether a span that is about to begin would begin a trace that is not sampled."""
        return not is_under_way() and self._roots.skips()

    def export(self, span: Any) -> None:
        """Hands over a span that has ended (a `ReadableSpan`)."""
        for each in self._exports:
            each.on_end(span)

    def end(self) -> None:
        """Exports what waits, for at most `limits.SPANS_EXIT_SECONDS`. Safe to call twice."""
        exports, self._exports = self._exports, []
        for export in exports:
            export.shutdown()


_tracing: Tracing | None = None


def current() -> Tracing | None:
    """What `begin` has set up in this process."""
    return _tracing


def begin(
    service: str, instance: str, environment: Mapping[str, str] = os.environ
) -> Tracing | None:
    """Sets up traces for the process, once, if its environment asks for them.

    Spans name it as `service` and `instance`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES
    say otherwise. An application that has set OpenTelemetry up by itself is left alone. Raises
    `TelemetryInvalid` where what is asked for is not to be had.
    """
    global _tracing  # noqa: PLW0603 - OpenTelemetry's provider is one for each process, too
    if _tracing is not None:
        return _tracing
    asked = wanted(environment)
    if asked is None or _is_set_up_elsewhere():
        return None
    if not is_installed():
        message = f"OTEL_… asks for traces, and OpenTelemetry is not installed; {INSTALL}"
        raise TelemetryInvalid(message)
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import set_tracer_provider

    from muster.telemetry.exporting import Export, exporters_of
    from muster.telemetry.roots import Roots

    exports = [Export(exporter) for exporter in exporters_of(asked)]
    roots = Roots()
    provider = TracerProvider(
        resource=_resource(service, instance), id_generator=roots, shutdown_on_exit=False
    )
    roots.follow(provider.sampler)
    for export in exports:
        provider.add_span_processor(export)
    set_tracer_provider(provider)
    _tracing = Tracing(provider, exports, roots)
    atexit.register(_tracing.end)
    return _tracing


def end() -> None:
    """Exports what waits, for a bounded time. Safe to call twice, and where traces are off."""
    if _tracing is not None:
        _tracing.end()


def is_installed() -> bool:
    """Whether OpenTelemetry can be imported."""
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def may_be_on(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `begin` or `tracer` may have something to give. Imports nothing."""
    return any(name.startswith("OTEL_") for name in environment) or _is_set_up_elsewhere()


def tracer(scope: str) -> Tracer | None:
    """What makes spans for a part of Muster; None while traces are off.

    On is also a process whose application has set OpenTelemetry up by itself, before this.
    """
    if _tracing is None and not _is_set_up_elsewhere():
        return None
    from opentelemetry.trace import get_tracer

    return get_tracer(scope, version())


def _is_set_up_elsewhere() -> bool:
    api: Any = sys.modules.get(_API)
    return api is not None and not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider)


def is_under_way() -> bool:
    """Whether any span is under way in this task or thread, sampled or not."""
    api: Any = sys.modules.get(_API)
    return api is not None and api.get_current_span() is not api.INVALID_SPAN


def current_span() -> SpanRef | None:
    """The span that runs in this task or thread, if it is sampled. Imports nothing."""
    api: Any = sys.modules.get(_API)
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return SpanRef(context.trace_id, context.span_id, context.trace_state.to_header())


def version() -> str:
    """Muster's."""
    from importlib import metadata  # which takes its time, and while traces are off nobody asks

    return metadata.version("muster-mesh")


def _resource(service: str, instance: str) -> Resource:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = {
        "service.name": service,
        "service.namespace": "muster",
        "service.version": version(),
        "service.instance.id": instance,
    }
    # Of two that say the same, the environment is right; `create` would have it the other way.
    return Resource.create(ours).merge(OTELResourceDetector().detect())
