import json

from muster.v1 import (
    agent_state_service_pb2,
    blob_service_pb2,
    conversation_service_pb2,
    executor_service_pb2,
    inbox_service_pb2,
    registry_service_pb2,
    schedule_service_pb2,
    scheduler_service_pb2,
    workflow_service_pb2,
)
from muster.wire.channel import CHANNEL_OPTIONS, IDEMPOTENT_CALLS, SERVER_OPTIONS

FILES = (
    agent_state_service_pb2,
    blob_service_pb2,
    conversation_service_pb2,
    executor_service_pb2,
    inbox_service_pb2,
    registry_service_pb2,
    schedule_service_pb2,
    scheduler_service_pb2,
    workflow_service_pb2,
)


def test_every_unary_call_is_retried_and_no_stream_is():
    unary = {
        service.full_name: {
            method.name
            for method in service.methods
            if not method.client_streaming and not method.server_streaming
        }
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
    }
    assert {name: set(methods) for name, methods in IDEMPOTENT_CALLS.items()} == unary


def test_both_ends_agree_on_sizes():
    channel, server = dict(CHANNEL_OPTIONS), dict(SERVER_OPTIONS)
    assert channel["grpc.max_receive_message_length"] == server["grpc.max_send_message_length"]
    assert channel["grpc.max_send_message_length"] == server["grpc.max_receive_message_length"]


def test_the_service_config_is_json():
    policy = json.loads(str(dict(CHANNEL_OPTIONS)["grpc.service_config"]))["methodConfig"][0]
    assert policy["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]
