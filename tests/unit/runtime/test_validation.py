import importlib
import pkgutil

import pytest
from google.protobuf import message_factory
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

import muster.v1
from muster.model.errors import InvalidArgument, Violation
from muster.runtime.validation import check, violations_of
from muster.v1 import agent_pb2, capability_pb2
from muster.v1 import registry_service_pb2 as pb
from muster.v1.agent_pb2 import Agent, AgentSpec
from muster.v1.capability_pb2 import CapabilitySelector
from muster.v1.registry_service_pb2 import ReportPresenceRequest
from muster.v1.request_pb2 import Request
from muster.v1.response_pb2 import Failure
from muster.v1.scheduler_service_pb2 import SubmitRequest


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


@pytest.mark.parametrize(
    "deadline",
    [
        Timestamp(seconds=-62_135_596_801),  # in the year 0
        Timestamp(seconds=253_402_300_800),
        Timestamp(nanos=-1),
        Timestamp(nanos=1_000_000_000),
    ],
)
def test_an_instant_that_is_none_is_named(deadline: Timestamp):
    request = Request(request_id="a", capability=CapabilitySelector(name="a"), deadline=deadline)
    assert [each.field for each in violations_of(SubmitRequest(request=request))] == [
        "request.deadline"
    ]
    with pytest.raises(InvalidArgument) as caught:
        check(request)
    assert caught.value.violations[0].field == "deadline"


def test_a_duration_of_both_signs_is_named_wherever_it_is():
    frame = ReportPresenceRequest(agents=[Agent(spec=AgentSpec(name="a"))] * 2)
    assert not violations_of(frame)
    frame.agents[1].create_time.nanos = -1
    assert [each.field for each in violations_of(frame)] == ["agents[1].create_time"]
    failure = Failure(code="A", retry_after=Duration(seconds=1, nanos=-1))
    assert [each.field for each in violations_of(failure)] == ["retry_after"]


PROTOS = [
    each.name for each in pkgutil.iter_modules(muster.v1.__path__) if each.name.endswith("_pb2")
]


@pytest.mark.parametrize("name", PROTOS)
def test_the_rules_of_every_message_can_be_used(name: str):
    file = importlib.import_module(f"muster.v1.{name}").DESCRIPTOR
    for descriptor in file.message_types_by_name.values():
        violations_of(message_factory.GetMessageClass(descriptor)())
