"""Runs of workflows, in the scheduler: their journals, what is done for them, and who asks.

A run's journal is the record. `Runs.append` adds an entry to the next commit and folds it into the
run's machine (`muster.workflow.machine`); what the machine wants then is done by the run's engine:
the local one here, or Temporal's workers, which are fed the same entries. `Doing` is what either
has done: it evaluates expressions, submits contracts, asks people, and adds the next entries.
"""
