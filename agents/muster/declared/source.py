"""Reads an agent's YAML: every mistake, with its line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from muster.declared.checking import check
from muster.declared.originals import Translation
from muster.declared.schema import agent_schema
from muster.workflow.misfits import Misfits
from muster.workflow.places import Mistaken, located
from muster.workflow.yaml_text import YamlProblem, read_yaml


class BadAgent(Mistaken):
    """Text is no agent."""


@dataclass(frozen=True, slots=True)
class Declared:
    """An agent that was read and checked: its value fits the schema, and what it says has sense."""

    value: dict[str, Any]
    shown: str  # what the text is called in messages


def read_agent(text: str, shown: str = "agent.yaml") -> Declared:
    """Reads YAML (or JSON, which is YAML), and checks all that can be known before it runs.

    Raises `BadAgent`.
    """
    try:
        document = read_yaml(text)
    except YamlProblem as error:
        raise BadAgent([f"{shown}:{error.line}: {error}"]) from None
    value, lines = document.value, document.lines
    problems = []
    if isinstance(value, dict):
        translation = Translation(value, lines)
        value, lines, problems = translation.value, translation.lines, translation.problems
    problems += _misfits().of(value)
    if not problems:
        problems = check(value)
    if problems:
        raise BadAgent(located(problems, lines, shown))
    return Declared(value, shown)


@cache
def _misfits() -> Misfits:
    return Misfits(
        agent_schema(),
        whole="an agent is a mapping: name: …, capabilities: …",
        either="see the schema",
    )
