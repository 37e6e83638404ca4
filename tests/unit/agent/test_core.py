"""The session as its host sees it, one rule at a time."""

from muster.agent.session.core import Decision, SessionCore, Verdict, reconnect_pause
from muster.agent.session.core_outbox import Frame, LeaseState

KEY = ("00000000000000a1", 7)
OTHER = ("00000000000000a2", 8)


def welcomed() -> SessionCore:
    core = SessionCore()
    core.open()
    core.welcome(1, now=0.0)
    return core


def taken(core: SessionCore, now: float = 0.0) -> Frame:
    frame = core.take(now)
    assert frame is not None
    return frame


def test_the_first_frame_greets_and_names_every_lease() -> None:
    core = welcomed()
    core.assign(KEY, "a")
    frame = core.open()
    assert frame.seq == 1
    assert [lease.key for lease in frame.hello or ()] == [KEY]
    assert core.take(0.0) is None


def test_an_assignment_is_accepted_once() -> None:
    core = welcomed()
    assert core.assign(KEY, "a") is not None
    assert core.assign(KEY, "a") is None
    assert taken(core).accepts == [KEY]
    assert core.take(0.0) is None


def test_started_implies_accepted_and_a_report_implies_both() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.start(lease)
    frame = taken(core)
    assert (frame.accepts, frame.starts) == ([], [KEY])
    other = core.assign(OTHER, "a")
    assert other
    core.start(other)
    core.report(other, "report", 10)
    frame = taken(core)
    assert (frame.accepts, frame.starts, frame.reports) == ([], [], ["report"])


def test_a_suspend_and_a_resume_that_meet_cancel_each_other_out() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.start(lease)
    core.suspend(lease)
    assert taken(core).suspends == [KEY]
    core.resume(lease)
    core.suspend(lease)
    assert core.take(0.0) is None
    core.resume(lease)
    assert taken(core).resumes == [KEY]


def test_a_heartbeat_is_due_once_a_period_and_names_every_lease() -> None:
    core = welcomed()
    core.set_pace(2.0, 10.0, now=0.0)
    core.assign(KEY, "a")
    assert taken(core, 0.0).heartbeat is None
    assert core.take(1.9) is None
    frame = taken(core, 2.0)
    assert [lease.key for lease in frame.heartbeat or ()] == [KEY]
    assert core.take(3.9) is None
    assert taken(core, 4.0).heartbeat is not None


def test_a_shorter_period_counts_at_once() -> None:
    core = welcomed()
    core.set_pace(0.5, 0.0, now=0.0)
    assert core.heartbeat_due == 0.5


def test_a_report_is_kept_until_it_is_acknowledged() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.report(lease, "report", 10)
    assert taken(core).reports == ["report"]
    assert KEY in core.leases
    assert core.acknowledge(KEY, Verdict.ACCEPTED) is None
    assert KEY not in core.leases


def test_a_fenced_report_is_forgotten() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.report(lease, "report", 10)
    core.acknowledge(KEY, Verdict.FENCED)
    assert not core.leases


def test_a_refused_report_may_be_replaced_once() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.report(lease, "bad", 10)
    taken(core)
    assert core.acknowledge(KEY, Verdict.REFUSED) is lease
    core.report(lease, "better", 10)
    assert taken(core).reports == ["better"]
    assert core.acknowledge(KEY, Verdict.REFUSED) is None
    assert not core.leases


def test_nothing_is_said_about_a_lease_of_an_earlier_session_before_the_verdict() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.open()
    core.welcome(2, now=0.0)
    core.start(lease)
    core.emit(lease, "item", 5)
    core.report(lease, "report", 10)
    assert core.take(0.0) is None
    core.decide(KEY, Decision.PENDING)
    assert core.take(0.0) is None
    core.decide(KEY, Decision.KEEP)
    frame = taken(core)
    assert (frame.items, frame.reports) == (["item"], ["report"])


def test_keep_tells_what_has_changed_since_the_hello() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.start(lease)
    core.open()
    core.welcome(2, now=0.0)
    core.suspend(lease)
    core.decide(KEY, Decision.KEEP)
    frame = taken(core)
    assert (frame.starts, frame.suspends) == ([], [KEY])


def test_a_second_keep_says_nothing_twice() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.report(lease, "report", 10)
    core.open()
    core.welcome(2, now=0.0)
    core.decide(KEY, Decision.KEEP)
    core.decide(KEY, Decision.KEEP)
    assert taken(core).reports == ["report"]
    assert core.take(0.0) is None


def test_drop_returns_the_lease_whose_code_is_to_stop() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.start(lease)
    assert core.decide(KEY, Decision.DROP) is lease
    core.stopped(lease)
    core.report(lease, "late", 10)
    assert core.take(0.0) is None


def test_drop_of_a_reported_lease_has_no_code_to_stop() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.report(lease, "report", 10)
    assert core.decide(KEY, Decision.DROP) is None
    assert not taken(core).reports


def test_a_cancelled_lease_is_held_until_its_code_has_stopped() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    assert core.cancel(KEY) is lease
    assert KEY in core.leases
    core.stopped(lease)
    assert taken(core).stops == [KEY]
    assert not core.leases


def test_a_cancel_of_what_is_not_held_is_answered_at_once() -> None:
    core = welcomed()
    assert core.cancel(KEY) is None
    assert taken(core).stops == [KEY]


def test_a_cancel_that_meets_a_report_wins() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.report(lease, "report", 10)
    assert core.cancel(KEY) is None
    frame = taken(core)
    assert (frame.reports, frame.stops) == ([], [KEY])
    assert core.acknowledge(KEY, Verdict.FENCED) is None


def test_a_report_waits_for_the_last_of_its_items() -> None:
    core = welcomed()
    core.set_limits(2, 0, 0, 0)
    lease = core.assign(KEY, "a")
    assert lease
    for number in range(5):
        core.emit(lease, number, 1)
    core.report(lease, "report", 10)
    frames = [taken(core) for _ in range(3)]
    assert [frame.items for frame in frames] == [[0, 1], [2, 3], [4]]
    assert [frame.reports for frame in frames] == [[], [], ["report"]]


def test_an_agent_that_talks_much_delays_only_itself() -> None:
    core = welcomed()
    core.set_limits(4, 0, 0, 0)
    loud, quiet = core.assign(KEY, "loud"), core.assign(OTHER, "quiet")
    assert loud
    assert quiet
    for number in range(10):
        core.emit(loud, f"loud {number}", 1)
    core.emit(quiet, "quiet", 1)
    assert taken(core).items == ["loud 0", "quiet", "loud 1", "loud 2"]


def test_items_leave_half_of_a_frame_to_reports() -> None:
    core = welcomed()
    core.set_limits(0, 100, 0, 0)
    talks, ends = core.assign(KEY, "a"), core.assign(OTHER, "b")
    assert talks
    assert ends
    for number in range(10):
        core.emit(talks, number, 30)
    core.report(ends, "report", 50)
    frame = taken(core)
    assert (frame.items, frame.reports) == ([0], ["report"])


def test_an_item_larger_than_a_frame_travels_alone() -> None:
    core = welcomed()
    core.set_limits(0, 100, 0, 10_000)
    lease = core.assign(KEY, "a")
    assert lease
    core.emit(lease, "small", 10)
    core.emit(lease, "large", 500)
    assert [taken(core).items, taken(core).items] == [["small"], ["large"]]


def test_the_window_is_closed_by_count_and_by_bytes_and_opened_by_acknowledgement() -> None:
    core = welcomed()
    core.set_limits(0, 0, 2, 100)
    lease = core.assign(KEY, "a")
    assert lease
    assert core.has_room(lease, 1_000)  # one item always fits into an empty window
    core.emit(lease, "a", 60)
    assert core.has_room(lease, 40)
    assert not core.has_room(lease, 41)
    core.emit(lease, "b", 1)
    assert not core.has_room(lease, 1)
    assert core.acknowledge_items(KEY, 1)
    assert core.has_room(lease, 40)
    assert lease.items_acked == 1
    assert not core.acknowledge_items(OTHER, 1)


def test_unacknowledged_items_are_sent_again_on_a_new_session() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    for number in range(3):
        core.emit(lease, number, 1)
    taken(core)
    core.acknowledge_items(KEY, 1)
    core.open()
    core.welcome(2, now=0.0)
    core.decide(KEY, Decision.KEEP)
    assert taken(core).items == [1, 2]


def test_what_is_said_after_the_report_is_heard_by_nobody() -> None:
    core = welcomed()
    lease, other = core.assign(KEY, "a"), core.assign(OTHER, "a")
    assert lease
    assert other
    core.report(lease, "report", 1)
    core.emit(lease, "late", 1)
    core.decide(OTHER, Decision.DROP)
    core.emit(other, "late", 1)
    frame = taken(core)
    assert (frame.items, frame.reports) == ([], ["report"])


def test_a_host_that_leaves_is_finished_when_it_holds_and_has_to_say_nothing() -> None:
    core = welcomed()
    lease = core.assign(KEY, "a")
    assert lease
    core.leave()
    assert taken(core).leaving
    assert not core.finished()
    core.report(lease, "report", 1)
    taken(core)
    assert not core.finished()
    core.acknowledge(KEY, Verdict.ACCEPTED)
    assert core.finished()


def test_a_host_that_leaves_says_so_again_on_a_new_session() -> None:
    core = welcomed()
    core.assign(KEY, "a")
    core.leave()
    taken(core)
    core.open()
    core.welcome(2, now=0.0)
    assert taken(core).leaving


def test_attaching_undoes_detaching() -> None:
    core = welcomed()
    core.outbox.detach("a")
    core.outbox.attach("a")
    frame = taken(core)
    assert (frame.attaches, frame.detaches) == (["a"], [])


def test_frames_are_counted_and_say_what_was_seen() -> None:
    core = welcomed()
    core.seen(5)
    core.seen(4)
    core.assign(KEY, "a")
    frame = taken(core)
    assert (frame.seq, frame.seen_seq) == (2, 5)


def test_pauses_double_up_to_a_ceiling() -> None:
    assert [reconnect_pause(failures, 1.0) for failures in (0, 1, 2, 10, 10_000)] == [
        0.2,
        0.4,
        0.8,
        5.0,
        5.0,
    ]
    assert reconnect_pause(3, 0.0) == 0.0


def test_states_have_the_numbers_of_the_wire() -> None:
    assert [state.value for state in LeaseState] == [1, 2, 3, 4]
