"""Canonical JSON: the same data is the same bytes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical_json(data: Mapping[str, Any]) -> bytes:
    """UTF-8 on one line, keys sorted, a final newline.

    Raises ValueError for NaN and infinities, which are not JSON.
    """
    text = json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    # A lone surrogate, from a report made of unclean JSON, must not make the report unwritable.
    return (text + "\n").encode("utf-8", "replace")


def digest(data: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(data)).hexdigest()
