"""What the workers of an outside engine are told of runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from muster.model import limits
from muster.scheduler.workflows.feeding import Feeds, Follower
from muster.scheduler.workflows.run import Run, RunRow
from muster.scheduler.workflows.versions import version_of
from muster.v1.engine_service_pb2 import RunFeed
from muster.v1.workflow_pb2 import Workflow
from muster.v1.workflow_run_pb2 import ENGINE_KIND_TEMPORAL, RunEnded, RunEvent, RunPaused

LATE = limits.FEED_UNSURE_SECONDS + 1.0


def make_run(number: int = 1, parent: int = 0) -> Run:
    raw = Workflow(name="w").SerializeToString()
    version = version_of(("default", "w", 1, "local", 0, b"", raw))
    row = RunRow(
        *(number, "default", "local", f"start-{number}", b"", "w", 1, ENGINE_KIND_TEMPORAL, ""),
        *(parent, "", 0, 0, 0, "", 0, b""),
    )
    return Run(row, version, 1)


def entry(sequence: int, *, ended: bool = False) -> RunEvent:
    if ended:
        return RunEvent(sequence=sequence, ended=RunEnded())
    return RunEvent(sequence=sequence, paused=RunPaused())


def told(follower: Follower) -> dict[str, tuple[list[int], int, int]]:
    """By run: the entries in the next frame, the newest one, and what is known of it."""
    return {
        feed.entries.run_id: (
            [event.sequence for event in feed.entries.entries],
            feed.entries.sequence,
            feed.delivered,
        )
        for feed in follower.frame()
        if not feed.gone
    }


RUN = "0000000000000001"


def test_a_new_run_is_told_entry_by_entry_to_one_of_the_workers() -> None:
    feeds = Feeds()
    one, other = feeds.follow("one"), feeds.follow("other")
    feeds.hold(make_run(1), 0.0)
    feeds.hold(make_run(2), 0.0)
    for number in (1, 2):
        feeds.committed(number, entry(1))
    assert told(one) == {RUN: ([1], 1, 0)}
    assert told(other) == {RUN[:-1] + "2": ([1], 1, 0)}
    feeds.committed(1, entry(2))
    feeds.committed(1, entry(3))
    assert told(one) == {RUN: ([2, 3], 3, 0)}
    assert told(other) == {}


def test_what_an_answer_holds_is_not_told_again_unless_nothing_confirms_it() -> None:
    feeds = Feeds()
    worker = feeds.follow("worker")
    feeds.hold(make_run(), 0.0)
    feeds.committed(1, entry(1))
    told(worker)
    feeds.delivered(worker, 1, 1)
    with feeds.calling(1):
        feeds.committed(1, entry(2))
        assert told(worker) == {}
        feeds.answered(1, 2, 5.0)
    assert told(worker) == {}
    feeds.sweep(5.0 + limits.FEED_UNSURE_SECONDS)
    assert told(worker) == {}
    feeds.sweep(5.0 + LATE)
    assert told(worker) == {RUN: ([2], 2, 1)}
    feeds.delivered(worker, 1, 2)
    feeds.sweep(5.0 + 2 * LATE)
    assert told(worker) == {}


def test_what_is_committed_while_an_answer_is_made_and_is_not_in_it_is_told_after_it() -> None:
    feeds = Feeds()
    worker = feeds.follow("worker")
    feeds.hold(make_run(), 0.0)
    with feeds.calling(1):
        feeds.committed(1, entry(1))
        feeds.answered(1, 1, 0.0)
        feeds.committed(1, entry(2))
    assert told(worker) == {RUN: ([2], 2, 1)}


def test_the_run_that_an_answer_names_is_begun_by_its_parent_and_not_by_a_worker() -> None:
    feeds = Feeds()
    worker = feeds.follow("worker")
    feeds.hold(make_run(1), 0.0)
    told(worker)
    with feeds.calling(1):
        feeds.hold(make_run(2, parent=1), 0.0)
        feeds.committed(2, entry(1))
    assert told(worker) == {RUN[:-1] + "2": ([], 1, 1)}  # known already: nothing to be said
    feeds.sweep(LATE)
    assert told(worker) == {RUN[:-1] + "2": ([], 1, 0)}  # or else it is loaded


def test_a_worker_that_is_gone_leaves_its_runs_to_the_others_from_what_it_delivered() -> None:
    feeds = Feeds()
    one, other = feeds.follow("one"), feeds.follow("other")
    feeds.hold(make_run(), 0.0)
    for sequence in (1, 2, 3):
        feeds.committed(1, entry(sequence))
    told(one)
    feeds.delivered(one, 1, 1)
    feeds.unfollow(one)
    assert told(other) == {RUN: ([2, 3], 3, 1)}
    feeds.delivered(one, 1, 3)  # too late: it is not this one's any more
    feeds.unfollow(other)
    assert told(feeds.follow("third"))[RUN][1:] == (3, 1)


def test_a_newer_stream_of_a_worker_takes_the_older_one_s_place() -> None:
    feeds = Feeds()
    old = feeds.follow("worker")
    feeds.restored(make_run(), 0.0)
    new = feeds.follow("worker")
    assert old.closed
    assert list(feeds.followers.values()) == [new]
    assert set(told(new)) == {RUN}


def test_runs_wait_for_the_first_worker() -> None:
    feeds = Feeds()
    feeds.hold(make_run(), 0.0)
    feeds.committed(1, entry(1))
    assert told(feeds.follow("worker")) == {RUN: ([1], 1, 0)}


def test_too_many_entries_are_left_to_be_loaded() -> None:
    feeds = Feeds()
    worker = feeds.follow("worker")
    feeds.hold(make_run(), 0.0)
    last = limits.FEED_ENTRIES_MAX + 10
    for sequence in range(1, last + 1):
        feeds.committed(1, entry(sequence))
    (entries, sequence, _) = told(worker)[RUN]
    assert (entries[0], entries[-1], sequence) == (11, last, last)
    feed = feeds.get(1)
    assert feed is not None
    assert len(feed.entries) == limits.FEED_ENTRIES_KEPT
    assert feed.after(last - limits.FEED_ENTRIES_KEPT - 1) is None
    kept = feed.after(last - limits.FEED_ENTRIES_KEPT)
    assert kept is not None
    assert [event.sequence for event in kept][-1] == last


def test_a_run_is_forgotten_when_its_end_is_known_and_comes_back_when_it_is_retried() -> None:
    feeds = Feeds()
    worker = feeds.follow("worker")
    run = make_run()
    feeds.hold(run, 0.0)
    feeds.committed(1, entry(1, ended=True))
    (feed,) = worker.frame()
    assert feed.over
    assert len(feeds) == 1
    feeds.delivered(worker, 1, 1)
    assert len(feeds) == 0
    assert [each.gone for each in worker.frame()] == [True]
    feeds.hold(run, 0.0)
    feeds.committed(1, entry(2))
    assert told(worker) == {RUN: ([2], 2, 0)}


def test_a_run_that_moved_is_told_no_more() -> None:
    feeds = Feeds()
    worker = feeds.follow("worker")
    feeds.restored(make_run(), 0.0)
    worker.frame()
    feeds.moved(1)
    assert [(each.entries.run_id, each.gone) for each in worker.frame()] == [(RUN, True)]
    feeds.committed(1, entry(1))
    feeds.delivered(worker, 1, 1)
    assert worker.frame() == []


# --- whatever happens -----------------------------------------------------------------------------


@dataclass
class World:
    """One run, an engine that has what was said or answered, and workers that come and go."""

    feeds: Feeds = field(default_factory=Feeds)
    workers: list[Follower] = field(default_factory=list)
    sequence: int = 0
    engine: int = 0  # up to where the engine has the journal; it loads what it lacks
    now: float = 0.0
    frames: list[tuple[Follower, RunFeed]] = field(default_factory=list)

    def commit(self) -> None:
        self.sequence += 1
        self.feeds.committed(1, entry(self.sequence))

    def answer(self) -> None:
        with self.feeds.calling(1):
            self.commit()
            self.feeds.answered(1, self.sequence, self.now)
        self.engine = self.sequence

    def stale_answer(self) -> None:
        """Whoever asked is not who goes on."""
        with self.feeds.calling(1):
            self.commit()
            self.feeds.answered(1, self.sequence, self.now)

    def come(self) -> None:
        self.workers.append(self.feeds.follow(f"worker-{len(self.workers)}"))

    def go(self) -> None:
        alive = [each for each in self.workers if not each.closed]
        if alive:
            self.feeds.unfollow(alive[0])

    def send(self) -> None:
        for worker in self.workers:
            if not worker.closed:
                self.frames += [(worker, feed) for feed in worker.frame()]

    def say(self) -> None:
        for worker, feed in self.frames:
            if not worker.closed and feed.delivered < feed.entries.sequence:
                self.engine = max(self.engine, feed.entries.sequence)
                self.feeds.delivered(worker, 1, feed.entries.sequence)
        self.frames.clear()

    def wait(self) -> None:
        self.now += LATE
        self.feeds.sweep(self.now)


ACTS = (
    World.commit,
    World.answer,
    World.stale_answer,
    World.come,
    World.go,
    World.send,
    World.say,
    World.wait,
)


@given(st.lists(st.sampled_from(ACTS), max_size=40))
def test_in_the_end_the_engine_has_everything_whoever_was_lost_on_the_way(acts) -> None:
    world = World()
    world.feeds.hold(make_run(), 0.0)
    for act in acts:
        act(world)
    world.come()
    for _ in range(2):
        world.send()
        world.say()
        world.wait()
    world.send()
    world.say()
    assert world.engine == world.sequence
