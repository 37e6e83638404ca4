"""A schedule in memory, at the scheduler that owns its shard."""

from __future__ import annotations

from dataclasses import dataclass, field

from muster.model.ids import shard_of_scope
from muster.scheduler.core_schedules import Progress, Rules
from muster.scheduler.schedules.messages import ScheduleRow, progress_of, rules_or_none, state_of
from muster.v1.schedule_pb2 import ScheduleSpec, ScheduleState

Key = tuple[str, str]  # tenant and name


def home_shard(tenant: str, name: str) -> int:
    """The shard that a schedule and everything it starts live in."""
    return shard_of_scope(tenant, "", f"schedule:{name}")


@dataclass(slots=True, eq=False)
class Entry:
    """What is known of it. `rules` are None where its time zone is not known here: it stands."""

    tenant: str
    name: str
    shard: int
    principal: str
    changed_ms: int
    spec: ScheduleSpec
    rules: Rules | None
    progress: Progress
    armed_ms: int | None = None  # when it is to be looked at
    deleting: bool = False
    raw_spec: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.raw_spec = self.spec.SerializeToString(deterministic=True)

    @property
    def key(self) -> Key:
        """What it is found by."""
        return (self.tenant, self.name)

    @property
    def row(self) -> ScheduleRow:
        """For the ledger."""
        return ScheduleRow(
            self.tenant,
            self.name,
            self.shard,
            self.principal,
            self.changed_ms,
            self.raw_spec,
            state_of(self.progress).SerializeToString(),
        )

    def respecify(self, spec: ScheduleSpec, rules: Rules) -> None:
        """Give it another spec."""
        self.spec, self.rules = spec, rules
        self.raw_spec = spec.SerializeToString(deterministic=True)


def entry_of(row: ScheduleRow) -> Entry:
    """What the ledger has of it."""
    spec = ScheduleSpec.FromString(row.spec)
    progress = progress_of(ScheduleState.FromString(row.state))
    rules = rules_or_none(row, spec, progress)
    return Entry(
        row.tenant, row.name, row.shard, row.principal, row.changed_ms, spec, rules, progress
    )
