"""Each class of mistake, and what is said of it: the line, the place, and what to do."""

import pytest

from muster.v1.workflow_pb2 import Workflow
from muster.workflow.checking import check_workflow
from muster.workflow.source import read_workflow
from tests.unit.workflow.definitions import capability, mistakes, workflow

# The first lines of each: steps begin on line 6.
HEAD = """\
name: content
input:
  {type: object, additionalProperties: false, properties: {n: {type: integer}, x: {type: number},
   s: {type: string}, topics: {type: array, items: {type: string}}}}
steps:
"""
PLAN = "- {name: plan, capability: content.plan, input: {topics: []}}"
DRAFT = """\
- {name: draft, capability: content.draft, depends_on: [plan], for_each: steps.plan.output.items,
   input: {item: "${item}"}}"""
ANY = "capability: any.thing"
ENDED = "step plan need not have ended by then: add plan to depends_on"

NAMES = {
    f"- {{name: a, {ANY}}}\n- {{name: a, {ANY}}}": [
        "7: steps[1].name: steps[0] is called a already: give this one another name"
    ],
    f"- {{name: in, {ANY}}}": ["6: steps[0].name: in is a word of expressions: take another name"],
    f"- {{name: plan, {ANY}}}\n- {{name: b, {ANY}, depends_on: [pla, plan, plan]}}": [
        "7: steps[1].depends_on[0]: there is no step pla; did you mean plan?",
        "7: steps[1].depends_on[2]: plan stands here twice: once is enough",
    ],
    f"- {{name: a, {ANY}, depends_on: [b]}}\n- {{name: b, {ANY}, depends_on: [a]}}": [
        "6: steps[0].depends_on: steps wait for each other: a → b → a; take one of these out of a "
        "depends_on"
    ],
    f"- {{name: a, {ANY}, depends_on: [a]}}": [
        "6: steps[0].depends_on: steps wait for each other: a → a; take one of these out of a "
        "depends_on"
    ],
}

EXPRESSIONS = {
    f'- {{name: a, {ANY}, when: "1 +"}}': [
        "6: steps[0].when: this is no expression: it ends where something must follow (at "
        "character 4)"
    ],
    f'- {{name: a, {ANY}, when: "${{true}} and"}}': [
        "6: steps[0].when: this is no expression: only one expression can stand here: put all of "
        "it inside ${…}"
    ],
    f'- {{name: a, {ANY}, input: {{x: ["${{input"]}}}}': [
        "6: steps[0].input.x[0]: no } closes ${input; a dollar is written $$"
    ],
    f'- {{name: a, {ANY}, input: {{x: "${{inputs.n}}"}}}}': [
        "6: steps[0].input.x: there is no variable inputs; there are input, steps, run"
    ],
    f'- {{name: a, {ANY}, input: {{x: "${{item}} ${{index}}"}}}}': [
        "6: steps[0].input.x: index is there only in the input of a step with for_each",
        "6: steps[0].input.x: item is there only in the input of a step with for_each",
    ],
    f'- {{name: a, {ANY}, for_each: input.topics, when: "item == 1"}}': [
        "6: steps[0].when: item is there only in the input of a step with for_each"
    ],
    f'{PLAN}\n- {{name: a, {ANY}, input: {{x: "${{steps.plan.output}}"}}}}': [
        f"7: steps[1].input.x: {ENDED}"
    ],
    f'{PLAN}\n- {{name: a, gate: {{question: "${{steps.plan.state}}?"}}}}': [
        f"7: steps[1].gate.question: {ENDED}"
    ],
    f'- {{name: a, {ANY}, input: "${{steps.a.output}}"}}': [
        "6: steps[0].input: a step does not see its own outcome: name a step that it depends on"
    ],
    f"- {{name: a, {ANY}, when: \"steps.b.state == ''\"}}\n- {{name: b, {ANY}, depends_on: [a]}}": [
        "6: steps[0].when: no state is ''; there are SUCCEEDED, FAILED, SKIPPED, CANCELLED",
        "6: steps[0].when: step b depends on this one, and so has not ended by then",
    ],
    f'- {{name: a, {ANY}, compensate: {{{ANY}, input: "${{steps.a.output}} ${{steps.b.output}}"}}}}'
    f"\n- {{name: b, {ANY}}}": [
        "6: steps[0].compensate.input: step b need not have ended by then: only what the step "
        "depends on, and itself, has surely ended when it is undone"
    ],
    f'{PLAN}\n- {{name: a, {ANY}, depends_on: [plan], input: "${{steps.plna.output}}"}}': [
        "7: steps[1].input: there is no step plna; did you mean plan?"
    ],
    f'{PLAN}\n- {{name: a, {ANY}, depends_on: [plan], input: "${{plan.output}}"}}': [
        "7: steps[1].input: there is no variable plan; a step is written steps.plan.output"
    ],
    f'{PLAN}\n- {{name: a, {ANY}, depends_on: [plan], input: "${{steps.plan.items}}"}}': [
        "7: steps[1].input: steps.plan has no 'items'; it has output, state, failure"
    ],
    f'{PLAN}\n- {{name: a, {ANY}, depends_on: [plan], input: "${{steps.plan.failure.why}}"}}': [
        "7: steps[1].input: steps.plan.failure has no 'why'; it has code, message"
    ],
    f'- {{name: a, {ANY}, input: "${{run.name}}"}}': [
        "6: steps[0].input: run has no 'name'; it has id, workflow, version, start_time"
    ],
    f'- {{name: a, {ANY}, input: "${{steps[input.s]}}"}}': [
        "6: steps[0].input: name the step, as in steps.NAME.output: which one must be known before "
        "the run"
    ],
    f'- {{name: a, {ANY}, input: "${{len(input.s)}} "}}': [
        "6: steps[0].input: there is no function len()"
    ],
    f'- {{name: a, {ANY}, input: "${{siz(input.s)}} "}}': [
        "6: steps[0].input: there is no function siz(); did you mean size()?"
    ],
    f'- {{name: a, {ANY}, input: "${{size()}}"}}': [
        "6: steps[0].input: size() does not take 0 arguments"
    ],
    f'- {{name: a, {ANY}, input: "${{input.topics.map(x)}}"}}': [
        "6: steps[0].input: map() is written LIST.map(x, EXPRESSION)",
        "6: steps[0].input: there is no variable x; there are input, steps, run",
    ],
    f"- {{name: a, {ANY}}}\noutput: {{x: '${{steps.b.output}}'}}": [
        "7: output.x: there is no step b; there are a"
    ],
}

FIELDS = {
    '- {name: a, gate: {question: q}, for_each: "[1]", concurrency: 2, input: {}}': [
        "6: steps[0].concurrency: a gate has no concurrency: take it out",
        "6: steps[0].for_each: a gate has no for_each: take it out",
        "6: steps[0].input: a gate has no input: take it out",
    ],
    "- {name: a, wait: 3s, fan_in: {first: 1}, retry: {maximum_attempts: 2}}": [
        "6: steps[0].fan_in: a wait has no fan_in: take it out",
        "6: steps[0].retry: a wait has no retry: take it out",
    ],
    "- {name: a, workflow: child, attempt_timeout: 3s, input: {n: 1}}": [
        "6: steps[0].attempt_timeout: a step that runs a workflow has no attempt_timeout: take it "
        "out"
    ],
    f"- {{name: a, {ANY}, fan_in: {{first: 1}}, concurrency: 2}}": [
        "6: steps[0].concurrency: it needs a for_each: add one, or take it out",
        "6: steps[0].fan_in: it needs a for_each: add one, or take it out",
    ],
    f'- {{name: a, {ANY}, for_each: "[1, 2]", fan_in: {{quorum: 3}}}}': [
        "6: steps[0].fan_in.quorum: for_each has 2 elements: 3 are never reached"
    ],
    "- {name: a, gate: {question: q, answer: {type: integer}, choices: [1, x, 1], default: 2}}": [
        '6: steps[0].gate.choices[1]: it does not fit the type of the answer: "x" is not of type '
        '"integer"',
        "6: steps[0].gate.choices[2]: it stands here twice: once is enough",
        '6: steps[0].gate.default: it must be one of the choices: 1, "x", 1',
    ],
    "- {name: a, gate: {question: q, default: 2}}": [
        "6: steps[0].gate.default: it does not fit the type of the answer: 2 is not of type "
        '"string"'
    ],
    '- {name: a, gate: {question: q, answer: {$ref: "http://far/away"}}}': [
        "6: steps[0].gate.answer: this is no usable JSON Schema: "
        "the "
        "reference 'http://far/away' is remote, and nothing is fetched"
    ],
}

CATALOGUE = {
    "- {name: a, capability: no.such}": [
        "6: steps[0].capability: no agent has ever offered no.such: mend the name, or attach one "
        "that does first"
    ],
    f"- {{name: a, {ANY}, compensate: {{capability: any.thing@2}}}}": [
        "6: steps[0].compensate.capability: no agent has ever offered version 2 of any.thing: mend "
        "the name, or attach one that does first"
    ],
    "- {name: a, workflow: nope}": [
        "6: steps[0].workflow: there is no workflow nope: mend the name, or register it first"
    ],
    "- {name: a, workflow: child@4, input: {n: 1}}": [
        "6: steps[0].workflow: there is no version 4 of workflow child: mend the name, or register "
        "it first"
    ],
    "- {name: a, workflow: content}": [
        "6: steps[0].workflow: the workflow would run itself: content → content; no workflow may "
        "reach itself"
    ],
    "- {name: a, workflow: again}": [
        "6: steps[0].workflow: the workflow would run itself: content → again → content; no "
        "workflow may reach itself"
    ],
}

TYPES = {
    "- {name: a, capability: content.plan}": ["6: steps[0].input: content.plan: topics is missing"],
    '- {name: a, capability: content.plan, input: {topics: "${input.topics}", more: 1}}': [
        "6: steps[0].input.more: content.plan: more is not taken: there may be topics"
    ],
    '- {name: a, capability: content.plan, input: {topics: "${input.s}"}}': [
        "6: steps[0].input.topics: content.plan: a string comes, and a list of strings is wanted "
        "(from input.s)"
    ],
    '- {name: a, capability: content.plan, input: {topics: ["${input.n}", x]}}': [
        "6: steps[0].input.topics[0]: content.plan: an integer comes, and a string is wanted: "
        "convert it with string(…) (from input.n)"
    ],
    '- {name: a, capability: content.plan, input: {topics: "${input.topics.map(t, size(t))}"}}': [
        "6: steps[0].input.topics: content.plan: a list of integers comes, and a list of strings "
        "is wanted (from input.topics.map(t, size(t)))"
    ],
    '- {name: a, capability: math.root, input: {n: "${input.x}", digits: "${input.s}"}}': [
        "6: steps[0].input.digits: math.root: a string comes, and an integer or null is wanted "
        "(from input.s)",
        "6: steps[0].input.n: math.root: a number comes, and an integer is wanted: convert it with "
        "int(…) (from input.x)",
    ],
    "- {name: a, capability: math.root, input: {n: 1.5}}": [
        '6: steps[0].input.n: math.root: 1.5 is not of type "integer"'
    ],
    '- {name: a, capability: text.length, input: "${input}"}': [
        "6: steps[0].input: text.length: text is missing (a string) (from input)"
    ],
    "- {name: a, capability: content.draft, input: {item: {title: a, score: 1}, tone: sad}}": [
        '6: steps[0].input.tone: content.draft: "sad" is not one of "dry" or "warm"'
    ],
    '- {name: a, capability: content.draft, input: {item: {title: "${input.s}", score: 1, x: 1}}}'
    "": ["6: steps[0].input.item.x: content.draft: x is not taken: there may be title, score, tag"],
    f"{PLAN}\n{DRAFT.replace('item}', 'item.title}')}": [
        "8: steps[1].input.item: content.draft: a string comes, and an object is wanted (from "
        "item.title)"
    ],
    f"{PLAN}\n{DRAFT}\n- {{name: b, {ANY}, depends_on: [draft], "
    'input: ["${steps.plan.output.itms}", "${steps.plan.output.items[0].x}", '
    '"${steps.draft.output.x}", "${input.zz}", "${steps.plan.output.items.map(x, x.y)}"]}': [
        "9: steps[2].input[0]: steps.plan.output has no 'itms'; it has items, count",
        "9: steps[2].input[1]: steps.plan.output.items[0] has no 'x'; it has title, score, tag",
        "9: steps[2].input[2]: steps.draft.output is a list of strings, and so has no 'x'",
        "9: steps[2].input[3]: input has no 'zz'; it has n, x, s, topics",
        "9: steps[2].input[4]: x has no 'y'; it has title, score, tag",
    ],
    f"{PLAN}\n{DRAFT}\n- {{name: b, capability: text.length, depends_on: [draft], "
    'input: {text: "${steps.draft.output}"}}': [
        "9: steps[2].input.text: text.length: a list of strings comes, and a string is wanted "
        "(from steps.draft.output)"
    ],
    f'- {{name: a, {ANY}, when: "input.n", for_each: "input.s"}}': [
        "6: steps[0].for_each: it must be a list, and it is a string",
        "6: steps[0].when: it must be true or false, and it is an integer: compare it",
    ],
    f'- {{name: a, {ANY}, input: "${{input.s + 1}}"}}': [
        "6: steps[0].input: 1 cannot be added to a string; convert it with string(…)"
    ],
    '- {name: a, workflow: child, input: {n: "${input.s}"}}': [
        "6: steps[0].input.n: child: a string comes, and an integer is wanted: convert it with "
        "int(…) (from input.s)"
    ],
    "- {name: a, workflow: child, input: {n: 1}}\n- {name: b, depends_on: [a], "
    'capability: text.length, input: {text: "${steps.a.output.n}"}}': [
        "7: steps[1].input.text: text.length: an integer comes, and a string is wanted: convert it "
        "with string(…) (from steps.a.output.n)"
    ],
    "- {name: a, gate: {question: q, answer: {type: boolean}}}\n- {name: b, depends_on: [a], "
    'capability: text.length, input: {text: "${steps.a.output}"}}': [
        "7: steps[1].input.text: text.length: true or false comes, and a string is wanted (from "
        "steps.a.output)"
    ],
}

TABLE = {**NAMES, **EXPRESSIONS, **FIELDS, **CATALOGUE, **TYPES}


@pytest.mark.parametrize("steps", TABLE)
def test_every_mistake_is_named_with_its_line_its_place_and_what_to_do(steps: str) -> None:
    assert mistakes(HEAD + steps) == TABLE[steps]


GOOD = [
    PLAN,
    f"{PLAN}\n{DRAFT}\noutput: {{drafts: '${{steps.draft.output}}'}}",
    '- {name: a, capability: content.plan, input: {topics: "${input.topics + [input.s]}"}}',
    '- {name: a, capability: math.root, input: {n: "${int(input.x)}", digits: null}}',
    '- {name: a, capability: content.draft, input: {item: {title: t, score: "${input.n}"}}}',
    f'- {{name: a, {ANY}, when: "${{size(input.topics) > 0}}"}}',
    f"- {{name: a, {ANY}, when: \"has(input.s) && input.s.matches('a')\"}}",
    f'- {{name: a, {ANY}, for_each: "[1, 2]", fan_in: {{quorum: 2}}, input: "${{item + index}}"}}',
    "- {name: a, gate: {question: 'Use ${input.s}?', answer: {type: boolean}, default: false}}",
    "- {name: a, wait: {signal: go}}\n- {name: b, wait: 3s, depends_on: [a]}",
    f"{PLAN}\n- {{name: b, {ANY}, depends_on: [plan], when: \"steps.plan.state == 'FAILED' && "
    "steps.plan.failure.code != ''\"}",
    f"- {{name: a, {ANY}, compensate: {{{ANY}, input: '${{steps.a.output}}'}}}}",
]


@pytest.mark.parametrize("steps", GOOD)
def test_nothing_is_said_of_what_is_right(steps: str) -> None:
    assert mistakes(HEAD + steps) == []


def test_the_input_must_be_a_usable_schema_that_refers_to_nothing_elsewhere() -> None:
    remote = 'name: a\ninput: {$ref: "https://example.com/x"}\nsteps: [{name: a, wait: 1s}]'
    (said,) = mistakes(remote)
    assert said.startswith("2: input: this is no usable JSON Schema: ")
    assert "nothing is fetched" in said
    (said,) = mistakes("name: a\ninput: {type: strange}\nsteps: [{name: a, wait: 1s}]")
    assert said.startswith("2: input: this is no usable JSON Schema: ")


def test_the_catalogue_is_asked_once_for_each_capability() -> None:
    asked: list[str] = []

    def look(name: str, version: str) -> None:
        asked.append(name)

    steps = "".join(f"- {{name: a{n}, {ANY}}}\n" for n in range(9))
    found: Workflow = read_workflow(HEAD + steps).workflow
    assert len(check_workflow(found, look, workflow)) == 9
    assert asked == ["any.thing"]
    assert capability("any.thing", "") is not None
