"""Histograms by powers of two."""

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.core import HistogramMetricFamily

from muster.runtime.distribution import COUNT, MICROSECONDS, MILLISECONDS, Distribution


def buckets(family: HistogramMetricFamily) -> dict[str, float]:
    return {x.labels["le"]: x.value for x in family.samples if x.name.endswith("_bucket")}


def sample(family: HistogramMetricFamily, ending: str) -> float:
    return next(x.value for x in family.samples if x.name.endswith(ending))


@example([2_097_150])  # next to a bound with more digits than a float is shown with by default
@given(st.lists(st.integers(-5, 10_000_000)))
def test_every_bucket_holds_what_is_not_above_its_bound(values: list[int]):
    distribution = Distribution(MILLISECONDS)
    distribution.fresh += values
    family = distribution.family("x_seconds", "text")
    clipped = [max(0, value) for value in values]
    for bound, count in buckets(family).items():
        # A whole millisecond stands for all times up to the next.
        assert count == sum(value + 1 <= float(bound) * 1000 + 1e-6 for value in clipped)
    assert sample(family, "_count") == len(values)
    assert abs(sample(family, "_sum") - sum(clipped) / 1000) < 1e-6 * (1 + len(values))


def test_counts_have_whole_bounds():
    distribution = Distribution(COUNT)
    for value in (1, 1, 2, 3, 4, 70_000):
        distribution.add(value)
    found = buckets(distribution.family("x", "text"))
    assert (found["1"], found["3"], found["7"], found["65535"], found["+Inf"]) == (2, 4, 5, 5, 6)


def test_what_is_put_aside_is_counted_once():
    distribution = Distribution(MICROSECONDS)
    distribution.fresh += [1, 100]
    distribution.fold()
    distribution.fold()
    distribution.fresh.append(10**9)  # longer than the last bound
    assert distribution.count == 3
    found = buckets(distribution.family("x_seconds", "text"))
    assert (found["6.4e-05"], found["0.000128"], found["+Inf"]) == (1, 2, 3)
