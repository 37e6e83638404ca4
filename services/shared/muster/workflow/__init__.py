"""Workflows: what a definition means, and what follows from a run's journal.

`plan` and `machine` are pure: the control flow of a definition, and its interpreter. The rest turns
definitions into plans and data into inputs: YAML, expressions, templates, checks.
"""
