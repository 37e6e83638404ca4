"""The registry: which agents are there now, and what they can do. It keeps nothing on disk."""
