"""Checks a definition: everything that can be known to be wrong before a run.

Each problem has its place and says what to do. What is not found here can still fail when it runs,
but then for its data only. The rules written in the proto are checked where messages come in.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from muster.model import limits
from muster.v1.workflow_pb2 import Step, Workflow
from muster.workflow.checking_steps import gate_problems, kind_problems
from muster.workflow.definition import expression_of
from muster.workflow.expression import Expression
from muster.workflow.fitting import mismatches
from muster.workflow.graph import ancestors, cycles
from muster.workflow.lookups import (
    BadSchema,
    Capabilities,
    Lookups,
    Shapes,
    Workflows,
    shape_of,
    validator_of,
)
from muster.workflow.places import Problem, joined
from muster.workflow.references import Place, wrong_references
from muster.workflow.shapes import ANYTHING, INTEGER, Shape, describe
from muster.workflow.syntax import BadSyntax, ListOf
from muster.workflow.template import BadTemplate, Template, parse_text
from muster.workflow.typings import Roots, Typing, shape_of_part

# Names that an expression could not tell from something else.
RESERVED = frozenset({"false", "in", "input", "null", "true"})


def check_workflow(
    workflow: Workflow, capabilities: Capabilities, workflows: Workflows
) -> list[Problem]:
    """Every problem, in the order of the definition; empty when it can run.

    `capabilities` and `workflows` find what a selector means in the tenant's catalogue, or None.
    The message is valid as its proto's rules go.
    """
    checker = _Checker(workflow, Lookups(capabilities, workflows))
    if not checker.too_many_expressions():
        checker.check()
    return list(dict.fromkeys(checker.problems))


class _Checker:
    def __init__(self, workflow: Workflow, lookups: Lookups) -> None:
        self._workflow = workflow
        self._lookups = lookups
        self._shapes = Shapes(workflow, lookups)
        self.problems: list[Problem] = []
        names = {step.name for step in workflow.steps}
        self._graph = {
            step.name: [name for name in step.depends_on if name in names]
            for step in workflow.steps
        }
        self._before = ancestors(self._graph)

    def _add(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def too_many_expressions(self) -> bool:
        """Each takes some 50 µs to compile and check."""
        workflow = self._workflow
        texts = [text for step in workflow.steps for text in _texts(step)]
        count = sum(text.count("${") for text in (*texts, workflow.output))
        if count > limits.WORKFLOW_EXPRESSIONS_MAX:
            most = f"{limits.WORKFLOW_EXPRESSIONS_MAX:,}"
            self._add("", f"it has {count:,} expressions, more than {most}: pass on larger parts")
        return bool(self.problems)

    def check(self) -> None:
        try:
            validator_of(self._workflow.input)
        except BadSchema as error:
            self._add("input", f"this is no usable JSON Schema: {error}")
        self._names()
        self._cycles()
        for number, step in enumerate(self._workflow.steps):
            self._step(step, f"steps[{number}]")
        self._recursion()
        if self._workflow.output:
            place = Place(dict.fromkeys(self._before, True))
            self._template("output", self._workflow.output, place, self._shapes.roots, ANYTHING, "")

    # --- names and graph --------------------------------------------------------------------------

    def _names(self) -> None:
        first: dict[str, int] = {}
        for number, step in enumerate(self._workflow.steps):
            path = f"steps[{number}].name"
            if step.name in first:
                text = f"steps[{first[step.name]}] is called {step.name} already"
                self._add(path, f"{text}: give this one another name")
            if step.name in RESERVED:
                self._add(path, f"{step.name} is a word of expressions: take another name")
            first.setdefault(step.name, number)

    def _cycles(self) -> None:
        places = {step.name: number for number, step in enumerate(self._workflow.steps)}
        for cycle in cycles(self._graph):
            way = " → ".join((*cycle, cycle[0]))
            self._add(
                f"steps[{places[cycle[0]]}].depends_on",
                f"steps wait for each other: {way}; take one of these out of a depends_on",
            )

    def _depends_on(self, step: Step, path: str) -> None:
        names = list(step.depends_on)
        for number, name in enumerate(names):
            here = f"{path}.depends_on[{number}]"
            if name not in self._graph:
                self._add(here, f"there is no step {name}; {_meant(name, self._before)}")
            elif name in names[:number]:
                self._add(here, f"{name} stands here twice: once is enough")

    def _recursion(self) -> None:
        way = self._lookups.way_back(self._workflow)
        if not way:
            return
        for number, step in enumerate(self._workflow.steps):
            if step.HasField("workflow") and step.workflow.name == way[1]:
                text = f"the workflow would run itself: {' → '.join(way)}"
                self._add(f"steps[{number}].workflow", f"{text}; no workflow may reach itself")
                return

    # --- one step ---------------------------------------------------------------------------------

    def _step(self, step: Step, path: str) -> None:
        self._depends_on(step, path)
        self.problems += kind_problems(step, path)
        if step.HasField("gate"):
            self.problems += gate_problems(step.gate, f"{path}.gate")
        before = self._before[step.name]
        after = frozenset(name for name, each in self._before.items() if step.name in each)
        place = Place(
            {name: name in before for name in self._before},
            step=step.name,
            after=after - before,
        )
        roots = self._shapes.roots
        if step.when:
            self._condition(step, f"{path}.when", place)
        element = self._items(step, path, place) if step.for_each else ANYTHING
        if step.for_each:
            place = replace(place, items=not step.HasField("gate"))
            roots = {**roots, "item": element, "index": INTEGER}
        if step.HasField("gate"):
            self._text(f"{path}.gate.question", step.gate.question, place)
        self._input(step, path, place, roots)
        if step.HasField("compensate"):
            self._compensation(step, f"{path}.compensate")

    def _condition(self, step: Step, path: str, place: Place) -> None:
        shape, _ = self._expression(path, step.when, place)
        if "boolean" not in shape.kinds:
            self._add(path, f"it must be true or false, and it is {describe(shape)}: compare it")

    def _items(self, step: Step, path: str, place: Place) -> Shape:
        here = f"{path}.for_each"
        shape, expression = self._expression(here, step.for_each, place)
        if "array" not in shape.kinds:
            self._add(here, f"it must be a list, and it is {describe(shape)}")
            return ANYTHING
        if expression is not None and isinstance(expression.node, ListOf):
            self._fan_in(step, f"{path}.fan_in", len(expression.node.items))
        return shape.element if shape.kinds == {"array"} else ANYTHING

    def _fan_in(self, step: Step, path: str, count: int) -> None:
        rule = step.fan_in.WhichOneof("rule")
        wanted = getattr(step.fan_in, rule) if rule else 0
        if wanted > count:
            self._add(
                f"{path}.{rule}", f"for_each has {count} elements: {wanted} are never reached"
            )

    def _input(self, step: Step, path: str, place: Place, roots: Roots) -> None:
        wanted, of = ANYTHING, ""
        match step.WhichOneof("action"):
            case "capability":
                of = step.capability.name
                wanted = self._capability(of, step.capability.version, f"{path}.capability")
            case "workflow":
                of = step.workflow.name
                wanted = self._child(step, f"{path}.workflow")
            case _:
                return
        self._template(f"{path}.input", step.input, place, roots, wanted, of)

    def _compensation(self, step: Step, path: str) -> None:
        selector = step.compensate.capability
        wanted = self._capability(selector.name, selector.version, f"{path}.capability")
        ended = self._before[step.name] | {step.name}
        why = "only what the step depends on, and itself, has surely ended when it is undone"
        place = Place({name: name in ended for name in self._before}, why=why)
        roots, text = self._shapes.roots, step.compensate.input
        self._template(f"{path}.input", text, place, roots, wanted, selector.name)

    def _capability(self, name: str, version: str, path: str) -> Shape:
        """What a capability takes."""
        found = self._lookups.capability(name, version)
        if found is None:
            known = version and self._lookups.capability(name, "") is not None
            what = f"version {version} of {name}" if known else name
            self._add(
                path,
                f"no agent has ever offered {what}: mend the name, or attach one that does first",
            )
            return ANYTHING
        return shape_of(found.input)

    def _child(self, step: Step, path: str) -> Shape:
        """What another workflow takes."""
        name, version = step.workflow.name, step.workflow.version
        if name == self._workflow.name:
            return ANYTHING  # it is said where recursion is
        found = self._lookups.workflow(name, version)
        if found is None:
            known = version and self._lookups.workflow(name, 0) is not None
            what = f"version {version} of workflow {name}" if known else f"workflow {name}"
            self._add(path, f"there is no {what}: mend the name, or register it first")
            return ANYTHING
        return shape_of(found.input)

    # --- expressions and templates ----------------------------------------------------------------

    def _expression(self, path: str, text: str, place: Place) -> tuple[Shape, Expression | None]:
        try:
            expression = expression_of(text)
        except BadSyntax as error:
            self._add(path, f"this is no expression: {error}")
            return ANYTHING, None
        self._references((expression,), path, place)
        return self._typing(path, self._shapes.roots).of(expression.node), expression

    def _references(self, expressions: Iterable[Expression], path: str, place: Place) -> None:
        for expression in expressions:
            for message in wrong_references(expression, place):
                self._add(path, message)

    def _typing(self, path: str, roots: Roots) -> Typing:
        return Typing(roots, lambda message: self._add(path, message))

    def _text(self, path: str, text: str, place: Place) -> None:
        try:
            parsed = parse_text(text)
        except BadTemplate as error:
            self._add(path, str(error))
            return
        self._references(parsed.expressions, path, place)
        shape_of_part(parsed, lambda _: self._typing(path, self._shapes.roots))

    def _template(
        self, path: str, text: str, place: Place, roots: Roots, wanted: Shape, of: str
    ) -> None:
        """A template, and whether what it makes fits what `of` takes."""
        try:
            template = Template(text or "{}")
        except BadTemplate as error:
            self._add(joined(path, error.path), str(error))
            return
        for below, each in template.texts:
            self._references(each.expressions, joined(path, below), place)
        comes = shape_of_part(template.part, lambda below: self._typing(joined(path, below), roots))
        for found in mismatches(comes, wanted):
            source = _source(template, found.path)
            self._add(joined(path, found.path), f"{of}: {found.message}{source}")


def _texts(step: Step) -> tuple[str, ...]:
    return step.when, step.for_each, step.input, step.compensate.input, step.gate.question


def _source(template: Template, path: str) -> str:
    """The expression at a place, for messages."""
    for below, text in template.texts:
        if below == path and text.whole is not None:
            return f" (from {text.whole.text.strip()})"
    return ""


def _meant(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
