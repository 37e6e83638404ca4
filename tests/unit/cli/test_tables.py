import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from muster.cli.capabilities import example, field_rows, type_name
from muster.cli.contract_tree import tree_lines
from muster.cli.contracts import states_of
from muster.cli.exits import Trouble
from muster.cli.messages import message_json, payload_line
from muster.cli.status import kinds_of
from muster.cli.terminal import STATE_STYLES, fit, state_text, table
from muster.model.states import ContractState
from muster.v1.agent_pb2 import Agent, AgentState
from muster.v1.capability_pb2 import Schema
from muster.v1.contract_pb2 import Contract
from muster.v1.payload_pb2 import Payload
from muster.v1.response_pb2 import ContractState as WireState


def rendered(renderable: Any, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.data(), st.integers(10, 120))
def test_columns_fit_if_they_can_and_none_grows(
    widths: list[int], data: st.DataObject, available: int
) -> None:
    flexible = data.draw(st.sets(st.integers(0, len(widths) - 1))) if widths else set()
    fitted = fit(widths, sorted(flexible), available)
    assert all(new <= old for new, old in zip(fitted, widths, strict=True))
    assert all(fitted[at] == widths[at] for at in range(len(widths)) if at not in flexible)
    least = sum(min(w, 8) if at in flexible else w for at, w in enumerate(widths))
    assert sum(fitted) <= max(available, least)


def test_a_table_is_plain_and_its_numbers_are_aligned() -> None:
    lines = rendered(table(["NAME", ">COUNT"], [["a", "1"], ["longer", "1,204"]]), 80)
    assert lines == ["NAME    COUNT", "a           1", "longer  1,204"]


def test_every_state_has_a_colour() -> None:
    for state in ContractState:
        assert state.name.lower().replace("_", " ") in STATE_STYLES
    assert state_text("DEAD_LETTERED").plain == "dead lettered"


def test_open_and_ended_stand_for_several_states() -> None:
    assert states_of(["open"]) == ["QUEUED", "LEASED", "RUNNING", "PARKED"]
    assert "DEAD_LETTERED" in states_of(["ended"])
    assert states_of(["failed", "Dead-Lettered", "failed"]) == ["FAILED", "DEAD_LETTERED"]
    with pytest.raises(Trouble, match="'lost' is no state; there are queued, leased"):
        states_of(["lost"])


def agent_of(name: str, kind: str, host: str, *, window: int = 0, active: int = 0) -> Agent:
    agent = Agent(host=host, active=active, state=AgentState.AGENT_STATE_READY)
    agent.spec.name, agent.spec.kind, agent.spec.max_in_flight = name, kind, window
    return agent


def test_agents_are_counted_by_kind() -> None:
    agents = [
        agent_of("a-1", "a", "h-1", window=2, active=1),
        agent_of("a-2", "a", "h-2", window=2),
        agent_of("b-1", "", "h-1"),
    ]
    agents[1].state = AgentState.AGENT_STATE_DRAINING
    nameless, a = kinds_of(agents)
    assert (nameless.kind, nameless.agents, nameless.slots) == ("", 1, 1)
    assert (a.agents, a.ready, a.hosts, a.active, a.slots) == (2, 1, 2, 1, 4)


def contract_of(number: int, parent: int = 0, state: str = "SUCCEEDED") -> Contract:
    contract = Contract(id=f"{number:016x}", state=WireState.Value(f"CONTRACT_STATE_{state}"))
    contract.parent_id = f"{parent:016x}" if parent else ""
    contract.request.capability.name = "x.y"
    return contract


def test_a_tree_is_drawn_with_its_branches() -> None:
    tree = [contract_of(4, 2), contract_of(3, 1), contract_of(2, 1), contract_of(1)]
    lines = tree_lines(tree, f"{4:016x}", 120)
    assert [line.replace("0" * 15, "") for line in lines] == [
        "  1 x.y succeeded",
        "  ├─ 2 x.y succeeded",
        "  │  └─ 4 x.y succeeded  ← this one",
        "  └─ 3 x.y succeeded",
    ]


def test_a_wide_tree_shows_those_that_matter_and_how_many_more_there_are() -> None:
    tree = [contract_of(1), *(contract_of(n, 1) for n in range(2, 500))]
    tree[400].state = WireState.CONTRACT_STATE_FAILED
    lines = tree_lines(tree, f"{450:016x}", 120)
    assert len(lines) == 14
    assert any("failed" in line for line in lines)
    assert any("this one" in line for line in lines)
    assert lines[-1].endswith(f"486 more children: muster contracts list --parent {1:016x}")


def test_children_without_their_parent_are_shown_too() -> None:
    assert len(tree_lines([contract_of(7, 3)], "", 80)) == 1


def test_a_line_of_a_tree_fits_into_the_window() -> None:
    (line,) = tree_lines([contract_of(1)], "", 20)
    assert len(line) == 20


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (Payload(), "nothing"),
        (Payload(json='{"a":1}'), '{"a":1}'),
        (Payload(json='"' + "x" * 100 + '"'), '"xxxxxxxxxxxxxxxxxx…'),
    ],
)
def test_a_payload_has_a_line(payload: Payload, line: str) -> None:
    assert payload_line(payload, 20) == line


def test_payloads_that_are_no_text_are_named_with_their_size() -> None:
    payload = Payload()
    payload.binary.media_type, payload.binary.data = "image/png", b"1234"
    assert payload_line(payload, 80) == "image/png (4 B)"
    payload.blob.sha256, payload.blob.size_bytes = "ab" * 32, 5_000_000
    assert payload_line(payload, 80) == "blob (5.0 MB, blob abababababab…)"
    payload.message.Pack(Contract(id="x"))
    assert payload_line(payload, 80) == "muster.v1.Contract (3 B)"


def test_programs_get_json_inside_of_json_as_json() -> None:
    contract = contract_of(1)
    contract.request.payload.json = '{"big":12345678901234567890}'
    made = message_json(contract)
    assert made["request"]["payload"]["json"] == {"big": 12345678901234567890}
    assert made["state"] == "CONTRACT_STATE_SUCCEEDED"
    assert made["parent_id"] == ""


def test_a_message_of_an_unknown_type_does_not_stop_programs() -> None:
    contract = contract_of(1)
    contract.request.payload.message.type_url = "type.googleapis.com/acme.Unknown"
    contract.request.payload.message.value = b"\x01\x02"
    made = message_json(contract)["request"]["payload"]
    assert made["binary"]["media_type"] == "application/x-protobuf; messageType=acme.Unknown"
    assert json.dumps(made)


DOCUMENT = {
    "type": "object",
    "required": ["text", "at", "colour"],
    "properties": {
        "text": {"type": "string", "description": "what to look at"},
        "at": {"$ref": "#/$defs/Point"},
        "colour": {"enum": ["red", "green"]},
        "many": {"type": "array", "items": {"type": "integer"}, "default": [1]},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "$defs": {"Point": {"type": "object", "title": "Point", "properties": {}}},
}


def test_the_fields_of_a_schema_are_rows() -> None:
    assert field_rows(DOCUMENT) == [
        ["  text", "string", "", "what to look at"],
        ["  at", "Point", "", ""],
        ["  colour", "red | green", "", ""],
        ["  many", "array of integer", "default [1]", ""],
        ["  maybe", "string | null", "optional", ""],
    ]


@pytest.mark.parametrize("schema", [True, [], "x", {"$ref": "#/$defs/None"}, {"$ref": 3}])
def test_a_schema_of_an_unusual_shape_is_anything(schema: Any) -> None:
    assert type_name(schema, {}) == "anything"
    assert field_rows(schema) == []


def test_a_reference_to_itself_ends() -> None:
    assert type_name({"$ref": "#/a"}, {"a": {"$ref": "#/a"}}) == "anything"


def test_an_example_calls_with_what_is_required() -> None:
    schema = Schema(json_schema=json.dumps(DOCUMENT))
    assert example(schema) == "text=… at:=… colour:=…"
    assert example(Schema()) == ""
    assert example(Schema(json_schema='{"type":"object"}')) == ""
