"""What an executor keeps of agents' specifications."""

from __future__ import annotations

from muster.executor.specs import fill_spec, kept_spec
from muster.model import limits
from muster.v1.agent_pb2 import AgentSpec


def _spec(name: str, schema: str = '{"type":"string"}') -> AgentSpec:
    spec = AgentSpec(name=name, kind="echo", version="7", labels={"b": "2", "a": "1"})
    spec.capabilities.add(name="echo", version="1.0.0").input.json_schema = schema
    return spec


def test_a_specification_comes_back_as_it_was() -> None:
    spec, found = _spec("one"), AgentSpec()
    fill_spec(found, spec.name, kept_spec(spec))
    assert found == spec


def test_agents_that_differ_in_their_names_alone_share_the_rest() -> None:
    assert kept_spec(_spec("one")) is kept_spec(_spec("two"))
    assert kept_spec(_spec("one")) != kept_spec(_spec("two", schema="{}"))


def test_what_is_large_is_not_held_for_others() -> None:
    schema = " " * limits.SPEC_SHARED_BYTES_MAX + "{}"
    first, second = kept_spec(_spec("one", schema)), kept_spec(_spec("two", schema))
    assert first == second
    assert first is not second
