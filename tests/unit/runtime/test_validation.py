import pytest

from muster.model.errors import InvalidArgument, Violation
from muster.runtime.validation import check, violations_of
from muster.v1 import agent_pb2, capability_pb2
from muster.v1 import registry_service_pb2 as pb


def test_a_message_that_fits_its_rules_passes():
    check(pb.GetAgentRequest(name="a"))


def test_fields_are_named_as_people_write_paths():
    spec = agent_pb2.AgentSpec(
        name="a",
        labels={'say "hi"': "x"},
        capabilities=[
            capability_pb2.Capability(name="fine"),
            capability_pb2.Capability(name="Not fine"),
        ],
    )
    found = violations_of(pb.RegisterAgentRequest(spec=spec))
    assert [violation.field for violation in found] == [
        'spec.labels["say \\"hi\\""]',
        "spec.capabilities[1].name",
    ]
    assert found[0].description.startswith("the key ")


def test_the_error_says_what_is_wrong_and_how_much_more():
    with pytest.raises(InvalidArgument) as caught:
        check(pb.ListAgentsRequest(page_size=-1, page_token="x" * 513))
    assert caught.value.message.startswith("page_size: ")
    assert caught.value.message.endswith("(and 1 more)")
    assert len(caught.value.violations) == 2


def test_a_missing_message_is_named():
    with pytest.raises(InvalidArgument) as caught:
        check(pb.RegisterAgentRequest())
    assert caught.value.violations == (Violation("spec", "value is required"),)
