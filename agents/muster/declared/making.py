"""Values from templates and expressions, for code that runs; what has none fails the attempt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from muster.agent.failures import Failed
from muster.wire.jsontext import json_text, json_value
from muster.workflow.definition import expression_of
from muster.workflow.scope import Unevaluable, Unread
from muster.workflow.template import Template, parse_text

Variables = Mapping[str, Any]


class Made:
    """A template of JSON; `place` is where it stands in the YAML. Raises `ValueError` for none."""

    def __init__(self, template: Any, place: str) -> None:
        self._template = Template(json_text(template))
        self._place = place

    def value(self, variables: Variables) -> Any:
        """What it makes of the variables. Raises `Failed` with TEMPLATE_FAILED."""
        try:
            text = self._template.json(variables)
        except Unevaluable as error:
            place = f"{self._place}.{error.place}" if error.place else self._place
            raise failed(place, error) from None
        assert not isinstance(text, Unread), "no variable here is unread"
        return json_value(text)


class Condition:
    """An expression that is true or false. Raises `ValueError` for none."""

    def __init__(self, text: str, place: str) -> None:
        self._expression = expression_of(text)
        self._place = place

    def holds(self, variables: Variables) -> bool:
        """Whether it is true. Raises `Failed` with TEMPLATE_FAILED where it is neither."""
        value = evaluated(self._expression.evaluate, variables, self._place)
        if isinstance(value, bool):
            return value
        message = f"{self._place} is {json_text(value)[:80]}, and must be true or false"
        raise Failed("TEMPLATE_FAILED", message, permanent=True)


class Listed:
    """An expression of a list. Raises `ValueError` for none."""

    def __init__(self, text: str, place: str) -> None:
        self._expression = expression_of(text)
        self._place = place

    def value(self, variables: Variables) -> list[Any]:
        """The list. Raises `Failed` with TEMPLATE_FAILED."""
        value = evaluated(self._expression.evaluate, variables, self._place)
        if isinstance(value, list):
            return value
        message = f"{self._place} is {json_text(value)[:80]}, and must be a list"
        raise Failed("TEMPLATE_FAILED", message, permanent=True)


def text_maker(text: str, place: str) -> Callable[[Variables], str]:
    """What makes a text with values in it. Raises `ValueError` for no template."""
    parsed = parse_text(text)
    return lambda variables: str(evaluated(parsed.interpolated, variables, place))


def evaluated(evaluate: Callable[[Variables], Any], variables: Variables, place: str) -> Any:
    """A value, or the failure that names the place."""
    try:
        return evaluate(variables)
    except Unevaluable as error:
        raise failed(place, error) from None


def failed(place: str, error: Exception) -> Failed:
    """How an attempt fails whose template has no value."""
    return Failed("TEMPLATE_FAILED", f"{place}: {error}", permanent=True)


class Words:
    """Words to look for, whole and in any case."""

    def __init__(self, words: Iterable[str]) -> None:
        alternatives = "|".join(re.escape(word) for word in words)
        self._pattern = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)

    def within(self, value: Any) -> bool:
        """Whether one of them is in a text, or in a text somewhere in a value."""
        return any(self._pattern.search(text) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
