"""Hosts, and services, as processes of this machine that are kept running.

What is started here leaves nothing behind: each process leads a group of its own, which is swept
when it ends, and each holds a lifeline to whoever started it, so that it ends with that one too.
"""
