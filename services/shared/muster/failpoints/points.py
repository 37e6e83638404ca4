"""Every failpoint, by the process that it is in, with the crash edge that it stands for."""

from __future__ import annotations

POINTS: dict[str, str] = {
    # the scheduler
    "submit_uncommitted": "before the submit commit: a contract is decided on, its row not written",
    "submit_committed": "after the submit commit: whoever submitted has not been told",
    "ledger_commit": "any commit; apply_then_error: it is done, and reported as a failure",
    "ledger_full": "any commit, as a full disk; apply_then_error: it is done, and comes again",
    "lease_unsent": "a lease is committed, or on its way there, and its assignment not sent",
    "report_uncommitted": "a report was received, and nothing of it is committed",
    "report_unacked": "a report is committed, and not acknowledged",
    "events_unpublished": "events are committed, and not published",
    "events_unmarked": "events are published, and whoever watches has no cursor past them",
    "published_unmarked": "events are on the bus, and the ledger does not know that",
    "scheduler_sweep": "during the sweep that ends, expires and gives up contracts",
    "run_unanswered": "a run is committed, and whoever started it has not been told",
    "run_step_unsubmitted": "a step has begun, and the contract of its next item is not accepted",
    "run_item_unrecorded": "the response of a step's contract is committed, its run's journal not",
    "run_entry_untold": "an entry of a run's journal is committed, and nobody has been told",
    "run_child_untold": "a child run ends, and its parent's journal does not have that yet",
    "ledger_migration": "during a migration: some tables are made, others are not",
    # the executor
    "assignment_unrelayed": "an assignment has been sent, and has not reached its host",
    "report_unrelayed": "a report has left its host, and not reached the scheduler",
    "executor_sweep": "during the sweep that judges hosts",
    # any service
    "drain": "during a drain: it no longer serves, and what is open has not ended",
    # a host of agents
    "assignment_unaccepted": "an assignment was sent, and not accepted",
    "attempt_running": "the agent dies running",
    "report_unsent": "the agent has finished, and its report is unsent",
}
