"""The agent session: its pure core, and the stream that carries it."""
