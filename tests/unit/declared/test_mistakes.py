"""Each class of mistake in an agent's YAML, and what is said: line, place, and what to do."""

import pytest

from muster.declared import BadAgent, read_agent
from muster.declared.published import published
from tests.sources import ROOT

A = "- {name: a.b, template: x}"
OFFER = f"name: a\ncapabilities:\n{A}\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(BadAgent) as raised:
        read_agent(text, "a")
    return [each.removeprefix("a:") for each in raised.value.mistakes]


def capability(text: str, head: str = "name: a") -> str:
    """An agent whose capability begins on line 4, below its name."""
    return f"{head}\ncapabilities:\n- name: a.b\n{text}"


def plan(text: str) -> str:
    """An agent whose plan's keys begin on line 5."""
    return capability(f"  plan:\n{text}")


def continuous(text: str) -> str:
    """An agent with the state n, whose subscription begins on line 4."""
    return f"name: a\nmode: continuous\nstate: {{n: 0}}\nsubscriptions: [{text}]\n"


WHOLE = {
    "- a": ["1: an agent is a mapping: name: …, capabilities: …"],
    "name: a\nname: b": ["2: the key 'name' stands here twice (first on line 1)"],
    "name: [": ["2: this is not YAML: did not find expected node content"],
    "name: a": ["1: it offers nothing and hears nothing: give it capabilities, or a model"],
    f"kind: a\ncapabilities:\n{A}": ["1: name is missing"],
    OFFER.replace("name: a\n", "name: my agent\n"): [
        '1: name: "my agent" is not written like my-agent'
    ],
    f"{OFFER}mod: scheduled": ["4: mod: there is no such key; did you mean mode?"],
    f"{OFFER}mode: cron": [
        '4: mode: it must be one of collaborative, autonomous, continuous, scheduled, not "cron"'
    ],
    f"{OFFER}mode: collaborative": [
        "4: mode: a collaborative agent plans: give one of its capabilities a plan"
    ],
    f"{OFFER}mode: autonomous": [
        "4: mode: an autonomous agent works through tasks: give a capability work"
    ],
    f"{OFFER}mode: continuous": [
        "4: mode: a continuous agent hears events: say which in subscriptions"
    ],
    f"{OFFER}mode: scheduled": [
        "4: mode: a scheduled agent is called on time: say when in schedule"
    ],
    f"{OFFER}state: {{n: 1}}\nlimits: {{history: 5}}": [
        "4: state: only a continuous agent has that: say mode: continuous",
        "5: limits: only a continuous agent has that: say mode: continuous",
    ],
    f"{OFFER}max_in_flight: 0": ["4: max_in_flight: it must be at least 1, not 0"],
    f"{OFFER}labels: {{a b: c}}\ntags: [d e]": [
        '4: labels["a b"]: a label is made of letters, digits and _./-',
        "5: tags[0]: a tag is made of letters, digits and _./-",
    ],
    f"{OFFER}{A}": [
        "4: capabilities[1].name: capabilities[0] is called a.b already: give this one another name"
    ],
}

CAPABILITIES = {
    capability("  template: x\n  ask: {text: y}"): [
        "3: capabilities[0]: it has template and ask; it may have only one of template, call, "
        "workflow, ask, plan, work and model"
    ],
    capability("  idempotent: true"): [
        "3: capabilities[0]: it needs one of template, call, workflow, ask, plan, work and model"
    ],
    capability("  input: {type: strin}\n  template: x"): [
        '4: capabilities[0].input: this is no usable JSON Schema: "strin" is not valid under any '
        "of the schemas listed in the 'anyOf' keyword"
    ],
    capability('  template: "${inptu.x}"'): [
        "4: capabilities[0].template: there is no variable inptu here; did you mean input?"
    ],
    capability('  template: {a: ["${1 +}"]}'): [
        "4: capabilities[0].template.a[0]: ${1 +}: it ends where something must follow "
        "(at character 4)"
    ],
    capability('  input: {type: object, additionalProperties: false}\n  template: "${input.x}"'): [
        "5: capabilities[0].template: input has no 'x'; it has no keys"
    ],
    capability('  template: "${configuration.x}"', "name: a\nconfiguration: {y: 1}"): [
        "5: capabilities[0].template: configuration has no 'x'; it has y"
    ],
    capability('  output: {type: integer}\n  template: "it is ${input.n}"'): [
        "5: capabilities[0].template: it does not fit output: a string comes, and an integer is "
        "wanted: convert it with int(…)"
    ],
    capability("  output: {type: integer}\n  ask: {text: Well?}"): [
        "5: capabilities[0].ask: it does not fit output: a string comes, and an integer is wanted: "
        "convert it with int(…)"
    ],
    capability("  call: {capability: A b, timeout: 5}"): [
        '4: capabilities[0].call.capability: "A b" is not written like text.summarize or '
        "text.summarize@2.1",
        "4: capabilities[0].call.timeout: it must be text, not 5",
    ],
    capability("  call: {capability: c.d, timeout: soon}"): [
        '4: capabilities[0].call.timeout: "soon" is not written like 60s or 1h30m or 500ms'
    ],
    capability('  call: {capability: c.d, output: "${results}"}'): [
        "4: capabilities[0].call.output: there is no variable results here; did you mean result?"
    ],
    capability("  ask: {text: Well?, default: x}"): [
        "4: capabilities[0].ask.default: it is taken after the deadline: say deadline, too"
    ],
    capability("  ask: {text: Well?, answer: {type: integer}, choices: [1, two]}"): [
        "4: capabilities[0].ask.choices[1]: it does not fit answer"
    ],
    capability("  model: {prompt: x}"): [
        "4: capabilities[0].model: the agent has no model: say model: {provider: …}"
    ],
    capability("  work: {tasks: size(input), capabilities: [c.d], retries: 3}"): [
        "4: capabilities[0].work.retries: it must be at most 2, not 3"
    ],
    capability("  work: {tasks: size(input), capabilities: [c.d]}"): [
        "4: capabilities[0].work.tasks: it must be a list, and it is an integer"
    ],
    capability("  ask: {text: Well?}", "name: a\nmode: autonomous"): [
        "2: mode: an autonomous agent works through tasks: give a capability work",
        "5: capabilities[0].ask: an autonomous agent asks nobody: leave it out, or say mode: "
        "collaborative",
    ],
}

TASK = "    - {name: t, capability: c.d"
PLANS = {
    plan("    answer: x"): [
        "4: capabilities[0].plan: a plan has tasks, or a planner that makes them"
    ],
    plan("    planner: c.d\n    answer: x"): [
        "6: capabilities[0].plan.answer: the planner decides that: leave it out"
    ],
    plan(f"    tasks:\n{TASK}}}\n{TASK}}}"): [
        "7: capabilities[0].plan.tasks[1].name: another task is called t: give this one "
        "another name"
    ],
    plan(f"    tasks:\n{TASK}, after: [u]}}"): [
        "6: capabilities[0].plan.tasks[0].after[0]: there is no task u; there are t"
    ],
    plan(f"    tasks:\n{TASK}, after: [u]}}\n    - {{name: u, capability: c.d, after: [t]}}"): [
        "6: capabilities[0].plan.tasks[0].after: tasks wait for each other: t → u → t; take one of "
        "these out"
    ],
    plan(
        f"    tasks:\n{TASK}}}\n    - {{name: u, capability: c.d, input: {{x: '${{results.t}}'}}}}"
    ): ["7: capabilities[0].plan.tasks[1].input: t need not be done by then: add t to after"],
    plan(f"    tasks:\n{TASK}, when: input.n}}"): [],
    plan(f"    tasks:\n{TASK}, when: '1 + 1'}}"): [
        "6: capabilities[0].plan.tasks[0].when: it must be true or false, and it is an integer: "
        "compare it"
    ],
    plan(f"    tasks:\n{TASK}, input: {{x: '${{answers.q}}'}}}}"): [
        "6: capabilities[0].plan.tasks[0].input.x: answers has no 'q'; it has no keys"
    ],
    plan(
        "    questions:\n    - {id: q, text: 'A?'}\n    - {id: q, text: '${answers.r}'}\n"
        f"    tasks:\n{TASK}}}"
    ): [
        "7: capabilities[0].plan.questions[1].id: another question is called q already",
        "7: capabilities[0].plan.questions[1].text: answers has no 'r'; it has q",
    ],
}

SUBSCRIPTIONS = {
    continuous("{set: {n: 1}}"): ["4: subscriptions[0]: it needs one of topic and subject"],
    continuous("{topic: A.B, note: x}"): [
        "4: subscriptions[0].topic: this is no topic: lower-case words with dots between them, of "
        "which * is any and > all beneath"
    ],
    continuous("{topic: a.b}"): [
        "4: subscriptions[0]: nothing is done with the event: say set, note, publish or call"
    ],
    continuous("{topic: a.b, note: x}, {subject: topic.a.b, note: y}"): [
        "4: subscriptions[1].subject: it hears of that already: put both into one"
    ],
    continuous("{topic: a.b, set: {n: '${state.m + 1}'}}"): [
        "4: subscriptions[0].set.n: state has no 'm'; it has n"
    ],
    continuous("{topic: a.b, note: '${event.dat}'}"): [
        "4: subscriptions[0].note: event has no 'dat'; it has subject, topic, id, "
        "type, source, about and 2 more"
    ],
    continuous("{topic: a.b, note: '${answer}'}"): [
        "4: subscriptions[0].note: there is no variable answer here; there are event, state, "
        "history, events, failed, configuration, agent"
    ],
    continuous("{topic: a.b, publish: {topic: 'c.>'}}"): [
        "4: subscriptions[0].publish.topic: this is no topic: lower-case words with dots between "
        "them"
    ],
}

SCHEDULES = {
    f"{OFFER}schedule: {{}}": ["4: schedule: it needs one of cron and every"],
    f"{OFFER}schedule: {{cron: '0 7 * * *', every: 5s}}": [
        "4: schedule: it has cron and every; it may have only one of cron and every"
    ],
    f"{OFFER}schedule: {{cron: '0 7 * *'}}": [
        "4: schedule.cron: this is no cron expression (Wrong number of fields): write it like "
        '"0 7 * * mon-fri"'
    ],
    f"{OFFER}schedule: {{cron: '0 7 * * *', time_zone: Mars/Base}}": [
        "4: schedule.time_zone: there is no time zone 'Mars/Base'; write one like Europe/Berlin"
    ],
    f"{OFFER}schedule: {{every: 5s, queue_max: 3}}": [
        "4: schedule.queue_max: nothing waits without overlap: queue"
    ],
    f"{OFFER}schedule: {{every: 10ms}}": ["4: schedule.every: 100ms is the shortest"],
    f"{OFFER}- {{name: a.c, template: y}}\nschedule: {{every: 5s}}": [
        "5: schedule: say which capability is called: capability: one of a.b, a.c"
    ],
    capability("  input: {type: object, required: [x]}\n  template: y\nschedule: {every: 5s}"): [
        "6: schedule.input: a.b: x is missing"
    ],
}

MODELS = {
    f"{OFFER}model: {{}}": ["4: model: provider is missing"],
    f"{OFFER}model: {{provider: bedrock}}": [
        "4: model.provider: no provider 'bedrock' is installed; there is template. Install a "
        "package that offers it (entry point muster.models), or let provider: template answer by "
        "rules"
    ],
    f"{OFFER}model: {{provider: template, temperature: 1}}": [
        "4: model.temperature: the template provider has no such setting; it has rules and "
        "otherwise"
    ],
    f"{OFFER}model:\n  provider: template\n  rules: [{{say: x}}]": [
        "6: model.rules[0]: a rule has say, and words or when"
    ],
    f"{OFFER}model:\n  provider: template\n  rules: [{{words: [a], say: '${{'}}]": [
        "6: model.rules[0].say: no } closes ${; a dollar is written $$"
    ],
    f"{OFFER}model: {{provider: template, api_key: s3cret}}": [
        "4: model.api_key: a secret does not stand in a file like this: write env:NAME or file:PATH"
    ],
}

ORIGINALS = {
    f"{OFFER}agent_type: x\nkind: y": [
        "4: agent_type: this says the same as kind, which is there too: leave one out"
    ],
    f"{OFFER}system_prompt: be kind": ["4: model: provider is missing"],
    f"{OFFER}llm_config: {{provider: openai, model: x}}": [
        "4: model.provider: no provider 'openai' is installed; there is template. Install a "
        "package that offers it (entry point muster.models), or let provider: template answer by "
        "rules"
    ],
    f"{OFFER}schedule_config:\n  type: lunar\n  interval: 60": [
        "5: schedule.type: a schedule is by cron or interval, not by 'lunar'"
    ],
    f"{OFFER}schedule_config: {{cron: '0 7 * * *', enabled: false}}": [
        "4: schedule.enabled: a schedule here is one that runs: leave it out, or: muster schedule "
        "pause NAME"
    ],
    f"{OFFER}execution_mode: continuous\nevent_subscriptions: [a.b]": [
        "5: subscriptions[0]: nothing is done with the event: say set, note, publish or call"
    ],
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(text, said, id=f"{name}-{number}")
        for name, table in (
            ("whole", WHOLE),
            ("capability", CAPABILITIES),
            ("plan", PLANS),
            ("subscription", SUBSCRIPTIONS),
            ("schedule", SCHEDULES),
            ("model", MODELS),
            ("original", ORIGINALS),
        )
        for number, (text, said) in enumerate(table.items())
    ],
)
def test_a_mistake_is_told_with_its_line_its_place_and_what_to_do(
    text: str, said: list[str]
) -> None:
    if said:
        assert mistakes(text) == said
    else:
        read_agent(text)


def test_all_mistakes_are_told_at_once_up_to_twenty() -> None:
    capabilities = "\n".join(f"- {{name: a.b{n}, template: '${{x}}'}}" for n in range(25))
    with pytest.raises(BadAgent) as raised:
        read_agent(f"name: a\ncapabilities:\n{capabilities}")
    assert str(raised.value).splitlines()[-1] == "… and 5 more"
    assert len(str(raised.value).splitlines()) == 21


def test_the_published_schema_is_the_one_that_is_checked() -> None:
    current = (ROOT / "deploy/schemas/agent.schema.json").read_text()
    assert current == published(), "run: make gen"
