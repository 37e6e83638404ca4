"""YAML to messages and back, and the JSON Schema that editors are given."""

import copy
import json
from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.v1.workflow_pb2 import Workflow
from muster.workflow import messages
from muster.workflow.forms import BadForm, read_duration, write_duration
from muster.workflow.published import comments_of, published, workflow_schema
from muster.workflow.source import BadSource, read_workflow, to_yaml
from muster.workflow.yaml_text import YamlProblem, read_yaml, write_yaml
from tests.sources import ROOT

ALL_OF_IT = """\
name: content
description: What can be said.
timeout: 2h
input: {type: object, properties: {topics: {type: array, items: {}}}, required: [topics]}
steps:
  - name: plan
    capability: content.plan@2.1
    input: {topics: "${input.topics}", at: 2026-01-01, yes: no, big: 9223372036854775807}
    retry: {maximum_attempts: 3, initial_interval: 500ms, backoff_coefficient: 1.5,
            maximum_interval: 1h30m, non_retryable_codes: [BROKEN]}
    timeout: 90s
    attempt_timeout: 1d
    compensate: {capability: content.undo, input: {x: "${steps.plan.output}"}}
  - name: draft
    depends_on: [plan]
    when: "${size(steps.plan.output.items) > 0}"
    for_each: "${steps.plan.output.items}"
    concurrency: 20
    fan_in: {tolerate: 5}
    capability: content.draft
    input: {item: "${item}"}
    on_failure: continue
  - name: ask
    gate: {question: "Fine, ${run.id}?", answer: {type: boolean}, choices: [true, false],
           deadline: 1d, default: false}
  - {name: pause, wait: 10s}
  - {name: sign, wait: {signal: go}}
  - {name: sub, workflow: child@3}
output: {drafts: "${steps.draft.output}"}
"""


def read(text: str) -> Workflow:
    return read_workflow(text).workflow


def complaints(text: str) -> list[str]:
    with pytest.raises(BadSource) as caught:
        read_workflow(text, "w.yaml")
    return [line.removeprefix("w.yaml:") for line in caught.value.mistakes]


def test_every_field_is_read() -> None:
    plan, draft, ask, pause, sign, sub = read(ALL_OF_IT).steps
    assert (plan.capability.name, plan.capability.version) == ("content.plan", "2.1")
    assert json.loads(plan.input) == {
        "topics": "${input.topics}",
        "at": "2026-01-01",
        "yes": "no",
        "big": 2**63 - 1,
    }
    assert plan.retry.initial_interval.nanos == 500_000_000
    assert plan.retry.maximum_interval.seconds == 5400
    assert (plan.timeout.seconds, plan.attempt_timeout.seconds) == (90, 86400)
    assert json.loads(plan.compensate.input) == {"x": "${steps.plan.output}"}
    assert (draft.concurrency, draft.fan_in.tolerate, draft.on_failure) == (20, 5, 2)
    assert json.loads(ask.gate.answer.json_schema) == {"type": "boolean"}
    assert (list(ask.gate.choices), ask.gate.default) == (["true", "false"], "false")
    assert (pause.wait.duration.seconds, sign.wait.signal) == (10, "go")
    assert (sub.workflow.name, sub.workflow.version) == ("child", 3)
    assert read(ALL_OF_IT).timeout.seconds == 7200


def test_what_is_written_reads_back_as_the_same() -> None:
    assert read(to_yaml(read(ALL_OF_IT))) == read(ALL_OF_IT)


def test_a_protobuf_type_cannot_be_written_and_says_so() -> None:
    workflow = read(ALL_OF_IT)
    workflow.input.message.full_name = "acme.v1.Order"
    with pytest.raises(ValueError, match="only a JSON Schema can"):
        to_yaml(workflow)


def test_json_is_read_too() -> None:
    value = messages.plain(read(ALL_OF_IT))
    assert read(json.dumps(value)) == read(ALL_OF_IT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", ["2: this is not YAML: did not find expected node content"]),
        ("just text", ["1: a workflow is a mapping: name: …, steps: …"]),
        ("", ["1: a workflow is a mapping: name: …, steps: …"]),
        ("a: 1\na: 2", ["2: the key 'a' stands here twice (first on line 1)"]),
        ("a: &x [1]\nb: *x", ["2: *x: aliases are not read, write it out"]),
        ("a: 1\n---\nb: 2", ["2: a second document begins here: one is read"]),
        ("a: !!python/name:os.system x", None),
        ("? [a]\n: b", ["1: a key must be text"]),
        ("a: .nan", ["1: .nan has no place in JSON: quote it if it is text"]),
        ("a: " + "[" * 5000, ["1: this has more than 100 levels"]),
        ("a: '\x07'", ["1: this is not YAML: control characters are not allowed"]),
        (
            "name: a\nsteps:\n- nme: b\n  wait: 3",
            [
                "3: steps[0].nme: there is no such key; did you mean name?",
                "3: steps[0]: name is missing",
                "4: steps[0].wait: 3 does not fit: write a duration like 10s, or {signal: NAME}",
            ],
        ),
        ("name: a\nsteps: []", ["2: steps: it must not be empty"]),
        ("name: a\nsteps: {}", ["2: steps: it must be a list, not a mapping"]),
        (
            "name: a\nsteps:\n- name: b\n  wait: 1s\n  gate: {question: c}",
            [
                "3: steps[0]: it has gate and wait; it may have only one of capability, workflow, "
                "gate and wait"
            ],
        ),
        (
            "name: a\nsteps:\n- name: b",
            ["3: steps[0]: it needs one of capability, workflow, gate and wait"],
        ),
        (
            "name: a\ntimeout: 5 minutes\nsteps: [{name: b, wait: 1s, on_failure: maybe}]",
            [
                '2: timeout: "5 minutes" is not written like 60s or 1h30m or 500ms',
                '3: steps[0].on_failure: it must be one of fail, continue, not "maybe"',
            ],
        ),
        (
            "name: a\ntimeout: 31d\nsteps:\n- {name: b, wait: 0s}\n- {name: c, wait: 40d}",
            [
                "2: timeout: 31d is too long: 30d at most",
                "4: steps[0].wait: it must be longer than no time",
                "5: steps[1].wait: 40d is too long: 30d at most",
            ],
        ),
        (
            "name: a\nsteps:\n- name: b\n  capability: c\n  concurrency: -1\n  retry:\n"
            "    maximum_attempts: 1000\n    pause: 1s",
            [
                "5: steps[0].concurrency: it must be at least 0, not -1",
                "7: steps[0].retry.maximum_attempts: it must be at most 100, not 1000",
                "8: steps[0].retry.pause: there is no such key; there are maximum_attempts, "
                "initial_interval, backoff_coefficient, maximum_interval, non_retryable_codes",
            ],
        ),
        (
            "name: a\nsteps: [{name: b, capability: C@x}]",
            [
                '2: steps[0].capability: "C@x" is not written like text.summarize or '
                "text.summarize@2.1"
            ],
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text: str, said: list[str] | None) -> None:
    found = complaints(text)
    assert found == said if said is not None else "tags are not read" in found[0]


def test_a_file_that_is_too_large_is_refused_before_it_is_read() -> None:
    assert "too large" in complaints("a" * (1024 * 1024 + 1))[0]


def test_a_long_list_of_mistakes_is_cut_off() -> None:
    text = "name: a\nsteps:\n" + "- {name: A}\n" * 30
    with pytest.raises(BadSource, match=r"… and 40 more$") as caught:
        read_workflow(text)
    assert len(caught.value.mistakes) == 60


# --- durations and YAML itself --------------------------------------------------------------------


@given(st.integers(0, 30 * 86400 * 10**9))
def test_durations_survive(nanos: int) -> None:
    duration = read_duration(f"{nanos}ns" if nanos < 10**12 else f"{nanos // 10**6}ms")
    assert read_duration(write_duration(duration)) == duration


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1.5.5s", "1e3s", "0.0000000001s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadForm):
        read_duration(text)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(
        "yes no on 0x1F 0o17 1e3 1_000 12:30:45 2026-01-01 ~ null <<: - = .5 +1".split()
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_any_json_survives_yaml(value: Any) -> None:
    found = read_yaml(write_yaml(value)).value
    assert json.dumps(found) == json.dumps(value)


@given(st.text(max_size=80))
def test_any_text_is_yaml_or_a_problem(text: str) -> None:
    with suppress(YamlProblem):
        read_yaml(text)


@given(st.lists(JSON, min_size=1, max_size=3))
def test_any_template_survives_the_way_to_yaml_and_back(values: list[Any]) -> None:
    workflow = Workflow(name="a")
    for number, value in enumerate(values):
        step = workflow.steps.add(name=f"s{number}", input=json.dumps(value, ensure_ascii=False))
        step.capability.name = "b"
    workflow = read(to_yaml(workflow))
    assert read(to_yaml(workflow)) == workflow
    assert [json.loads(step.input) for step in workflow.steps] == values


# --- the published schema -------------------------------------------------------------------------


def test_the_published_schema_is_what_the_protos_say() -> None:
    current = (ROOT / "deploy/schemas/workflow.schema.json").read_text()
    assert current == published(ROOT / "proto/muster/v1"), "run make gen and commit it"


def test_the_published_schema_says_what_every_field_is_for() -> None:
    schema = json.loads((ROOT / "deploy/schemas/workflow.schema.json").read_text())
    for kind in (schema, *schema["$defs"].values()):
        assert kind["description"]
        for name, field in kind["properties"].items():
            assert field.get("description"), name


def without_descriptions(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_descriptions(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_descriptions(each)
        for key, each in schema.items()
        if not (key == "description" and isinstance(each, str))
    }


def test_the_loader_checks_with_what_is_published() -> None:
    schema = json.loads((ROOT / "deploy/schemas/workflow.schema.json").read_text())
    assert without_descriptions(schema) == workflow_schema()


def test_comments_are_read_by_paragraphs() -> None:
    proto = "// One\n// two.\n//\n//   set in\n//\n// Three.\nmessage A {\n  // Four.\n  int b = 1;"
    assert comments_of(proto) == {"A": "One two.\n\n  set in\n\nThree.", "A.b": "Four."}


PLAIN: dict[str, Any] = messages.plain(read(ALL_OF_IT))
VALIDATOR = jsonschema_rs.Draft202012Validator(workflow_schema())


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    return [at, *(place for key, each in inner for place in places(each, (*at, key)))]


def mutated(place: tuple[Any, ...], how: str, value: Any) -> Any:
    if not place:
        return value
    document = copy.deepcopy(PLAIN)
    holder = document
    for part in place[:-1]:
        holder = holder[part]
    if how == "drop":
        del holder[place[-1]]
    elif how == "rename" and isinstance(holder, dict):
        holder["x_" + str(place[-1])] = holder.pop(place[-1])
    else:
        holder[place[-1]] = value
    return document


ODD = JSON | st.sampled_from(
    ["10s", "a.b@2", "A", {"signal": "x"}, [], {}, "", -1, 10**9, ["a", "a"]]
)


@given(st.sampled_from(places(PLAIN)), st.sampled_from(["drop", "rename", "set"]), ODD)
def test_the_loader_agrees_with_the_schema(place: tuple[Any, ...], how: str, value: Any) -> None:
    document = mutated(place, how, value)
    text = write_yaml(document)
    said = refusal(text)
    if VALIDATOR.is_valid(document):
        # Beyond the schema it knows how long durations may be, and how many bytes texts have.
        later = ("too long", "longer than", "finer than", "bytes", "there is no version")
        assert all(any(word in line for word in later) for line in said)
    else:
        assert said
    if not said:
        workflow = read(text)
        assert read(to_yaml(workflow)) == workflow


def refusal(text: str) -> tuple[str, ...]:
    """What is said of a text that cannot be read; nothing of one that can."""
    try:
        read(text)
    except BadSource as error:
        return error.mistakes
    return ()
