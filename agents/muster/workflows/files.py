"""Files that a workflow leaves behind: whole or not at all, so that a step may run twice."""

import os
import re
import unicodedata
from pathlib import Path
from typing import Final

from muster.agent import Failed

SLUG_CHARS_MAX: Final = 80


def folder_of(out_dir: str) -> Path:
    """The folder that a run writes into, made where it is missing.

    Raises `Failed`, for good, where there can be none.
    """
    if not out_dir.strip():
        raise Failed("OUT_DIR", "out_dir is empty: name a folder to write into", permanent=True)
    folder = Path(out_dir).expanduser()
    if not folder.is_absolute():
        message = f"out_dir {out_dir!r} is relative, and agents run in folders of their own"
        raise Failed("OUT_DIR", message, permanent=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"out_dir {out_dir!r} cannot be made: {error.strerror}"
        raise Failed("OUT_DIR", message, permanent=True) from None
    return folder


def write(path: Path, data: str | bytes) -> int:
    """Replaces a file at once; returns how many bytes it has now.

    Two that write the same file at the same time do not meet: each has a file of its own until the
    rename, and the last one stays.
    """
    content = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return len(content)


def slug_of(text: str) -> str:
    """A file's name made from a title: lower case, digits and hyphens; never empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_CHARS_MAX].strip("-") or "untitled"
