"""New traces are decided of before anything is made, as the sampler would."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)

from muster.telemetry.roots import Roots

DRAWS = 2_000


def provider_of(sampler: Sampler) -> tuple[Roots, TracerProvider]:
    roots = Roots()
    provider = TracerProvider(sampler=sampler, id_generator=roots, shutdown_on_exit=False)
    roots.follow(provider.sampler)
    return roots, provider


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("parent_based", [True, False])
def test_the_sampler_takes_exactly_what_was_not_skipped(ratio: float, parent_based: bool):
    sampler: Sampler = TraceIdRatioBased(ratio)
    roots, provider = provider_of(ParentBased(sampler) if parent_based else sampler)
    tracer = provider.get_tracer("x")
    taken = [tracer.start_span("x") for _ in range(DRAWS) if not roots.skips()]
    assert all(span.is_recording() for span in taken)
    assert abs(len(taken) / DRAWS - ratio) < 0.06
    assert len({span.get_span_context().trace_id for span in taken}) == len(taken)


def test_a_sampler_that_does_not_go_by_ids_is_asked():
    roots, provider = provider_of(ParentBased(ALWAYS_ON))
    assert not any(roots.skips() for _ in range(100))
    assert provider.get_tracer("x").start_span("x").is_recording()


def test_an_id_that_was_drawn_is_used_once():
    roots, _ = provider_of(TraceIdRatioBased(1.0))
    assert not roots.skips()
    assert roots.generate_trace_id() != roots.generate_trace_id()
