"""Writes the JSON Schema of agents in YAML, for editors.

python -m muster.declared.published FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from muster.declared.schema import agent_schema


def published() -> str:
    """The schema's text, as it is kept."""
    return json.dumps(agent_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(published(), encoding="utf-8")
