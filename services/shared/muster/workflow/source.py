"""Workflows as YAML: reading with every mistake and its line, and writing.

The keys are the messages' fields (`muster.workflow.forms` says how their values are written):

    name: content
    input: {type: object, properties: {topics: {type: array}}, required: [topics]}
    steps:
      - name: plan
        capability: content.plan
        input: {topics: "${input.topics}"}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from muster.v1.workflow_pb2 import Workflow
from muster.workflow import messages
from muster.workflow.misfits import Misfits
from muster.workflow.places import Mistaken, Problem, located, problem_at
from muster.workflow.published import workflow_schema
from muster.workflow.yaml_text import YamlProblem, read_yaml, write_yaml


class BadSource(Mistaken):
    """Text is no workflow."""


@dataclass(frozen=True, slots=True)
class Source:
    """A workflow that was read, and where each of its places stands."""

    workflow: Workflow
    lines: Mapping[str, int]
    shown: str  # what the text is called in messages

    def located(self, problems: Iterable[Problem]) -> list[str]:
        """The problems with file and line, in the order of the lines."""
        return located(problems, self.lines, self.shown)


def read_workflow(text: str, shown: str = "workflow.yaml") -> Source:
    """Reads YAML (or JSON, which is YAML). What it means is not checked: see `check_workflow`.

    Raises `BadSource`.
    """
    try:
        document = read_yaml(text)
    except YamlProblem as error:
        raise BadSource([f"{shown}:{error.line}: {error}"]) from None
    problems = list(_misfits().of(document.value))
    workflow = Workflow()
    if not problems:
        fill = messages.fill
        fill(workflow, document.value, lambda at, what: problems.append(problem_at(at, what)))
    if problems:
        raise BadSource(located(problems, document.lines, shown))
    return Source(workflow, document.lines, shown)


def to_yaml(workflow: Workflow) -> str:
    """The workflow as YAML that reads back as the same. Raises `ValueError` for what has no form:
    protobuf types, and text that should be JSON and is not."""
    return write_yaml(messages.plain(workflow))


@cache
def _misfits() -> Misfits:
    return Misfits(
        workflow_schema(),
        whole="a workflow is a mapping: name: …, steps: …",
        either="write a duration like 10s, or {signal: NAME}",
    )
