"""Annotations as JSON Schema, and values between JSON and Python."""
