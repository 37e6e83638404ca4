"""What OpenTelemetry's variables ask for. Pure.

Traces are off unless an exporter or an endpoint is named: a mesh that was told nothing tells nobody
anything. Everything else that the variables can say (endpoint, headers, timeouts, queue sizes,
sampler, resource attributes, propagators) is read by OpenTelemetry itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS = ("otlp", "console")
GRPC, HTTP = "grpc", "http/protobuf"


class TelemetryInvalid(ValueError):
    """What the variables ask for is not to be had; the message tells a person what to change."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where traces are to go."""

    exporters: tuple[str, ...]  # "otlp", "console"
    protocol: str = GRPC  # of OTLP


def wanted(environment: Mapping[str, str]) -> Wanted | None:
    """What is asked for; None: no traces. Raises `TelemetryInvalid`."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    named = environment.get("OTEL_TRACES_EXPORTER", "")
    exporters = tuple(dict.fromkeys(each.strip() for each in named.split(",") if each.strip()))
    if not exporters and any(environment.get(name) for name in _ENDPOINTS):
        exporters = ("otlp",)
    if not exporters or exporters == ("none",):
        return None
    unknown = [each for each in exporters if each not in _EXPORTERS]
    if unknown:
        message = f"OTEL_TRACES_EXPORTER: {unknown[0]!r} is not one of otlp, console, none"
        raise TelemetryInvalid(message)
    return Wanted(exporters, _protocol(environment))


def _protocol(environment: Mapping[str, str]) -> str:
    for name in _PROTOCOLS:
        value = environment.get(name, "").strip()
        if value in (GRPC, HTTP):
            return value
        if value:
            message = f"{name}: {value!r} is not served; there are {GRPC} and {HTTP}"
            raise TelemetryInvalid(message)
    return GRPC
