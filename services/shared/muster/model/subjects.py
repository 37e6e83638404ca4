"""Subjects of the bus: where a message belongs, and which a pattern takes.

    muster.<tenant>.contract.<event type>.<capability>   what has happened to a contract
    muster.<tenant>.workflow.<event type>.<workflow>     what has happened to a run of it
    muster.<tenant>.agent.<event type>.<agent>           what has happened to an agent
    muster.<tenant>.topic.<topic>                        what agents tell each other
    muster.<tenant>.gap                                  events were trimmed before they got out

Capabilities and topics may be of several tokens: muster.default.contract.ended.report.write. An
agent's name is one, in lower case.

A subject is tokens with dots between them. In a pattern `*` stands for one token, and `>` at the
end for one or more, as in NATS. Tenants, capabilities and event types hold nothing but lower-case
letters, digits, `_` and `-` in their tokens, so nothing that a client names can leave its place.
"""

from __future__ import annotations

import re

from muster.model.states import EventType

ROOT = "muster"
CONTRACT = "contract"
AGENT = "agent"
WORKFLOW = "workflow"
TOPIC = "topic"
GAP = "gap"
EVERYTHING = f"{ROOT}.>"

_WORD = "[a-z0-9][a-z0-9_-]*"
_TOPIC = re.compile(rf"{_WORD}(\.{_WORD})*")
_PATTERN = re.compile(rf"(({_WORD}|\*)\.)*({_WORD}|\*|>)")
TOPIC_CHARACTERS_MAX = 128


def contract_subject(tenant: str, type_: EventType, capability: str) -> str:
    """Of a lifecycle event."""
    return f"{ROOT}.{tenant}.{CONTRACT}.{_TYPES[type_]}.{capability}"


_TYPES = {each: each.name.lower() for each in EventType}


def workflow_subject(tenant: str, event_type: str, workflow: str) -> str:
    """Of an entry of a run's journal."""
    return f"{ROOT}.{tenant}.{WORKFLOW}.{event_type}.{workflow}"


def agent_subject(tenant: str, event_type: str, agent: str) -> str:
    """Of what has happened to an agent; names that differ in nothing but case have the same."""
    return f"{ROOT}.{tenant}.{AGENT}.{event_type}.{_NO_TOKEN.sub('-', agent.lower())}"


_NO_TOKEN = re.compile(r"[^a-z0-9_-]")


def gap_subject(tenant: str) -> str:
    """Of what says that lifecycle events are missing."""
    return f"{ROOT}.{tenant}.{GAP}"


def tenant_subject(tenant: str, pattern: str) -> str:
    """A pattern for what is a tenant's, from one that begins after the tenant."""
    return f"{ROOT}.{tenant}.{pattern}"


def topic_subject(tenant: str, topic: str) -> str:
    """Of a message, or with a pattern for a topic, of a subscription."""
    return f"{ROOT}.{tenant}.{TOPIC}.{topic}"


def is_topic(text: str) -> bool:
    """Whether messages can be published there."""
    return len(text) <= TOPIC_CHARACTERS_MAX and _TOPIC.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether this can be subscribed to; a topic is a pattern as well."""
    return len(text) <= TOPIC_CHARACTERS_MAX and _PATTERN.fullmatch(text) is not None


def matches(pattern: str, subject: str) -> bool:
    """Whether a pattern takes a subject."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for number, each in enumerate(wanted):
        if each == ">":
            return len(tokens) > number
        if number >= len(tokens) or each not in ("*", tokens[number]):
            return False
    return len(wanted) == len(tokens)
