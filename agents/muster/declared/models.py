"""What answers prompts: providers, which others can add, and one that comes with Muster.

A provider is made of an agent's `model` settings. One that is installed says so in its packaging:

    [project.entry-points."muster.models"]
    acme = "acme_models:make"        # a function of the settings that returns a `Provider`

`template` answers by rules and templates: the same to the same, without any language model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from muster.declared.making import Condition, Words, text_maker
from muster.workflow.places import Problem, inside

GROUP = "muster.models"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked. `variables` is what expressions see at the place."""

    text: str
    system: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What it answers, and what that took."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    model: str = ""


class Provider(Protocol):
    """Answers prompts. What it raises fails the attempt."""

    async def answer(self, prompt: Prompt) -> Reply:
        """The answer to one."""


class BadModel(ValueError):
    """Settings that a provider cannot work with; `path` is the place in them."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


Make = Callable[[Mapping[str, Any]], Provider]


def provider_of(settings: Mapping[str, Any]) -> Provider:
    """The provider that settings name. Raises `BadModel` where there is none, or it will not."""
    name = settings["provider"]
    makers = _makers()
    if name not in makers:
        message = (
            f"no provider {name!r} is installed; there is {', '.join(makers)}. Install a package "
            f"that offers it (entry point {GROUP}), or let provider: template answer by rules"
        )
        raise BadModel(message, "provider")
    make = makers[name]
    if isinstance(make, EntryPoint):
        try:
            make = make.load()
        except Exception as error:
            message = f"the provider {name} does not load: {type(error).__name__}: {error}"
            raise BadModel(message, "provider") from error
    return make(settings)


def _makers() -> dict[str, Make | EntryPoint]:
    found: dict[str, Make | EntryPoint] = {"template": Templates}
    for entry in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        found.setdefault(entry.name, entry)
    return found


class Templates:
    """Answers with the first rule that fits, or else `otherwise`:

    rules:
      - words: [refund, money back]            # one of them is in the prompt
        say: "${configuration.shop} pays back within 14 days."
      - when: "size(prompt) > 500"             # or an expression of prompt, system and the others
        say: "That is a long question: ${prompt}"
    otherwise: "${prompt}"                     # the prompt itself, when absent
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        unknown = settings.keys() - {"provider", "system", "rules", "otherwise"}
        if unknown:
            name = min(unknown)
            message = "the template provider has no such setting; it has rules and otherwise"
            raise BadModel(message, name)
        self._rules = list(_rules(settings.get("rules", [])))
        otherwise = settings.get("otherwise", "${prompt}")
        self._otherwise = _text(otherwise, "otherwise")

    async def answer(self, prompt: Prompt) -> Reply:
        """The text of the rule that fits. Raises `Failed` where a template has no value."""
        variables = {**prompt.variables, "prompt": prompt.text, "system": prompt.system}
        for fits, say in self._rules:
            if fits(prompt.text, variables):
                return Reply(say(variables), model="template")
        return Reply(self._otherwise(variables), model="template")


_RULE_KEYS = {"words", "when", "say"}


def _rules(rules: Any) -> Iterator[tuple[Callable[..., bool], Callable[..., str]]]:
    if not isinstance(rules, list):
        raise BadModel("rules are a list", "rules")
    for number, rule in enumerate(rules):
        path = f"rules[{number}]"
        if not isinstance(rule, dict) or "say" not in rule or len(rule) < 2:
            raise BadModel("a rule has say, and words or when", path)
        if unknown := rule.keys() - _RULE_KEYS:
            text = "there is no such key; there are words, when, say"
            raise BadModel(text, inside(path, min(unknown)))
        yield _fits(rule, path), _text(rule["say"], f"{path}.say")


def _fits(rule: dict[str, Any], path: str) -> Callable[[str, Mapping[str, Any]], bool]:
    words = Words(rule["words"]) if _are_words(rule.get("words"), path) else None
    when = _condition(rule["when"], f"{path}.when") if "when" in rule else None

    def fits(prompt: str, variables: Mapping[str, Any]) -> bool:
        if words is not None and not words.within(prompt):
            return False
        return when is None or when.holds(variables)

    return fits


def _are_words(words: Any, path: str) -> bool:
    if words is None:
        return False
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise BadModel("words are a list of texts", f"{path}.words")
    return True


def _condition(text: Any, path: str) -> Condition:
    try:
        return Condition(text, f"model.{path}")
    except ValueError as error:
        raise BadModel(str(error), path) from None


def _text(text: Any, path: str) -> Callable[[Mapping[str, Any]], str]:
    if not isinstance(text, str):
        raise BadModel("it must be text", path)
    try:
        return text_maker(text, f"model.{path}")
    except ValueError as error:
        raise BadModel(str(error), path) from None


def problem_of(error: BadModel) -> Problem:
    """Where it stands in an agent."""
    return Problem(f"model.{error.path}" if error.path else "model", str(error))
