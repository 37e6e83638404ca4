import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from muster.wire import times


@given(st.integers(-(10**13), 10**13))
def test_milliseconds_survive_both_types(ms: int):
    assert times.ms_of_duration(times.duration_of_ms(ms)) == ms
    assert times.ms_of_timestamp(times.timestamp_of_ms(ms)) == ms


@given(st.floats(-1e9, 1e9))
def test_seconds_survive_to_the_microsecond(seconds: float):
    span = times.duration_of_seconds(seconds)
    assert times.seconds_of_duration(span) == pytest.approx(seconds, abs=1e-6)
    stamp = times.timestamp_of_seconds(seconds)
    assert times.seconds_of_timestamp(stamp) == pytest.approx(seconds, abs=1e-6)


def test_both_parts_of_a_negative_duration_are_negative():
    assert times.duration_of_seconds(-1.5) == Duration(seconds=-1, nanos=-500_000_000)


def test_the_nanos_of_a_timestamp_before_1970_are_positive():
    assert times.timestamp_of_ms(-1) == Timestamp(seconds=-1, nanos=999_000_000)


@pytest.mark.parametrize("seconds", [float("inf"), 1e300])
def test_for_ever_becomes_the_longest_duration(seconds: float):
    assert times.duration_of_seconds(seconds).seconds == 315_576_000_000
