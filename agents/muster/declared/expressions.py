"""Checks expressions and templates at their places: what they mention, and what comes of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from muster.v1.capability_pb2 import Schema
from muster.wire.jsontext import json_text
from muster.workflow import syntax
from muster.workflow.definition import expression_of
from muster.workflow.expression import TYPES, Expression
from muster.workflow.lookups import BadSchema, validator_of
from muster.workflow.places import Problem, joined
from muster.workflow.references import wrong_functions
from muster.workflow.shapes import (
    ANYTHING,
    STRING,
    Shape,
    constant,
    describe,
    shape_of_schema,
    union,
)
from muster.workflow.syntax import BadSyntax
from muster.workflow.template import BadTemplate, Template, parse_text
from muster.workflow.typings import Typing, shape_of_part

Roots = Mapping[str, Shape]


class Checker:
    """Collects problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, path: str, message: str) -> None:
        """Notes a problem at a place."""
        self.problems.append(Problem(path, message))

    def template(self, path: str, value: Any, roots: Roots) -> Shape:
        """What a template of JSON makes."""
        try:
            template = Template(json_text(value))
        except BadTemplate as error:
            self.add(joined(path, error.path), str(error))
            return ANYTHING
        for below, each in template.texts:
            self._references(each.expressions, joined(path, below), roots)
        return shape_of_part(template.part, lambda below: self._typing(joined(path, below), roots))

    def text(self, path: str, text: str, roots: Roots) -> None:
        """A text with values in it."""
        try:
            parsed = parse_text(text)
        except BadTemplate as error:
            self.add(path, str(error))
            return
        self._references(parsed.expressions, path, roots)
        shape_of_part(parsed, lambda _: self._typing(path, roots))

    def condition(self, path: str, text: str, roots: Roots) -> None:
        """An expression that is true or false."""
        shape = self._expression(path, text, roots)
        if "boolean" not in shape.kinds:
            self.add(path, f"it must be true or false, and it is {describe(shape)}: compare it")

    def items(self, path: str, text: str, roots: Roots) -> None:
        """An expression of a list."""
        shape = self._expression(path, text, roots)
        if "array" not in shape.kinds:
            self.add(path, f"it must be a list, and it is {describe(shape)}")

    def question(self, spec: Mapping[str, Any], path: str, roots: Roots) -> Shape:
        """A question to a person; the shape of its answer."""
        self.text(f"{path}.text", spec["text"], roots)
        if "deadline" not in spec and "default" in spec:
            self.add(f"{path}.default", "it is taken after the deadline: say deadline, too")
        if "answer" not in spec:
            choices = spec.get("choices")
            return STRING if choices is None else union(constant(each) for each in choices)
        text = json_text(spec["answer"])
        try:
            validator = validator_of(Schema(json_schema=text))
        except BadSchema as error:
            self.add(f"{path}.answer", f"this is no usable JSON Schema: {error}")
            return ANYTHING
        for number, choice in enumerate(spec.get("choices", ())):
            if not validator.is_valid(choice):
                self.add(f"{path}.choices[{number}]", "it does not fit answer")
        if "default" in spec and not validator.is_valid(spec["default"]):
            self.add(f"{path}.default", "it does not fit answer")
        return shape_of_schema(text)

    def _expression(self, path: str, text: str, roots: Roots) -> Shape:
        try:
            expression = expression_of(text)
        except BadSyntax as error:
            self.add(path, f"this is no expression: {error}")
            return ANYTHING
        self._references((expression,), path, roots)
        return self._typing(path, roots).of(expression.node)

    def _references(self, expressions: Iterable[Expression], path: str, roots: Roots) -> None:
        for expression in expressions:
            for found in syntax.free_paths(expression.node, TYPES):
                if found.root not in roots:
                    close = difflib.get_close_matches(found.root, roots, 1)
                    meant = (
                        f"did you mean {close[0]}?" if close else f"there are {', '.join(roots)}"
                    )
                    self.add(path, f"there is no variable {found.root} here; {meant}")
            for message in wrong_functions(expression.node):
                self.add(path, message)

    def _typing(self, path: str, roots: Roots) -> Typing:
        return Typing(roots, lambda message: self.add(path, message))
