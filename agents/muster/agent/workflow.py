"""Workflows, built in Python: the same definitions as in YAML.

    from muster.agent import Workflow

    flow = Workflow("content", input={"topics": list[str]})
    plan = flow.step("plan", "content.plan", input={"topics": flow.input.topics})
    draft = flow.step(
        "draft", "content.draft",
        for_each=plan.output["items"], input={"item": flow.item}, tolerate=5,
    )
    flow.step("publish", "content.publish", input={"drafts": draft.output},
              when=draft.output.size() > 0)
    flow.output = {"drafts": draft.output}
    flow.proto()

What a step mentions it depends on. Texts are templates, as in YAML: a dollar before a brace is
written `$$`, and a value in an f-string becomes its ${…}. All times are in seconds. Whether it all
fits together is checked when the workflow is registered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from muster.agent.asking import fill_retry
from muster.agent.codec.annotations import Codec, Definitions, compile_type, root_schema
from muster.agent.codec.classes import Field, object_schema
from muster.agent.workflow_values import Value, choose, expression
from muster.v1 import capability_pb2, workflow_pb2
from muster.wire.jsontext import json_encoder
from muster.wire.times import duration_of_seconds

if TYPE_CHECKING:
    from muster.model.retry import RetryPolicy

__all__ = ["Step", "Value", "Workflow", "choose"]

_STEP = re.compile(r"[a-z][a-z0-9_]{0,47}")
_MENTIONED = re.compile(r"(?<![\w.])steps\.([a-z][a-z0-9_]*)")


class Step:
    """A step of a workflow: what others refer to."""

    def __init__(self, proto: workflow_pb2.Step) -> None:
        self._proto = proto
        self.name = proto.name
        self.output = Value(f"steps.{self.name}.output")
        # Of a step with for_each: the list of its items' outputs, without those that failed.
        self.state = Value(f"steps.{self.name}.state")
        # "SUCCEEDED", "FAILED", "SKIPPED" or "CANCELLED".
        self.failure = Value(f"steps.{self.name}.failure")
        # Its code and message; null unless it failed.

    @property
    def succeeded(self) -> Value:
        """Whether it did, for `when` of a later step."""
        return self.state == "SUCCEEDED"

    def undo_with(self, capability: str, input: Any = None) -> Step:
        """What undoes the step when the run fails after it has succeeded."""
        self._proto.compensate.capability.CopyFrom(_capability(capability))
        self._proto.compensate.input = _template(input)
        return self

    def __repr__(self) -> str:
        return f"<step {self.name}>"


class Workflow:
    """A definition that grows step by step.

    `input` is what a run's input must fit: a dataclass or another class that stands for an object,
    or the types of its members by name. None means anything.
    """

    def __init__(
        self,
        name: str,
        *,
        input: Any = None,
        description: str = "",
        timeout: float | None = None,
    ) -> None:
        self._proto = workflow_pb2.Workflow(name=name, description=description)
        if input is not None:
            self._proto.input.CopyFrom(_object(input))
        if timeout is not None:
            self._proto.timeout.CopyFrom(duration_of_seconds(timeout))
        self.input = Value("input")
        self.item = Value("item")
        self.index = Value("index")
        self.run = Value("run")
        self._steps: dict[str, Step] = {}
        self.output: Any = None

    @property
    def name(self) -> str:
        """What it is registered as."""
        return self._proto.name

    def proto(self) -> workflow_pb2.Workflow:
        """The definition, as WorkflowService takes it."""
        made = workflow_pb2.Workflow()
        made.CopyFrom(self._proto)
        for step in self._steps.values():
            made.steps.add().CopyFrom(_with_dependencies(step._proto))
        made.output = _template(self.output)
        return made

    # --- steps ------------------------------------------------------------------------------------

    def step(
        self,
        name: str,
        capability: str,
        *,
        input: Any = None,
        attempt_timeout: float | None = None,
        retry: RetryPolicy | None = None,
        **options: Any,
    ) -> Step:
        """A contract. `capability` is its name, or "name@2.1"; for the options see `child`."""
        step = self._add(name)
        step.capability.CopyFrom(_capability(capability))
        step.input = _template(input)
        if attempt_timeout is not None:
            step.attempt_timeout.CopyFrom(duration_of_seconds(attempt_timeout))
        if retry is not None:
            fill_retry(step.retry, retry)
        return self._finished(step, _fan_out(step, options))

    def child(
        self,
        name: str,
        workflow: str,
        *,
        input: Any = None,
        **options: Any,
    ) -> Step:
        """Another workflow: its name, or "name@3".

        `for_each` is a list, once for each element of which the step is done, `concurrency` of them
        at a time; `first`, `quorum` or `tolerate` say when it has succeeded then. `when`,
        `depends_on`, `timeout` and `on_failure` ("fail" or "continue") are as for every step.
        """
        step = self._add(name)
        named, _, version = workflow.partition("@")
        step.workflow.name, step.workflow.version = named, int(version or 0)
        step.input = _template(input)
        return self._finished(step, _fan_out(step, options))

    def gate(
        self,
        name: str,
        question: str,
        *,
        answer: Any = None,
        choices: Iterable[Any] = (),
        deadline: float | None = None,
        default: Any = None,
        **options: Any,
    ) -> Step:
        """A question to a person, whose answer is the output.

        `answer` is its type, text by default; at the deadline the default is taken.
        """
        step = self._add(name)
        step.gate.question = question
        definitions = Definitions()
        codec = compile_type(str if answer is None else answer, definitions)
        if answer is not None:
            step.gate.answer.json_schema = _json(root_schema(codec.schema, definitions))
        step.gate.choices.extend(_answer(codec, choice) for choice in choices)
        if default is not None:
            step.gate.default = _answer(codec, default)
        if deadline is not None:
            step.gate.deadline.CopyFrom(duration_of_seconds(deadline))
        return self._finished(step, options)

    def wait(self, name: str, seconds: float, **options: Any) -> Step:
        """Time that passes."""
        step = self._add(name)
        step.wait.duration.CopyFrom(duration_of_seconds(seconds))
        return self._finished(step, options)

    def signal(self, name: str, signal: str, **options: Any) -> Step:
        """A signal that comes; its payload is the output."""
        step = self._add(name)
        step.wait.signal = signal
        return self._finished(step, options)

    def _add(self, name: str) -> workflow_pb2.Step:
        if not _STEP.fullmatch(name):
            message = f"{name!r} is no step's name: at most 48 lower-case letters, digits and _"
            raise ValueError(message)
        if name in self._steps:
            message = f"there is a step {name} already: give this one another name"
            raise ValueError(message)
        return workflow_pb2.Step(name=name)

    def _finished(self, proto: workflow_pb2.Step, options: dict[str, Any]) -> Step:
        _fill_common(proto, **options)
        self._steps[proto.name] = step = Step(proto)
        return step


def _fill_common(
    step: workflow_pb2.Step,
    *,
    when: Value | str | None = None,
    depends_on: Iterable[Step | str] = (),
    timeout: float | None = None,
    on_failure: Literal["fail", "continue"] | None = None,
) -> None:
    if when is not None:
        step.when = _condition(when)
    step.depends_on.extend(each.name if isinstance(each, Step) else each for each in depends_on)
    if timeout is not None:
        step.timeout.CopyFrom(duration_of_seconds(timeout))
    if on_failure is not None:
        step.on_failure = workflow_pb2.FailurePolicy.Value(f"FAILURE_POLICY_{on_failure.upper()}")


_RULES = ("first", "quorum", "tolerate")


def _fan_out(step: workflow_pb2.Step, options: dict[str, Any]) -> dict[str, Any]:
    """Takes out the options that go with for_each."""
    rules = {name: options.pop(name) for name in _RULES if name in options}
    if len(rules) > 1:
        message = f"step {step.name}: only one of {', '.join(rules)} can decide"
        raise ValueError(message)
    for name, count in rules.items():
        setattr(step.fan_in, name, count)
    if "for_each" in options:
        step.for_each = _condition(options.pop("for_each"))
    step.concurrency = options.pop("concurrency", 0)
    return options


def _with_dependencies(proto: workflow_pb2.Step) -> workflow_pb2.Step:
    """The step with all that it mentions among what it depends on, in the order of mention."""
    step = workflow_pb2.Step()
    step.CopyFrom(proto)
    texts = (step.when, step.for_each, step.input, step.gate.question, step.compensate.input)
    mentioned = (name for text in texts for name in _MENTIONED.findall(text))
    names = dict.fromkeys((*step.depends_on, *mentioned))
    names.pop(step.name, None)
    del step.depends_on[:]
    step.depends_on.extend(names)
    return step


# --- values ---------------------------------------------------------------------------------------


def _condition(value: Any) -> str:
    """What stands in `when` and `for_each`: a text is CEL already."""
    return value if isinstance(value, str) else expression(value)


def _in_template(value: Any) -> Any:
    if isinstance(value, Value):
        return str(value)
    if isinstance(value, Step):
        message = f"{value!r} is no value: name its output"
        raise TypeError(message)
    message = f"a {type(value).__name__} has no place in a template"
    raise TypeError(message)


_template_text = json_encoder(_in_template)
_json = json_encoder()


def _template(value: Any) -> str:
    return "" if value is None else _template_text(value)


def _answer(codec: Codec, value: Any) -> str:
    return _json(codec.encode(value))


def _object(annotation: Any) -> capability_pb2.Schema:
    definitions = Definitions()
    if isinstance(annotation, Mapping):
        fields = [Field(name, each, required=True) for name, each in annotation.items()]
        schema = object_schema(fields, definitions)
    else:
        schema = compile_type(annotation, definitions).schema
    return capability_pb2.Schema(json_schema=_json(root_schema(schema, definitions)))


def _capability(text: str) -> capability_pb2.CapabilitySelector:
    name, _, version = text.partition("@")
    return capability_pb2.CapabilitySelector(name=name, version=version)
