"""Text that must fit a field."""

from __future__ import annotations


def cut(text: str, bytes_max: int) -> str:
    """The text as valid UTF-8, with its end replaced by "…" when it is too long."""
    if len(text) * 4 <= bytes_max and text.isascii():
        return text
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - len("…".encode())].decode(errors="ignore") + "…"
