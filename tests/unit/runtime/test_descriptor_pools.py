import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2

from muster.model.errors import InvalidArgument
from muster.runtime.descriptor_pools import make_pool


def file_set(*imports: str, package: str = "acme.v1") -> descriptor_pb2.FileDescriptorSet:
    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name="acme.proto", package=package, syntax="proto3", dependency=imports)
    file.message_type.add(name="Invoice").field.add(name="id", number=1, label=1, type=9)
    return files


def test_a_type_is_found_in_its_pool():
    pool = make_pool("acme.v1.Invoice", file_set().SerializeToString())
    assert pool.FindMessageTypeByName("acme.v1.Invoice").fields[0].name == "id"


def test_protobufs_own_files_may_be_left_out_or_sent_along():
    files = file_set("google/protobuf/timestamp.proto")
    make_pool("acme.v1.Invoice", files.SerializeToString())
    along = descriptor_pb2.FileDescriptorSet()
    timestamp_pb2.DESCRIPTOR.CopyToProto(along.file.add())
    along.MergeFrom(files)
    make_pool("acme.v1.Invoice", along.SerializeToString())


@pytest.mark.parametrize(
    ("name", "raw", "why"),
    [
        ("acme.v1.Invoice", b"\xff", "no google.protobuf.FileDescriptorSet"),
        ("acme.v1.Other", file_set().SerializeToString(), "no file declares"),
        ("acme.v1.Invoice", file_set("acme/missing.proto").SerializeToString(), "imports"),
        ("muster.v1.Invoice", file_set(package="muster.v1").SerializeToString(), "belongs to"),
        ("google.Invoice", file_set(package="google").SerializeToString(), "belongs to"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(name: str, raw: bytes, why: str):
    with pytest.raises(InvalidArgument, match=why) as caught:
        make_pool(name, raw)
    assert caught.value.reason == "SCHEMA"
