"""Agents without code: YAML that says what an agent is called, what it offers, hears of and is
called for, and what it does then: with templates, other agents, workflows, people or a model.

    agent = load_agent(Path("greeter.yaml"))
    agent.run()

`schema` says what can stand there. It takes PyYAML, CEL and a validator of JSON Schema, which the
base install has not: pip install 'muster-mesh[yaml]'.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from muster.declared.source import BadAgent, read_agent

if TYPE_CHECKING:
    from muster.agent import Agent

__all__ = ["BadAgent", "load_agent", "read_agent"]

SUFFIXES = (".yaml", ".yml")


def load_agent(path: Path) -> Agent:
    """The agent that a file describes. Raises `BadAgent`, with a line for each mistake."""
    from muster.declared.building import agent_of

    try:
        if path.stat().st_size > _BYTES_MAX:
            raise BadAgent([f"{path}: this is too large for an agent"])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadAgent([f"{path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise BadAgent([f"{path} is not UTF-8 text"]) from None
    return agent_of(read_agent(text, str(path)))


_BYTES_MAX = 1024 * 1024
