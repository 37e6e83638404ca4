from hypothesis import given
from hypothesis import strategies as st

from muster.audit.monitoring import Event, TimelinesResult, percentile, statistics, timelines
from muster.audit.report_shapes import RunStatistics


def event(
    contract: str, name: str, time_ms: float, epoch: int = 1, kind: str = "analysis"
) -> Event:
    return {
        "contract_id": contract,
        "capability": f"audit.{kind}",
        "kind": kind,
        "type": name,
        "time_ms": time_ms,
        "epoch": epoch,
    }


def story(contract: str, *, start: float = 0, took: float = 100, kind: str = "analysis"):
    return [
        event(contract, "QUEUED", start, 0, kind),
        event(contract, "LEASED", start + 10, 1, kind),
        event(contract, "RUNNING", start + 20, 1, kind),
        event(contract, "SUCCEEDED", start + took, 1, kind),
    ]


def statistics_of(events: list[Event]) -> RunStatistics:
    return statistics(timelines({"events": events}))


events = st.lists(
    st.builds(
        event,
        st.sampled_from("abc"),
        st.sampled_from(
            "QUEUED LEASED RUNNING SUCCEEDED FAILED ATTEMPT_LOST ATTEMPT_FAILED PARKED x".split()
        ),
        st.integers(0, 1000).map(float),
        st.integers(0, 3),
    ),
    max_size=20,
)


@given(events, st.lists(st.integers(0, 2), min_size=20, max_size=20), st.randoms())
def test_neither_order_nor_repetition_nor_sharing_of_events_matters(found, shares, random):
    expected = statistics_of(found)
    again = [*found, *found[:5]]
    random.shuffle(again)
    parts = [
        timelines({"events": [e for e, s in zip(again, shares * 2, strict=False) if s == share]})
        for share in range(3)
    ]
    united: TimelinesResult = {
        "timelines": [timeline for part in parts for timeline in part["timelines"]]
    }
    assert statistics(united) == expected
    assert expected["attempts"] >= expected["retries"] >= 0
    assert sum(expected["states"].values()) == expected["contracts"]


def test_a_contract_has_latency_queue_and_run_times():
    (workload,) = statistics_of(story("a"))["capabilities"]
    assert workload["capability"] == "audit.analysis"
    assert workload["latency"]["p50"] == 100
    assert workload["queue"]["p50"] == 10
    assert workload["run"]["p50"] == 80
    assert (workload["attempts"], workload["retries"], workload["lost_attempts"]) == (1, 0, 0)


def test_an_attempt_that_another_followed_without_a_report_was_lost():
    found = statistics_of(
        [
            event("a", "QUEUED", 0, 0),
            event("a", "LEASED", 1, 1),
            event("a", "LEASED", 50, 2),
            event("a", "RUNNING", 51, 2),
            event("a", "SUCCEEDED", 60, 2),
        ]
    )
    assert (found["attempts"], found["retries"], found["lost_attempts"]) == (2, 1, 1)


def test_an_attempt_that_failed_was_not_lost():
    found = statistics_of(
        [
            event("a", "LEASED", 1, 1),
            event("a", "ATTEMPT_FAILED", 40, 1),
            event("a", "LEASED", 50, 2),
            event("a", "FAILED", 60, 2),
        ]
    )
    assert (found["retries"], found["lost_attempts"]) == (1, 0)
    assert found["states"] == {"FAILED": 1}


def test_a_lost_attempt_counts_although_no_other_followed():
    found = statistics_of([event("a", "LEASED", 1, 1), event("a", "ATTEMPT_LOST", 40, 1)])
    assert (found["lost_attempts"], found["unfinished"]) == (1, 1)


def test_a_contract_much_slower_than_its_like_is_a_straggler():
    found = [e for n in range(9) for e in story(f"c{n}", start=n * 10)]
    slow = statistics_of([*found, *story("slow", took=1000)])
    assert slow["straggler_count"] == 1
    assert slow["stragglers"][0]["contract_id"] == "slow"
    assert slow["stragglers"][0]["ratio"] == 10.0
    assert statistics_of([*found, *story("slower", took=310)])["stragglers"] == []


def test_a_few_contracts_are_too_few_to_have_stragglers():
    found = [e for n in range(3) for e in story(f"c{n}")]
    assert statistics_of([*found, *story("slow", took=9000)])["stragglers"] == []


def test_throughput_counts_every_ended_contract_in_its_kind():
    found = [e for n in range(50) for e in story(f"a{n}", start=n * 37)]
    found += [e for n in range(20) for e in story(f"r{n}", start=n * 90, kind="research")]
    throughput = statistics_of(found)["throughput"]
    assert {kind: sum(ended) for kind, ended in throughput["kinds"].items()} == {
        "analysis": 50,
        "research": 20,
    }
    assert len({len(ended) for ended in throughput["kinds"].values()}) == 1


def test_nothing_seen_is_a_quiet_run():
    found = statistics({"timelines": []})
    assert (found["contracts"], found["latency"]["count"], found["wall_ms"]) == (0, 0, 0)
    assert found["throughput"]["kinds"] == {}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_sample_that_enough_samples_do_not_exceed(samples, percent):
    ordered = sorted(samples)
    found = percentile(ordered, percent)
    at_most = sum(1 for sample in ordered if round(sample, 3) <= found)
    assert at_most * 100 >= percent * len(ordered)
    assert found in [round(sample, 3) for sample in ordered]
