"""What is noted of contracts once their changes are committed: durations, and spans."""

from __future__ import annotations

import io
import json
from typing import Any

from muster.model import limits
from muster.model.states import ContractState, Outcome
from muster.runtime.logs import configure_logs
from muster.scheduler.effects import Change
from muster.scheduler.observing import Observer
from muster.scheduler.records import Contract
from muster.scheduler.spans import ContractSpans, inherit, name_attempt
from muster.telemetry.context import (
    SpanRef,
    attempt_span,
    contract_span,
    queue_span,
    sampled,
    traceparent_of,
)
from muster.v1.request_pb2 import Request, TraceContext
from tests.unit.scheduler.worlds import WALL_MS, World

ASKING = SpanRef(5, 6)
NS = 1_000_000


class Kept:
    """Stands where spans are handed over."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []

    def add(self, name: str, span: SpanRef, parent: SpanRef, **said: Any) -> None:
        self.spans.append({"name": name, "span": span, "parent": parent, **said})

    def named(self, name: str) -> list[dict[str, Any]]:
        return [each for each in self.spans if each["name"].startswith(name)]


def observed(world: World, *withdrawn: int) -> tuple[Observer, Kept]:
    """All that has happened, as if it were committed now."""
    kept = Kept()
    observer = Observer(ContractSpans(kept))  # type: ignore[arg-type]
    world.effects()
    changes = [each for each in world.log if isinstance(each, Change)]
    observer.committed(changes, set(withdrawn))
    return observer, kept


def traced(span: SpanRef = ASKING) -> Request:
    request = Request()
    request.trace_context.traceparent = traceparent_of(span)
    return request


def test_a_contracts_wait_and_attempt_are_told_at_its_end_by_the_records_times() -> None:
    world = World()
    contract = world.submit(body=traced())
    world.seconds += 2
    world.host()
    [(_, lease)] = world.plan()
    world.seconds += 3
    world.report(contract, lease)
    observer, kept = observed(world)
    whole = contract_span(ASKING, contract.name)
    (life,), (wait,), (attempt,) = (kept.named(x) for x in ("contract", "queue", "attempt"))
    assert (life["span"], life["parent"]) == (whole, ASKING)
    assert wait["span"] == queue_span(whole, contract.name, lease.epoch)
    assert attempt["span"] == attempt_span(whole, contract.name, lease.epoch)
    assert wait["parent"] == attempt["parent"] == whole
    assert (life["start_ns"], life["end_ns"]) == (WALL_MS * NS, (WALL_MS + 5001) * NS - 1)
    assert (wait["start_ns"], wait["end_ns"]) == (WALL_MS * NS, (WALL_MS + 2001) * NS - 1)
    assert attempt["start_ns"] == (WALL_MS + 2000) * NS
    assert (life["error"], attempt["error"]) == ("", "")
    assert observer.states == {ContractState.SUCCEEDED: 1}
    assert observer.outcomes == {Outcome.SUCCEEDED: 1}
    assert (observer.lives.count, observer.waits.count, observer.tries.count) == (1, 1, 1)


def test_a_retry_has_a_wait_of_its_own_without_the_pause_before_it() -> None:
    world = World()
    world.host(agents=["a1", "a2"])
    contract = world.submit(body=traced())
    [(_, first)] = world.plan()
    world.seconds += 1
    world.fail(contract, first)
    ended_ms = world.now.wall_ms
    pause_ms = contract.queued_ms - ended_ms
    assert pause_ms > 0
    world.pass_time(pause_ms / 1000 + 2)
    [(_, second)] = world.plan()
    world.report(contract, second)
    _, kept = observed(world)
    waits = kept.named("queue")
    assert waits[1]["start_ns"] == (ended_ms + pause_ms) * NS
    errors = [each["error"] for each in kept.named("attempt")]
    assert errors == ["AGENT_ERROR", ""]


def test_a_contract_that_ends_in_the_queue_has_waited_all_its_life() -> None:
    world = World()
    contract = world.submit(body=traced())
    world.seconds += 4
    world.core.cancel(world.now, contract.id, "default", "enough")
    observer, kept = observed(world)
    (wait,), (life,) = kept.named("queue"), kept.named("contract")
    assert wait["end_ns"] == life["end_ns"] == (WALL_MS + 4001) * NS - 1
    assert life["error"] == "", "a cancel is no error"
    assert life["attributes"]["muster.code"] == "CANCELLED"
    assert not kept.named("attempt")
    assert observer.states == {ContractState.CANCELLED: 1}


def test_what_nobody_traces_or_the_ledger_did_not_take_has_no_span() -> None:
    world = World()
    world.host(window=3)
    unsampled = Request()
    unsampled.trace_context.traceparent = traceparent_of(ASKING)[:-2] + "00"
    contracts = [
        world.submit("r1", body=Request()),
        world.submit("r2", body=unsampled),
        world.submit("r3", body=traced()),
    ]
    for contract, lease in world.plan():
        world.report(contract, lease)
    observer, kept = observed(world, contracts[2].id)
    assert kept.spans == []
    assert observer.lives.count == 2


def test_an_assignment_names_its_attempt() -> None:
    context = TraceContext(traceparent=traceparent_of(ASKING), tracestate="vendor=1")
    name_attempt(context, "c1", 7)
    span = sampled(context.traceparent, context.tracestate)
    asking = ASKING._replace(state="vendor=1")
    assert span == attempt_span(contract_span(asking, "c1"), "c1", 7)


def test_what_is_not_sampled_passes_through_an_assignment() -> None:
    header = traceparent_of(ASKING)[:-2] + "00"
    context = TraceContext(traceparent=header)
    name_attempt(context, "c1", 7)
    assert context.traceparent == header


def parent_of(body: Request) -> Contract:
    return World().submit(body=body)


def test_a_child_that_says_nothing_belongs_to_its_parents_attempt() -> None:
    parent, child = parent_of(traced()), Request()
    child.parent.epoch = 3
    inherit(child, parent, traced=True)
    attempt = attempt_span(contract_span(ASKING, parent.name), parent.name, 3)
    assert child.trace_context.traceparent == traceparent_of(attempt)
    untold = Request()
    inherit(untold, parent, traced=False)
    assert untold.trace_context.traceparent == traceparent_of(ASKING), "attempts have no spans"


def test_a_child_that_says_something_keeps_it() -> None:
    own = SpanRef(8, 9)
    child = traced(own)
    inherit(child, parent_of(traced()), traced=True)
    assert child.trace_context.traceparent == traceparent_of(own)
    for parent in (None, parent_of(Request())):
        untraced = Request()
        inherit(untraced, parent, traced=True)
        assert not untraced.HasField("trace_context")


def test_a_span_that_cannot_be_made_stops_spans_and_nothing_else() -> None:
    class Broken(Kept):
        def add(self, name: str, span: SpanRef, parent: SpanRef, **said: Any) -> None:
            raise LookupError("no such thing")

    world = World()
    world.host(window=2)
    for number in range(2):
        world.submit(f"r{number}", body=traced())
    for contract, lease in world.plan():
        world.report(contract, lease)
    world.effects()
    observer = Observer(ContractSpans(Broken()))  # type: ignore[arg-type]
    observer.committed([each for each in world.log if isinstance(each, Change)], ())
    assert observer.spans is None
    assert observer.lives.count == 2


def test_a_dead_letter_is_logged_with_its_contract_and_trace() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    world = World()
    contract = world.submit(body=traced())
    for number in range(limits.LOST_AGENTS_MAX):
        session = f"s{number}"
        world.host(session, [f"a{number}"], name=f"h{number}")
        [(_, lease)] = world.plan()
        world.start(contract, lease)
        world.sessions.end(world.now, session, "silent")
    observer, _ = observed(world)
    assert observer.states == {ContractState.DEAD_LETTERED: 1}
    (line,) = (json.loads(each) for each in stream.getvalue().splitlines())
    assert line["message"] == "a contract is a dead letter"
    assert line["contract_id"] == contract.name
    assert (line["trace_id"], line["span_id"]) == (f"{5:032x}", f"{6:016x}")
    assert (line["capability"], line["code"]) == ("echo", "AGENT_LOST")
