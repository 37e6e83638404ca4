"""Agents between the wire and the registry's records."""

from __future__ import annotations

from muster.model import limits
from muster.registry.core_agents import AgentState
from muster.registry.core_catalogue import Catalogue
from muster.registry.servicer_messages import agent_of_message, full_agent, listed_agent
from muster.v1 import agent_pb2


def _message(name: str, schema: str = '{"type":"string"}') -> agent_pb2.Agent:
    message = agent_pb2.Agent(
        tenant="acme",
        host="h1",
        session_id="s1",
        executor="e1",
        state=agent_pb2.AGENT_STATE_READY,
    )
    message.spec.name = name
    message.spec.kind = "echo"
    message.spec.labels.update({"b": "2", "a": "1"})
    message.spec.capabilities.add(name="echo", version="1.2.0").input.json_schema = schema
    message.active = 3
    return message


def test_an_agent_comes_back_as_it_was_reported() -> None:
    message = _message("one")
    assert full_agent(agent_of_message(message), Catalogue()) == message


def test_an_agent_is_listed_without_schemas() -> None:
    expected = _message("one")
    expected.spec.capabilities[0].ClearField("input")
    assert listed_agent(agent_of_message(_message("one"))) == expected


def test_an_agent_in_no_state_is_ready() -> None:
    message = _message("one")
    message.ClearField("state")
    agent = agent_of_message(message)
    assert agent.state is AgentState.READY
    assert listed_agent(agent).state == agent_pb2.AGENT_STATE_READY


def test_equal_reports_are_equal_records_whatever_the_order_of_their_labels() -> None:
    turned = _message("one")
    turned.spec.labels.clear()
    turned.spec.labels.update({"a": "1", "b": "2"})
    assert agent_of_message(turned) == agent_of_message(_message("one"))


def test_agents_share_what_they_have_in_common() -> None:
    one, two = agent_of_message(_message("one")), agent_of_message(_message("two"))
    assert one.offers is two.offers
    assert one.labels is two.labels
    assert one.session_id is two.session_id


def test_what_is_large_is_not_held_for_others() -> None:
    schema = " " * limits.SPEC_SHARED_BYTES_MAX + "{}"
    one, two = agent_of_message(_message("one", schema)), agent_of_message(_message("two", schema))
    assert one.offers == two.offers
    assert one.offers is not two.offers
