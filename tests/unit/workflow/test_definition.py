"""What a compiled definition makes of a run's data."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model import limits
from muster.v1.payload_pb2 import Binary, BlobRef, Payload
from muster.v1.workflow_pb2 import Workflow
from muster.workflow.definition import BadDefinition, Definition, compile_workflow
from muster.workflow.plan import Kind, Rule
from muster.workflow.scope import Scope, StepValue, Unevaluable, Unread
from muster.workflow.source import read_workflow

BLOB = Payload(blob=BlobRef(sha256="0" * 64, size_bytes=70_000))


def defined(steps: str, output: str = "") -> Definition:
    tail = f"\noutput: {output}" if output else ""
    return compile_workflow(read_workflow(f"name: a\nsteps:\n{steps}{tail}").workflow)


def step_with(template: Any) -> Definition:
    workflow = Workflow(name="a")
    step = workflow.steps.add(name="s", input=json.dumps(template))
    step.capability.name = "c"
    return compile_workflow(workflow)


def value_of(template: Any, scope: Scope) -> Any:
    made = step_with(template).input_of("s", scope)
    assert isinstance(made, str)
    return json.loads(made)


def reason(definition: Definition, scope: Scope, **item: Any) -> str:
    with pytest.raises(Unevaluable) as caught:
        definition.input_of("s", scope, **item)
    return str(caught.value)


def done(output: Any) -> StepValue:
    return StepValue("SUCCEEDED", output)


# --- the plan -------------------------------------------------------------------------------------


def test_the_plan_has_every_step_with_its_control_flow() -> None:
    plan = defined(
        """
- {name: a, capability: c, compensate: {capability: u}}
- {name: b, workflow: w, depends_on: [a], when: "true", for_each: "[1]", concurrency: 7,
   fan_in: {quorum: 1}, on_failure: continue}
- {name: c, gate: {question: q}}
- {name: d, wait: 1s}
- {name: e, wait: {signal: go}}
"""
    ).plan
    a, b, c, d, e = plan.steps.values()
    assert (a.kind, a.undoable, a.concurrency, a.rule) == (Kind.CONTRACT, True, 100, Rule.ALL)
    assert (b.kind, b.depends_on, b.conditional) == (Kind.RUN, ("a",), True)
    assert (b.concurrency, b.rule, b.count, b.continues) == (7, Rule.QUORUM, 1, True)
    assert (c.kind, d.kind, e.kind, e.signal) == (Kind.GATE, Kind.TIMER, Kind.SIGNAL, "go")


def test_a_definition_that_was_not_checked_is_refused_with_the_place() -> None:
    with pytest.raises(BadDefinition, match=r"^step s, when: "):
        defined("- {name: s, wait: 1s, when: '1 +'}")
    with pytest.raises(BadDefinition, match=r"^step s, input\.a\[0\]: "):
        defined("- {name: s, capability: c, input: {a: ['${']}}")


# --- templates ------------------------------------------------------------------------------------

INPUT = {"topics": ["x", "ü"], "n": 2**63 - 1, "big": 2**70, "f": 1.0, "none": None, "o": {"b": 1}}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${input}", INPUT),
        ("${input.n}", 2**63 - 1),
        ("${input.big}", 2**70),
        ("${ input.topics[1] }", "ü"),
        ("${input['o']['b'] + 1}", 2),
        ("n is ${input.n}, ${input.f}", "n is 9223372036854775807, 1.0"),
        ("${input.topics} ${input.none}", '["x","ü"] null'),
        ("$$${input.n}$ $5 $${input.n}", "$9223372036854775807$ $5 ${input.n}"),
        ("${'}'}${\"}\"}${ {'a': {'b': '}'}}['a']['b'] }", "}}}"),
        ("${r'\\'}${'''it's }'''}", "\\it's }"),
        ("${// a comment with }\n 1}", 1),
        ({"${input.n}": ["${input.f}", None, True]}, {"${input.n}": [1.0, None, True]}),
        ("${has(input.nothing) ? 1 : 2}", 2),
        ("${has(input.o.b)}", True),
        ("${size(input.topics) + input.o.size()}", 3),
        ("${input.topics.filter(t, t != 'x').map(t, [t, input.o.b])}", [["ü", 1]]),
        ("${input.o.map(k, k)}", ["b"]),
        ("${input.nothing == 1 || true}", True),
        ("${timestamp('2026-01-01T00:00:00Z') + duration('90s')}", "2026-01-01T00:01:30Z"),
        ("${duration('1h') + duration('250ms')}", "3600.25s"),
        ("${b'abc'}", "YWJj"),
        ("${{'z': 1, 'a': 2}}", {"a": 2, "z": 1}),
        ("${type(input.n) == int}", True),
        ("${-9223372036854775808}", -(2**63)),
        ("", ""),
    ],
)
def test_a_template_makes(template: Any, value: Any) -> None:
    made = value_of(template, Scope(input=INPUT))
    assert made == value
    assert json.dumps(made, sort_keys=True) == json.dumps(value, sort_keys=True)


def test_what_is_passed_on_whole_keeps_its_keys_in_order() -> None:
    order = list("zqaxmb")
    text = step_with({"o": "${input.o}"}).input_of("s", Scope(input={"o": dict.fromkeys(order, 1)}))
    assert isinstance(text, str)
    assert list(json.loads(text)["o"]) == order


def test_a_macro_over_an_object_sees_its_keys_in_order() -> None:
    order = list("zqaxmb")
    assert value_of("${input.map(k, k)}", Scope(input=dict.fromkeys(order, 1))) == order


HAS = "it has big, f, n, none, o, topics"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("input.x", f"input has no 'x'; {HAS}"),
        ("input.o.b.c", "input.o.b is an integer, so it has no 'c'"),
        ("input.none.c", "input.none is null, so it has no 'c'"),
        ("input.topics[2]", "input.topics has 2 elements, and so no [2]"),
        ("input.x + 1", f"input has no 'x'; {HAS}"),
        ("input.n + 1", "Arithmetic overflow in 'add' on 9223372036854775807 and 1."),
        ("input.n / 0", "division by zero in CEL expression"),
        ("0.0 / 0.0", "the result is nan, which JSON has not"),
        ("{1: 2}", "the keys of an object must be strings: use string(…)"),
        (
            "input.big + 1",
            "1180591620717411303424… has more than 64 bits: it can only be passed on",
        ),
        (
            "input.topics.map(t, t.x)",
            "an operator or function is not for values of these types (int(), double(), string())",
        ),
        (
            "size(input.n)",
            "size() is of a list, an object or a string, and this is an integer",
        ),
        ("has(input.n.x)", "input.n is an integer, so it has no 'x'"),
    ],
)
def test_what_has_no_value_is_said_with_place_and_reason(expression: str, said: str) -> None:
    found = reason(step_with({"a": [f"${{{expression}}}"]}), Scope(input=INPUT))
    assert found == f"step s, input.a[0]: {expression}: {said}"


# --- what is unread -------------------------------------------------------------------------------


def test_a_blob_that_is_the_whole_input_is_passed_on_unread() -> None:
    scope = Scope(input=Unread(BLOB), steps={"p": done(Unread(BLOB)), "q": done([Unread(BLOB)])})
    for template in ("${input}", "${steps.p.output}", "${ steps.q.output[0] }"):
        assert step_with(template).input_of("s", scope) is BLOB


@pytest.mark.parametrize(
    "template",
    [
        {"a": "${input}"},
        "${input.a}",
        "see ${input}",
        "${size(input)}",
        "${[input]}",
        "${steps.q.output}",
        {"all": "${steps.q.output}"},
    ],
)
def test_a_blob_is_not_looked_into_and_the_way_out_is_named(template: Any) -> None:
    scope = Scope(input=Unread(BLOB), steps={"q": done([1, Unread(BLOB)])})
    said = reason(step_with(template), scope)
    assert "is a blob of 70,000 bytes" in said
    assert "keep it under 64 KiB, or pass it on whole" in said


def test_how_many_outputs_there_are_is_known_without_reading_them() -> None:
    scope = Scope(steps={"q": done([Unread(BLOB), Unread(BLOB)])})
    assert value_of("${size(steps.q.output)}", scope) == 2


def test_bytes_are_not_looked_into_either() -> None:
    scope = Scope(input=Unread(Payload(binary=Binary(data=b"x"))))
    assert "is bytes" in reason(step_with({"a": "${input.b}"}), scope)


def test_a_branch_that_is_not_taken_may_have_no_value() -> None:
    scope = Scope(input=Unread(BLOB), steps={"q": StepValue("SKIPPED")})
    template = "${steps.q.state == 'SKIPPED' ? 0 : input.a + steps.q.output.b}"
    assert value_of(template, scope) == 0


# --- steps ----------------------------------------------------------------------------------------

ITEMS = """
- {name: p, capability: c}
- {name: s, capability: c, depends_on: [p], when: "${steps.p.state == 'SUCCEEDED'}",
   for_each: steps.p.output, input: {item: "${item}", at: "${index}", run: "${run.id}"}}
"""


def test_a_step_begins_with_its_items() -> None:
    definition, scope = defined(ITEMS), Scope({"id": "r"}, None, {"p": done(["a", {"b": 2}])})
    begun = definition.begin("s", scope)
    assert (begun.skipped, begun.items, begun.count) == (False, ["a", {"b": 2}], 2)
    made = definition.input_of("s", scope, {"b": 2}, 1)
    assert made == '{"item":{"b":2},"at":1,"run":"r"}'
    assert definition.begin("p", scope).count == 1
    assert definition.input_of("p", scope) == "{}"


def test_a_step_whose_condition_is_false_is_skipped() -> None:
    scope = Scope(steps={"p": StepValue("FAILED", None, {"code": "X", "message": "y"})})
    assert defined(ITEMS).begin("s", scope).skipped


def test_what_is_wrong_at_the_beginning_is_said() -> None:
    definition = defined(ITEMS)
    with pytest.raises(Unevaluable, match=r"for_each: steps\.p\.output is an object, not a list"):
        definition.begin("s", Scope(steps={"p": done({})}))
    with pytest.raises(Unevaluable, match="has 10,001 elements, more than 10,000"):
        definition.begin("s", Scope(steps={"p": done([0] * (limits.WORKFLOW_ITEMS_MAX + 1))}))
    wrong = defined("- {name: s, wait: 1s, when: input}")
    with pytest.raises(Unevaluable, match=r"step s, when: input is null; true or false is wanted"):
        wrong.begin("s", Scope())


def test_a_gate_asks_with_its_values_in_place() -> None:
    definition = defined(
        "- {name: g, gate: {question: 'Publish ${input.n} of \"${input.t}\"?', answer: {type: "
        "boolean}, choices: [true, false], default: false, deadline: 1h}}"
    )
    asked = definition.question_of("g", Scope(input={"n": 3, "t": "a"}))
    assert (asked.id, asked.text) == ("g", 'Publish 3 of "a"?')
    assert [choice.json for choice in asked.choices] == ["true", "false"]
    assert asked.default_answer.json == "false"
    assert json.loads(asked.answer.json_schema) == {"type": "boolean"}
    assert not asked.HasField("deadline")
    with pytest.raises(Unevaluable, match="more than 8,192"):
        definition.question_of("g", Scope(input={"n": 3, "t": "a" * 9000}))


def test_a_step_is_undone_with_its_own_output() -> None:
    definition = defined(
        "- {name: s, capability: c, compensate: {capability: u, input: {id: '${steps.s.output}'}}}"
    )
    assert definition.undo_input_of("s", Scope(steps={"s": done(7)})) == '{"id":7}'


def test_a_run_has_the_output_of_its_template() -> None:
    step = "- {name: s, capability: c}"
    scope = Scope(steps={"s": done(Unread(BLOB))})
    assert defined(step).output(scope) is None
    assert defined(step, "'${steps.s.output}'").output(scope) is BLOB
    assert defined(step, "{state: '${steps.s.state}'}").output(scope) == '{"state":"SUCCEEDED"}'


def test_only_data_that_is_looked_at_is_needed() -> None:
    definition = defined(
        """
- {name: p, capability: c, input: "${input.x}"}
- {name: q, capability: c, depends_on: [p], when: "steps.p.state != 'FAILED'",
   compensate: {capability: u, input: "${steps.q.output} ${input}"}}
- {name: r, capability: c, depends_on: [q], for_each: "steps.p.output.items",
   input: "${steps.q.failure.code} ${item}"}
- {name: g, gate: {question: "${steps.r.output}"}, depends_on: [r]}
""",
        "'${steps.r} ${steps.p.state}'",
    )
    assert definition.needs("p") == {"input"}
    assert definition.needs("q") == set()
    assert definition.needs_undo("q") == {"q", "input"}
    assert definition.needs("r") == {"p"}
    assert definition.needs("g") == {"r"}
    assert definition.needs_output() == {"r"}
    assert definition.needs_undo("p") == set()


# --- what it may cost -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        "input.map(a, a + 1)",
        "input.filter(a, a > 1).size()",
        "input.all(a, input.exists(b, b == a))",
        "[1, 2].map(a, input.map(b, b + a))",
        "input.map(a, input)",
        "(input + input + input).map(a, [a, a])",
    ],
)
def test_an_expression_that_would_take_long_is_refused_at_once(expression: str) -> None:
    definition = step_with(f"${{{expression}}}")
    before = time.process_time()
    assert "would take too long" in reason(definition, Scope(input=list(range(8000))))
    assert time.process_time() - before < 0.5
    assert definition.input_of("s", Scope(input=[1, 2, 3]))


# --- anything -------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(["$", "$$", "${", "$${input}", "}", "'", "a${"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


def escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [escaped(each) for each in value]
    if isinstance(value, dict):
        return {key: escaped(each) for key, each in value.items()}
    return value


@given(JSON)
def test_any_json_with_its_dollars_doubled_is_a_template_of_itself(value: Any) -> None:
    assert json.dumps(value_of(escaped(value), Scope())) == json.dumps(value)


@given(JSON)
def test_any_input_is_passed_on_exactly(value: Any) -> None:
    scope = Scope(input=value, steps={"p": done({"v": [value]})})
    template = {"a": "${input}", "b": ["${steps.p.output.v[0]}"]}
    assert json.dumps(value_of(template, scope)) == json.dumps({"a": value, "b": [value]})


@given(TEXTS, TEXTS, JSON)
def test_a_value_in_text_stands_between_its_neighbours(before: str, after: str, value: Any) -> None:
    made = value_of(f"{escaped(before)}${{input}}{escaped(after)}|", Scope(input=value))
    inner = (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )
    assert made == f"{before}{inner}{after}|"


@given(TEXTS)
def test_any_text_can_be_a_literal_within_an_expression(text: str) -> None:
    literal = json.dumps(text)  # CEL's escapes are JSON's, but for pairs of surrogates
    if any(ord(character) > 0xFFFF for character in text):
        literal = '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'
    assert value_of(f"${{ {literal} }}|", Scope()) == f"{text}|"
