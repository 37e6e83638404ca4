"""Schedules: the ledger's own clockwork.

`muster.scheduler.core_schedules` decides what becomes of each tick. `Schedules` does it, and
records it in the batch that the start itself goes into. What can be started is behind `Starts`.
"""
