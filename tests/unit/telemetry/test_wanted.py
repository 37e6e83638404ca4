"""What OpenTelemetry's variables ask for."""

import pytest

from muster.telemetry.wanted import GRPC, HTTP, TelemetryInvalid, Wanted, wanted

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}, None),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:4317"}, None),
        (ENDPOINT, Wanted(("otlp",), GRPC)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:1"}, Wanted(("otlp",), GRPC)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, Wanted(("otlp",), GRPC)),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, Wanted(("console", "otlp"), GRPC)),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, None),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, None),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, Wanted(("otlp",), GRPC)),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": HTTP}, Wanted(("otlp",), HTTP)),
        (
            ENDPOINT
            | {
                "OTEL_EXPORTER_OTLP_PROTOCOL": HTTP,
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": GRPC,
            },
            Wanted(("otlp",), GRPC),
        ),
    ],
)
def test_traces_are_on_where_something_says_where_to(
    environment: dict[str, str], expected: Wanted | None
):
    assert wanted(environment) == expected


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: 'zipkin'"),
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not served; there are grpc",
        ),
    ],
)
def test_what_is_not_to_be_had_is_named(environment: dict[str, str], named: str):
    with pytest.raises(TelemetryInvalid, match=named):
        wanted(environment)
