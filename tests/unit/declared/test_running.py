"""What agents without code do, on a bench."""

from __future__ import annotations

from typing import Any

import pytest

from muster.agent import Agent, Context, Event, Failed
from muster.agent.bench_past import BenchPast
from muster.agent.context import Facts
from muster.agent.modes.continuous import Mind
from muster.agent.testing import Bench
from muster.agent.topics.event import Publication
from muster.agent.values import value_of
from muster.declared import read_agent
from muster.declared.building import agent_of
from muster.model.errors import AlreadyExists
from muster.v1.capability_pb2 import Schema
from muster.wire.jsontext import json_value


def made(text: str) -> Agent:
    return agent_of(read_agent(text))


def offering(action: str, head: str = "", **keys: str) -> Bench:
    """A bench with an agent whose capability a.b does this."""
    more = "".join(f"  {name}: {value}\n" for name, value in keys.items())
    return Bench(made(f"name: a\n{head}capabilities:\n- name: a.b\n{more}  {action}\n"))


async def test_a_template_makes_json_of_input_configuration_and_agent() -> None:
    bench = offering(
        'template: {n: "${input.n + 1}", by: "${agent.name} ${agent.kind}", c: "${configuration}"}',
        "kind: k\nconfiguration: {x: [1]}\n",
    )
    run = await bench.run("a.b", {"n": 1}, agent="a-7")
    assert run.output == {"n": 2, "by": "a-7 k", "c": {"x": [1]}}


async def test_what_has_no_value_fails_for_good_and_names_the_place() -> None:
    bench = offering('template: {n: ["${input.n}"]}')
    run = await bench.run("a.b", {})
    assert run.failure is not None
    assert (run.failure.code, run.failure.permanent) == ("TEMPLATE_FAILED", True)
    assert run.failure.message == (
        "capabilities[0].template.n[0]: input.n: input has no 'n'; it is empty"
    )


async def test_input_and_output_are_held_to_their_schemas() -> None:
    bench = offering(
        'template: "${input.n}"', input="{type: object, required: [n]}", output="{type: integer}"
    )
    assert (await bench.run("a.b", {"n": 1})).output == 1
    wrong = await bench.run("a.b", {"n": "one"})
    assert wrong.failure is not None
    assert wrong.failure.code == "INVALID_OUTPUT"
    missing = await bench.run("a.b", {})
    assert missing.failure is not None
    assert missing.failure.code == "INVALID_INPUT"


def test_the_mesh_is_told_schemas_description_and_labels() -> None:
    spec = made(
        "name: a\nkind: k\nversion: 2.0.0\nlabels: {x: y}\ntags: [fast]\nmax_in_flight: 3\n"
        "capabilities:\n- name: a.b\n  version: 1.2.3\n  description: does it\n  idempotent: true\n"
        "  input: {type: object}\n  output: {type: string}\n  template: x\n"
    ).spec()
    assert (spec.name, spec.kind, spec.version, spec.max_in_flight) == ("a", "k", "2.0.0", 3)
    assert dict(spec.labels) == {"x": "y", "fast": "true"}
    (capability,) = spec.capabilities
    assert (capability.version, capability.description) == ("1.2.3", "does it")
    assert capability.idempotent
    assert _schema(capability.input) == {"type": "object"}
    assert _schema(capability.output) == {"type": "string"}


def _schema(schema: Schema) -> Any:
    return json_value(schema.json_schema)


async def test_a_call_passes_on_and_shapes_what_comes_back() -> None:
    bench = offering(
        'call: {capability: c.d@2.1, input: {x: "${input.n}"}, timeout: 5s, attempts: 2, '
        'output: {got: "${result.y}", of: "${input.n}"}}'
    )
    bench.child("c.d", does=lambda given: {"y": given["x"] * 2})
    run = await bench.run("a.b", {"n": 4})
    assert run.output == {"got": 8, "of": 4}
    (call,) = run.children
    assert (call.version, call.timeout, call.attempts, call.key) == ("2.1", 5.0, 2, "call")


async def test_a_person_is_asked_with_choices_type_and_default() -> None:
    bench = offering(
        "ask: {text: 'How many ${input.what}?', answer: {type: integer}, choices: [1, 2], "
        "default: 1, deadline: 1h, output: {n: '${result}'}}"
    )
    bench.person("ask", answers=2)
    run = await bench.run("a.b", {"what": "cups"})
    assert run.output == {"n": 2}
    (inquiry,) = run.asked
    assert inquiry.text == "How many cups?"
    assert json_value(inquiry.schema) == {"type": "integer"}
    assert (inquiry.choices, inquiry.default, inquiry.deadline) == (("1", "2"), "1", 3600.0)


async def test_the_template_model_answers_by_the_first_rule_that_fits() -> None:
    bench = offering(
        'model: {prompt: "${input.q}", output: {said: "${result}"}}',
        """\
model:
  provider: template
  system: be brief
  rules:
    - {words: [money back, refund], say: "within ${configuration.days} days (${system})"}
    - {when: "size(prompt) > 20", say: "long: ${prompt}"}
  otherwise: "I hear: ${prompt}"
configuration: {days: 14}
""",
    )

    async def said(question: str) -> Any:
        run = await bench.run("a.b", {"q": question})
        assert run.usage.model == "template"
        return run.output["said"]

    assert await said("A REFUND, please") == "within 14 days (be brief)"
    assert await said("refunding is another word") == "long: refunding is another word"
    assert await said("hello") == "I hear: hello"


async def test_work_goes_round_robin_and_is_reported() -> None:
    bench = offering(
        "work: {tasks: 'input.all.map(x, {\"x\": x})', capabilities: [c.d, e.f@2], retries: 1, "
        'output: "${result.map(r, r.done ? r.capability : r.code)}"}'
    )
    bench.child("c.d", fails=Failed("BROKEN", "no"))
    bench.child("e.f", does=lambda given: given["x"])
    run = await bench.run("a.b", {"all": [1, 2, 3]})
    assert run.output == ["e.f@2", "e.f@2", "e.f@2"]
    assert [call.key for call in run.children if call.capability == "c.d"] == ["0.0", "2.0"]
    assert {call.version for call in run.children if call.capability == "e.f"} == {"2"}


PLAN = """\
plan:
    questions:
      - id: what
        when: "size(planned) == 0"
        text: "What shall I do about '${input.goal}'?"
        choices: [weather, news]
      - id: sure
        when: "results.weather != null && results.weather.storm"
        text: A storm. Warn them?
        answer: {type: boolean}
    tasks:
      - name: weather
        capability: t.weather
        when: "answers.what == 'weather' || input.goal.contains('rain')"
      - {name: news, capability: t.news, words: [news, paper], optional: true}
      - name: warning
        capability: t.warn
        after: [weather]
        when: "answers.sure == true"
        input: {of: "${results.weather}"}
      - {name: summary, capability: t.sum, after: [news], input: {of: "${results.news}"}}
    answer:
      weather: "${results.weather}"
      warned: "${results.warning}"
      summary: "${results.summary}"
      failures: "${failures}"
"""


def planning() -> Bench:
    bench = offering(PLAN)
    bench.child("t.weather", returns={"storm": False})
    bench.child("t.news", returns="all is well")
    bench.child("t.warn", returns="warned")
    bench.child("t.sum", does=lambda given: given["of"].upper())
    return bench


async def test_rules_say_which_tasks_are_done_and_what_follows_them() -> None:
    run = await planning().run("a.b", {"goal": "rain in the NEWS"})
    assert run.output["summary"] == "ALL IS WELL"
    assert run.output["weather"] == {"storm": False}
    assert run.output["warned"] is None
    assert not run.asked
    assert [call.capability for call in run.children] == ["t.weather", "t.news", "t.sum"]


async def test_a_person_is_asked_where_no_rule_fits() -> None:
    bench = planning()
    bench.person("what", answers="weather")
    run = await bench.run("a.b", {"goal": "hm"})
    assert [each.text for each in run.asked] == ["What shall I do about 'hm'?"]
    assert [call.capability for call in run.children] == ["t.weather"]


async def test_a_question_can_follow_from_a_result() -> None:
    bench = planning()
    bench.child("t.weather", returns={"storm": True})
    bench.person("sure", answers=True)
    run = await bench.run("a.b", {"goal": "rain"})
    assert run.output["warned"] == "warned"
    (inquiry,) = run.asked
    assert inquiry.text == "A storm. Warn them?"


async def test_what_comes_after_a_task_that_failed_is_not_begun() -> None:
    bench = planning()
    bench.child("t.news", fails=Failed("NO_PAPER", "none today"))
    run = await bench.run("a.b", {"goal": "the paper"})
    assert run.output["failures"] == {
        "weather": None,
        "news": {"code": "NO_PAPER", "message": "none today"},
        "warning": None,
        "summary": {"code": "NOT_BEGUN", "message": "news, which it comes after, has failed"},
    }


# --- what the original runner's files become ------------------------------------------------------

ORIGINAL = """\
name: Helper.One
agent_type: support
execution_mode: continuous
description: Answers.
llm_config: {provider: template, rules: [{words: [hello], say: "Hello from ${agent.name}."}]}
system_prompt: Be kind.
tags: [support, first]
event_subscriptions: [tickets.opened, {event_type: tickets.closed}]
schedule_config: {type: interval, interval: 300}
"""


async def test_a_file_of_the_original_runner_works_as_it_is() -> None:
    agent = made(ORIGINAL)
    assert (agent.name, agent.kind) == ("Helper.One", "support")
    assert agent.labels == {"support": "true", "first": "true"}
    assert sorted(agent.handlers) == ["topic.tickets.closed", "topic.tickets.opened"]
    (schedule,) = agent.schedules.values()
    assert (schedule.name, schedule.times) == ("helper.one", {"every": 300.0})
    run = await Bench(agent).run("helper.one", {"message": "Hello!"}, agent="Helper.One")
    assert run.output == {"text": "Hello from Helper.One."}


@pytest.mark.parametrize(
    ("config", "times"),
    [
        (
            "{cron: '0 7 * * *', timezone: Europe/Berlin}",
            {"cron": "0 7 * * *", "time_zone": "Europe/Berlin"},
        ),
        ("{cron_expression: '0 7 * * *'}", {"cron": "0 7 * * *"}),
        ("{type: interval, interval_seconds: 90}", {"every": 90.0}),
    ],
)
def test_schedules_of_the_original_runner_are_taken(config: str, times: dict[str, Any]) -> None:
    agent = made(
        f"name: a\ncapabilities: [{{name: a.b, template: x}}]\nschedule_config: {config}\n"
    )
    assert agent.schedules["a.b"].times == times


# --- events ---------------------------------------------------------------------------------------

CLERK = """\
name: clerk
mode: continuous
state: {n: 0, last: none}
configuration: {least: 2}
model: {provider: template, otherwise: "I saw ${event.data.n}"}
subscriptions:
  - topic: orders
    when: event.data.n >= configuration.least
    model: {prompt: x}
    set: {n: "${state.n + event.data.n}", last: "${string(state.n)}"}
    note: "${answer}, so ${state.n}"
    publish: {topic: seen, data: {n: "${state.n}"}}
    call: {capability: c.d, input: {n: "${event.data.n}"}, timeout: 1m}
"""


class Desk:
    """What a handler's context needs: state, a bus and a client that only note."""

    def __init__(self) -> None:
        self.past = BenchPast()
        self.published: list[Publication] = []
        self.submitted: list[tuple[str, Any, dict[str, Any]]] = []
        self.client = self

    async def hear(self, agent: Agent, event: Event) -> None:
        ctx = Context(Facts("", 0, agent=agent.name), self)  # type: ignore[arg-type]
        await agent.handlers["topic.orders"].function(event, ctx)

    async def consult(self, what: str, args: Any, contents: Any = ()) -> Any:
        return self.past.consult("clerk", what, args, contents)

    def use(self, usage: Any) -> None: ...

    def log(self, level: int, message: str) -> None: ...

    async def publish(self, publication: Publication) -> None:
        self.published.append(publication)

    async def submit(self, capability: str, given: Any, **options: Any) -> Desk:
        self.submitted.append((capability, given, options))
        return self

    async def accepted(self) -> str:
        if len({options["request_id"] for _, _, options in self.submitted}) < len(self.submitted):
            raise AlreadyExists("another deadline")
        return "1"


def order(number: int, n: int) -> Event:
    return Event("topic.orders", f"e{number}", "t", "/shop", {"n": n})


async def test_an_event_changes_the_state_first_and_then_says_what_follows() -> None:
    agent, desk = made(CLERK), Desk()
    for each in (order(1, 5), order(2, 1), order(3, 2), order(3, 2)):
        await desk.hear(agent, each)
    mind = Mind.of(desk.past.state("mind", "clerk"))
    assert mind.state == {"n": 7, "last": "5"}
    assert [each.text for each in mind.history] == ["I saw 5, so 5", "I saw 2, so 7"]
    assert mind.events == 3
    assert [value_of(each.content) for each in desk.published] == [{"n": 5}, {"n": 7}]
    assert [given for _, given, _ in desk.submitted] == [{"n": 5}, {"n": 2}]


async def test_what_follows_from_an_event_has_the_same_ids_when_it_comes_again() -> None:
    agent, desk = made(CLERK), Desk()
    await desk.hear(agent, order(1, 5))
    desk.past = BenchPast()  # it was not kept
    await desk.hear(made(CLERK), order(1, 5))
    await desk.hear(made(CLERK), order(2, 5))
    ids = [each.id for each in desk.published]
    assert ids[0] == ids[1] != ids[2]
    requests = [options["request_id"] for _, _, options in desk.submitted]
    assert requests[0] == requests[1] != requests[2]
    assert requests[0].startswith("clerk.")
