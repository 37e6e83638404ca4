"""What holds of any graph, any expression and any definition."""

import json
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any

import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.v1.capability_pb2 import Capability, Schema
from muster.v1.workflow_pb2 import Workflow
from muster.workflow import syntax
from muster.workflow.checking import check_workflow
from muster.workflow.definition import compile_workflow
from muster.workflow.expression import Expression
from muster.workflow.fitting import mismatches
from muster.workflow.graph import ancestors, cycles
from muster.workflow.scope import Scope, StepValue, Unevaluable
from muster.workflow.shapes import Shape, constant
from muster.workflow.syntax import BadSyntax

# --- graphs ---------------------------------------------------------------------------------------

NAMES = "abcdef"
GRAPHS = st.dictionaries(
    st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES), max_size=4), min_size=1
).map(lambda graph: {name: sorted(before & graph.keys()) for name, before in graph.items()})


@given(GRAPHS)
def test_a_cycle_is_found_just_where_there_is_no_order(graph: dict[str, list[str]]) -> None:
    found = cycles(graph)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError:
        assert found
    else:
        assert not found
    for cycle in found:
        for before, after in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            assert before in graph[after]
    # Without one step of each, there is an order.
    opened = {cycle[0] for cycle in found}
    rest = {n: [b for b in graph[n] if b not in opened] for n in graph if n not in opened}
    assert len(cycles(rest)) <= len(rest)


@given(GRAPHS)
def test_ancestors_are_what_is_reached_backwards(graph: dict[str, list[str]]) -> None:
    found = ancestors(graph)
    for name, before in graph.items():
        reached = set(before).union(*(found[each] for each in before))
        assert found[name] == reached


# --- expressions ----------------------------------------------------------------------------------

LEAVES = st.sampled_from(
    "input.a input.b[0] input.c.d input x item index run.id steps.p.output steps.p.state".split()
    + "1 -2 2.5 0x1F 3u true null 'a}' \"b'\" r'\\' b'x' [] {} int".split()
    + ["''' ' '''", "timestamp('2026-01-01T00:00:00Z')"]
)


def composed(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operator = st.sampled_from("+ - * / % && || == != < <= > >= in".split())
    macro = st.sampled_from(sorted(syntax.MACROS))
    function = st.sampled_from("size int string has matches contains nope".split())
    return st.one_of(
        st.tuples(inner, operator, inner).map(" ".join),
        st.builds("({})".format, inner),
        st.builds("!{}".format, inner),
        st.builds("-{}".format, inner),
        st.builds("{} ? {} : {}".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{'k': {}}}".format, inner),
        st.builds("{}({})".format, function, inner),
        st.builds("{}.{}({})".format, inner, function, inner),
        st.builds("{}.{}(x, {})".format, inner, macro, inner),
        st.builds("{}.y".format, inner),
        st.builds("{}[{}]".format, inner, inner),
    )


EXPRESSIONS = st.recursive(LEAVES, composed, max_leaves=8)
NOISE = st.text("input.steps[]{}()'\"\\+-*/%?:&|!<>=, ab1_\n", max_size=30)


def compiles(text: str) -> bool:
    try:
        cel.compile(text)
    except ValueError:
        return False
    return True


@given(EXPRESSIONS | NOISE)
def test_the_tree_is_read_of_whatever_the_library_takes(text: str) -> None:
    try:
        node = Expression(text).node
    except BadSyntax as error:
        # Two forms of CEL are of no use here, and refused: names from the root, and messages.
        unused = ("begin with a dot", "messages to be made")
        assert any(word in str(error) for word in unused) or not compiles(text), text  # noqa: PT017
        return
    for part in syntax.every(node):
        # Each part is where it says to be, and an expression by itself.
        assert compiles(text[part.start : part.end]), text[part.start : part.end]


VARIABLES: dict[str, Any] = {
    "input": {"a": 3, "b": [1, "x", {"y": 2}], "c": {"d": "text", "y": [1]}},
    "steps": {"p": StepValue("SUCCEEDED", {"y": [1, 2]})},
    "run": {"id": "r"},
    "item": [3, 4],
    "index": 0,
}


@given(EXPRESSIONS)
def test_it_gives_what_the_library_gives_with_all_variables_handed_over(text: str) -> None:
    whole = {
        **VARIABLES,
        "steps": {"p": {"state": "SUCCEEDED", "output": {"y": [1, 2]}, "failure": None}},
    }
    try:
        expression = Expression(text)
    except BadSyntax:
        return
    try:
        expected = cel.compile(text).execute(whole)
    except Exception:  # noqa: BLE001 - the library raises what it likes
        expected = None
    with suppress(Unevaluable):
        found = expression.evaluate(VARIABLES)
        if isinstance(expected, bool | int | str | float):
            assert found == expected or isinstance(found, str)
        elif isinstance(expected, list) and ".map(x, x" not in text:
            assert len(found) == len(expected)


# --- shapes ---------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from("abc"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=6,
)
KIND = st.sampled_from("object array string integer number boolean null".split())


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries(
            {"type": st.just("array"), "prefixItems": st.lists(inner, min_size=1, max_size=2)}
        ),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": members},
            optional={
                "required": st.lists(st.sampled_from("abc"), unique=True),
                "additionalProperties": st.booleans() | inner,
            },
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
    )


SCHEMAS = st.recursive(
    st.booleans()
    | st.fixed_dictionaries({"type": KIND | st.lists(KIND, min_size=1, max_size=2, unique=True)})
    | st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=3)})
    | st.fixed_dictionaries({"const": VALUES}),
    larger,
    max_leaves=5,
)


def fits(schema: Any, value: Any) -> bool:
    import jsonschema_rs

    return bool(jsonschema_rs.Draft202012Validator(schema).is_valid(value))


@given(SCHEMAS, VALUES)
@settings(max_examples=300)
def test_a_value_that_fits_is_never_called_a_mismatch(schema: Any, value: Any) -> None:
    found = list(mismatches(constant(value), Shape(schema, schema)))
    assert bool(found) != fits(schema, value)


@given(SCHEMAS, SCHEMAS, VALUES)
@settings(max_examples=500)
def test_what_fits_both_sides_is_a_reason_to_say_nothing(one: Any, other: Any, value: Any) -> None:
    found = list(mismatches(Shape(one, one), Shape(other, other)))
    if found and fits(one, value) and fits(other, value):
        # But for lists, which may be empty, and numbers, which may be whole, nothing fits both.
        words = " ".join(each.message for each in found)
        assert "list" in words or "number" in words, (found, value)


# --- definitions ----------------------------------------------------------------------------------

JSON = VALUES
TEMPLATES = st.recursive(
    EXPRESSIONS.map(lambda text: f"${{{text}}}")
    | st.builds("at ${{{}}}".format, EXPRESSIONS)
    | JSON,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=3,
)


@given(TEMPLATES, EXPRESSIONS | st.just(""), EXPRESSIONS | st.just(""), SCHEMAS, JSON, JSON)
@settings(max_examples=300)
def test_a_definition_that_passes_raises_nothing_but_that_it_has_no_value(
    template: Any, when: str, for_each: str, schema: Any, given_input: Any, output: Any
) -> None:
    workflow = Workflow(name="a", output=json.dumps(template))
    workflow.steps.add(name="p").capability.name = "c"
    step = workflow.steps.add(name="s", depends_on=["p"], when=when, for_each=for_each)
    step.capability.name = "c"
    step.input = json.dumps(template)
    offered = Capability(name="c", output=Schema(json_schema=json.dumps(schema)))
    problems = check_workflow(workflow, lambda *_: offered, lambda *_: None)
    assert all(problem.path and problem.message for problem in problems)
    if problems:
        return
    definition = compile_workflow(workflow)
    scope = Scope({"id": "r"}, given_input, {"p": StepValue("SUCCEEDED", output)})
    with suppress(Unevaluable):
        begun = definition.begin("s", scope)
        items = begun.items or [None]
        assert begun.items is None or begun.count == len(begun.items)
        made = definition.input_of("s", scope, items[0], 0)
        assert isinstance(made, str)
        json.loads(made)
    with suppress(Unevaluable):
        definition.output(scope)
