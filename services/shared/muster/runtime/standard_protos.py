"""gRPC's own services as they are today.

The libraries' descriptors lag behind: health has no List, and reflection is only there as v1alpha.
Both are completed here, in a pool of their own, for the handlers and for reflection itself.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

HEALTH = "grpc.health.v1.Health"
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
REFLECTION_V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"

_FIELD = descriptor_pb2.FieldDescriptorProto


def _health_file() -> descriptor_pb2.FileDescriptorProto:
    """health.proto with `rpc List(HealthListRequest) returns (HealthListResponse)`."""
    file = descriptor_pb2.FileDescriptorProto()
    health_pb2.DESCRIPTOR.CopyToProto(file)
    file.message_type.add(name="HealthListRequest")
    response = file.message_type.add(name="HealthListResponse")
    entry = response.nested_type.add(name="StatusesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    entry.field.add(
        name="value",
        number=2,
        type=_FIELD.TYPE_MESSAGE,
        label=_FIELD.LABEL_OPTIONAL,
        type_name=".grpc.health.v1.HealthCheckResponse",
    )
    response.field.add(
        name="statuses",
        number=1,
        type=_FIELD.TYPE_MESSAGE,
        label=_FIELD.LABEL_REPEATED,
        type_name=".grpc.health.v1.HealthListResponse.StatusesEntry",
    )
    file.service[0].method.add(
        name="List",
        input_type=".grpc.health.v1.HealthListRequest",
        output_type=".grpc.health.v1.HealthListResponse",
    )
    return file


def _reflection_file() -> descriptor_pb2.FileDescriptorProto:
    """reflection.proto of v1: that of v1alpha under another name, the same on the wire."""
    serialized = reflection_pb2.DESCRIPTOR.serialized_pb
    file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = "grpc.reflection.v1"
    old, new = ".grpc.reflection.v1alpha.", ".grpc.reflection.v1."
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, new)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(old, new)
        method.output_type = method.output_type.replace(old, new)
    return file


POOL = descriptor_pool.DescriptorPool()
POOL.Add(_health_file())
POOL.Add(_reflection_file())


def _message_class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


HealthListRequest = _message_class("grpc.health.v1.HealthListRequest")
HealthListResponse = _message_class("grpc.health.v1.HealthListResponse")
