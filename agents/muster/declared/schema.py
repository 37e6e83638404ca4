"""The JSON Schema of agents in YAML: what the loader checks, and what editors are given
(deploy/schemas/agent.schema.json)."""

from __future__ import annotations

from functools import cache
from typing import Any

from muster.model import limits
from muster.workflow.forms import DURATION_PATTERN, NAME_PATTERN, VERSION_PATTERN

Part = dict[str, Any]

MODES = ("collaborative", "autonomous", "continuous", "scheduled")
ACTIONS = ("template", "call", "workflow", "ask", "plan", "work", "model")

_DURATION: Part = {
    "type": "string",
    "pattern": DURATION_PATTERN,
    "examples": ["60s", "1h30m", "500ms"],
}
_CAPABILITY: Part = {
    "type": "string",
    "pattern": f"^{NAME_PATTERN}(@{VERSION_PATTERN})?$",
    "maxLength": 161,
    "examples": ["text.summarize", "text.summarize@2.1"],
}
_WORKFLOW: Part = {
    "type": "string",
    "pattern": f"^{NAME_PATTERN}(@[1-9][0-9]{{0,9}})?$",
    "maxLength": 139,
    "examples": ["content", "content@3"],
}
_NAME: Part = {
    "type": "string",
    "pattern": "^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$",
    "maxLength": 123,
    "examples": ["my-agent"],
}
_ID: Part = {
    "type": "string",
    "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
    "maxLength": 56,
    "examples": ["tone", "first_draft"],
}
_SCHEMA: Part = {"type": ["object", "boolean"]}
_TEXT: Part = {"type": "string"}
_LINE: Part = {"type": "string", "minLength": 1}


def _said(description: str, part: Part) -> Part:
    return {"description": description, **part}


def _object(required: tuple[str, ...] = (), more: bool = False, /, **properties: Part) -> Part:
    made: Part = {"type": "object", "properties": properties}
    if required:
        made["required"] = list(required)
    if not more:
        made["additionalProperties"] = False
    return made


def _list(items: Part, least: int = 0, most: int | None = None) -> Part:
    made: Part = {"type": "array", "items": items}
    if least:
        made["minItems"] = least
    if most is not None:
        made["maxItems"] = most
    return made


def _number(least: int, most: int) -> Part:
    return {"type": "integer", "minimum": least, "maximum": most}


_INPUT = _said("A template of the input.", {})
_OUTPUT = _said(
    "A template of what is given back, of `result`. Absent means the result itself.", {}
)
_TIMEOUT = _said("How long it may take.", _DURATION)
_WHEN = _said("An expression (CEL) that is true when this is to be done.", _LINE)

_QUESTION = {
    "text": _said("The question, a text with ${EXPRESSION}s.", _LINE),
    "choices": _said("What can be answered.", _list({}, 1)),
    "answer": _said("A JSON Schema of the answer. Absent means text.", _SCHEMA),
    "default": _said("What is taken after the deadline.", {}),
    "deadline": _said("How long the question waits.", _DURATION),
}

_CALL = _object(
    ("capability",),
    capability=_said("Whom to call: a capability, and maybe its version.", _CAPABILITY),
    input=_INPUT,
    timeout=_TIMEOUT,
    schedule_to_start=_said("How long it may wait for an agent.", _DURATION),
    attempts=_said("How many may fail before it does.", _number(1, 100)),
    output=_OUTPUT,
)
_RUN = _object(
    ("name",),
    name=_said("Which workflow, and maybe its version.", _WORKFLOW),
    input=_INPUT,
    output=_OUTPUT,
)
_ASK = _object(("text",), **_QUESTION, output=_OUTPUT)
_PLAN = _object(
    planner=_said(
        "A capability that plans, in place of all else: it takes a case and gives a step.",
        _CAPABILITY,
    ),
    questions=_said(
        "What a person is asked, one after the other, where it is unclear.",
        _list(_object(("id", "text"), id=_ID, when=_WHEN, **_QUESTION), 1, 32),
    ),
    tasks=_said(
        "What others do.",
        _list(
            _object(
                ("name", "capability"),
                name=_ID,
                capability=_CAPABILITY,
                when=_WHEN,
                words=_said(
                    "It is done when one of these words is in the input's texts.", _list(_LINE, 1)
                ),
                input=_INPUT,
                after=_said("Tasks that must be done before.", _list(_ID)),
                optional=_said("True where it may fail.", {"type": "boolean"}),
                timeout=_TIMEOUT,
            ),
            1,
            limits.PLAN_TASKS_MAX,
        ),
    ),
    answer=_said("A template of what is given back. Absent means the results by task.", {}),
)
_WORK = _object(
    ("tasks", "capabilities"),
    tasks=_said("An expression (CEL) of a list: the input of each task.", _LINE),
    capabilities=_said("Who does them, round robin.", _list(_CAPABILITY, 1, 64)),
    retries=_said(
        "How often a failed task is tried again.", _number(0, limits.AUTONOMOUS_RETRIES_MAX)
    ),
    at_once=_said("How many tasks are done at a time.", _number(1, 256)),
    timeout=_TIMEOUT,
    output=_OUTPUT,
)
_PROMPT = _object(
    ("prompt",),
    prompt=_said("What the model is asked, a text with ${EXPRESSION}s.", _LINE),
    output=_OUTPUT,
)
_CAPABILITY_OFFERED: Part = {
    **_object(
        ("name",),
        name=_said("Dotted lower-case name.", {**_CAPABILITY, "pattern": f"^{NAME_PATTERN}$"}),
        version=_said(
            "Its version; 1.0.0 when absent.",
            {
                "type": "string",
                "pattern": r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$",
                "examples": ["1.4.0"],
            },
        ),
        description=_said("What it does, for people.", _TEXT),
        input=_said("A JSON Schema of its input. Absent means any.", _SCHEMA),
        output=_said("A JSON Schema of its output. Absent means any.", _SCHEMA),
        idempotent=_said("True where doing it twice does no harm.", {"type": "boolean"}),
        template=_said("Gives back JSON, or text, with ${EXPRESSION}s.", {}),
        call=_said("Has another agent do it.", _CALL),
        workflow=_said("Has a workflow do it, and waits for its run.", _RUN),
        ask=_said("Asks a person.", _ASK),
        plan=_said("Plans: asks where it is unclear, and has others do the parts.", _PLAN),
        work=_said("Works through a list of tasks round robin, and asks nobody.", _WORK),
        model=_said("Asks the agent's model.", _PROMPT),
    ),
    "oneOf": [{"required": [name]} for name in ACTIONS],
}
_SUBSCRIPTION: Part = {
    **_object(
        topic=_said("A topic, like orders.created, or orders.> for all beneath.", _LINE),
        subject=_said("Or a subject, like contract.ended.>.", _LINE),
        when=_WHEN,
        model=_said("Asks the agent's model; the others see its text as `answer`.", _PROMPT),
        set=_said("What becomes of parts of the state: templates by key.", {"type": "object"}),
        note=_said("What the history says about it, a text with ${EXPRESSION}s.", _LINE),
        publish=_said(
            "Publishes an event.",
            _object(("topic",), topic=_LINE, data=_said("A template of its data.", {})),
        ),
        call=_said(
            "Submits a contract, once for each event, and does not wait for it.",
            _object(("capability",), capability=_CAPABILITY, input=_INPUT, timeout=_TIMEOUT),
        ),
    ),
    "oneOf": [{"required": ["topic"]}, {"required": ["subject"]}],
}
_SCHEDULE: Part = {
    **_object(
        cron=_said("As cron has it: five fields, or six with seconds first.", _LINE),
        every=_said("At this distance of each other.", _DURATION),
        time_zone=_said("For cron, like Europe/Berlin. Absent means UTC.", _LINE),
        capability=_said("What is called. Absent means the agent's only one.", _CAPABILITY),
        input=_said("A template of its input, of `configuration`.", {}),
        name=_said("The schedule's; by default the capability's.", _NAME),
        jitter=_said("Each is late by a part of this.", _DURATION),
        overlap=_said(
            "While an earlier one goes on.", {"enum": ["skip", "queue", "cancel", "allow"]}
        ),
        queue_max=_said("Most that wait, with queue.", _number(1, 100)),
        catch_up_window=_said("How late one may be started.", _DURATION),
        timeout=_said("How long each has.", _DURATION),
        note=_said("What it is for.", _TEXT),
    ),
    "oneOf": [{"required": ["cron"]}, {"required": ["every"]}],
}
_MODEL = _object(
    ("provider",),
    True,
    provider=_said("Who answers: template, or one that is installed.", _LINE),
    system=_said("What it is told before every prompt.", _TEXT),
)
_LIMITS = _object(
    idle_timeout=_said("A continuous agent sleeps after so long without an event; 10m.", _DURATION),
    history=_said("Entries of a continuous agent's history; 50.", _number(0, 500)),
    remembered_events=_said(
        "Events of a continuous agent that are known when they come again; 512.",
        _number(16, 2_000),
    ),
)


@cache
def agent_schema() -> Part:
    """The schema, in the words of Muster; what `originals` takes besides is not in it."""
    agent = _object(
        ("name",),
        name=_said("Unique within the tenant.", _NAME),
        kind=_said("The group that it belongs to.", _NAME),
        mode=_said("How it runs; absent means that it just offers.", {"enum": list(MODES)}),
        version=_said("The agent's, for people.", {"type": "string", "maxLength": 64}),
        description=_said("What it is for, for people.", _TEXT),
        labels=_said(
            "For choosing agents.",
            {"type": "object", "additionalProperties": {"type": "string", "maxLength": 256}},
        ),
        tags=_said('Labels whose value is "true".', _list(_LINE)),
        max_in_flight=_said("How many attempts it has at once; 1.", _number(1, 10_000)),
        capabilities=_said("What it offers.", _list(_CAPABILITY_OFFERED, 1, 256)),
        subscriptions=_said("What a continuous agent hears of.", _list(_SUBSCRIPTION, 1, 64)),
        state=_said("The state of a continuous agent before its first event.", {"type": "object"}),
        schedule=_said("When the mesh calls it.", _SCHEDULE),
        model=_said("What answers prompts.", _MODEL),
        configuration=_said("Anything; expressions see it.", {"type": "object"}),
        limits=_said("How much, and how long.", _LIMITS),
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An agent of Muster",
        "description": (
            "An agent without code. Expressions are CEL, as in workflows; which variables there "
            "are depends on the place: input (of the capability), result (in output), event, state "
            "and answer (in subscriptions), answers, results and failures (in plans), and "
            "everywhere configuration, agent {name, kind} and, of a capability, contract {id, "
            "attempt, conversation_id}."
        ),
        **agent,
    }
