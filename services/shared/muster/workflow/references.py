"""What an expression may refer to where it stands: variables, steps that have ended, functions."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from muster.workflow import syntax
from muster.workflow.expression import TYPES, Expression
from muster.workflow.syntax import Node, Path

STEP_MEMBERS = ("output", "state", "failure")
FAILURE_MEMBERS = ("code", "message")
RUN_MEMBERS = ("id", "workflow", "version", "start_time")
# A step that is mentioned has ended, one way or another.
STATES = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED")

# How many arguments the library's functions take, a method's receiver counted.
FUNCTIONS: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("bytes", "double", "duration", "dyn", "has", "int", "size"), (1, 1)),
    **dict.fromkeys(("string", "timestamp", "type", "uint"), (1, 1)),
    **dict.fromkeys(("contains", "endsWith", "matches", "startsWith"), (2, 2)),
    **dict.fromkeys(
        (
            "getDate getDayOfMonth getDayOfWeek getDayOfYear getFullYear getHours getMilliseconds "
            "getMinutes getMonth getSeconds"
        ).split(),
        (1, 1),
    ),
}
METHODS_ONLY = frozenset(syntax.MACROS)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands, and so what it may mention."""

    steps: Mapping[str, bool]  # all of the workflow's; True for those that have ended by then
    items: bool = False  # in the input of a step with for_each
    why: str = "add {name} to depends_on"  # what to do about a step that need not have ended
    step: str = ""  # the step itself
    after: frozenset[str] = frozenset()  # those that depend on it

    @property
    def roots(self) -> tuple[str, ...]:
        """The variables."""
        return ("input", "steps", "run", *(("item", "index") if self.items else ()))


def wrong_references(expression: Expression, place: Place) -> Iterator[str]:
    """What it mentions that is not there. Each once."""
    found = dict.fromkeys(_of_paths(expression.node, place))
    found |= dict.fromkeys(wrong_functions(expression.node))
    found |= dict.fromkeys(_of_states(expression.node))
    yield from found


def _of_paths(node: Node, place: Place) -> Iterator[str]:
    for path in syntax.free_paths(node, TYPES):
        if path.root == "steps":
            yield from _of_step(path, place)
        elif path.root == "run":
            yield from _one_of(path, 0, RUN_MEMBERS, "run")
        elif path.root not in place.roots:
            yield _no_variable(path.root, place)


def _no_variable(name: str, place: Place) -> str:
    if name in ("item", "index"):
        return f"{name} is there only in the input of a step with for_each"
    if name in place.steps:
        return f"there is no variable {name}; a step is written steps.{name}.output"
    return f"there is no variable {name}; there are {', '.join(place.roots)}"


def _of_step(path: Path, place: Place) -> Iterator[str]:
    if not path.parts:
        yield "name the step, as in steps.NAME.output: which one must be known before the run"
        return
    name = str(path.parts[0])
    if name not in place.steps:
        close = difflib.get_close_matches(name, place.steps, 1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(place.steps)}"
        yield f"there is no step {name}; {meant}"
    elif name == place.step and not place.steps[name]:
        yield "a step does not see its own outcome: name a step that it depends on"
    elif name in place.after:
        yield f"step {name} depends on this one, and so has not ended by then"
    elif not place.steps[name]:
        yield f"step {name} need not have ended by then: {place.why.format(name=name)}"
    else:
        yield from _one_of(path, 1, STEP_MEMBERS, f"steps.{name}")
        if path.parts[1:2] == ("failure",):
            yield from _one_of(path, 2, FAILURE_MEMBERS, f"steps.{name}.failure")


def _one_of(path: Path, at: int, members: tuple[str, ...], what: str) -> Iterator[str]:
    if len(path.parts) > at and path.parts[at] not in members:
        yield f"{what} has no {path.parts[at]!r}; it has {', '.join(members)}"


def wrong_functions(node: Node) -> Iterator[str]:
    """Functions that are called and are not there, or not with so many arguments."""
    for part in syntax.every(node):
        if not isinstance(part, syntax.Call):
            continue
        if part.name in METHODS_ONLY:
            yield f"{part.name}() is written LIST.{part.name}(x, EXPRESSION)"
        elif part.name not in FUNCTIONS:
            close = difflib.get_close_matches(part.name, [*FUNCTIONS, *METHODS_ONLY], 1)
            meant = f"; did you mean {close[0]}()?" if close else ""
            yield f"there is no function {part.name}(){meant}"
        else:
            least, most = FUNCTIONS[part.name]
            if not least <= len(part.arguments) <= most:
                yield f"{part.name}() does not take {len(part.arguments)} arguments"


def _of_states(node: Node) -> Iterator[str]:
    """A state that is compared with what no state is called."""
    for part in syntax.every(node):
        if not isinstance(part, syntax.Operation) or not {"==", "!="} & set(part.operators):
            continue
        if not any(_is_state(operand) for operand in part.operands):
            continue
        for operand in part.operands:
            if isinstance(operand, syntax.Literal) and operand.value not in STATES:
                yield f"no state is {operand.value!r}; there are {', '.join(STATES)}"


def _is_state(node: Node) -> bool:
    return isinstance(node, Path) and node.root == "steps" and node.parts[1:] == ("state",)
