"""Where sync capabilities run: worker processes and threads."""
