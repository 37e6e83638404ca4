"""Runs agents that others wrote, in a host process: what a pool starts, and `muster agent run`."""
