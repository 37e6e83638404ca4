"""Descriptor pools of what agents register: protobuf types that the mesh was not built with."""

from __future__ import annotations

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError

from muster.model.errors import InvalidArgument

# Types in these packages would shadow the mesh's own.
RESERVED_PACKAGES = ("google", "grpc", "buf", "muster")

_WELL_KNOWN: dict[str, FileDescriptor] = {
    module.DESCRIPTOR.name: module.DESCRIPTOR
    for module in (
        any_pb2,
        api_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        source_context_pb2,
        struct_pb2,
        timestamp_pb2,
        type_pb2,
        wrappers_pb2,
    )
}


def make_pool(full_name: str, file_descriptor_set: bytes) -> descriptor_pool.DescriptorPool:
    """A pool with the message type `full_name` and all that it needs.

    Imports of google/protobuf may be missing from the set. Raises `InvalidArgument` (SCHEMA) where
    the set cannot be read, is incomplete, declares reserved names, or does not hold the type.
    """
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(file_descriptor_set).file
    except DecodeError:
        raise _refused("file_descriptor_set is no google.protobuf.FileDescriptorSet") from None
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        if file.name in _WELL_KNOWN:
            # Whatever was sent under such a name, it is this process's own that counts.
            _add_well_known(pool, _WELL_KNOWN[file.name])
            continue
        for imported in file.dependency:
            if imported in _WELL_KNOWN:
                _add_well_known(pool, _WELL_KNOWN[imported])
        if file.package.partition(".")[0] in RESERVED_PACKAGES:
            raise _refused(f"the package {file.package!r} belongs to the mesh or its libraries")
        try:
            pool.Add(file)
        except (TypeError, ValueError):
            raise _refused(
                f"{file.name!r} cannot be used: files must come after their imports, and all "
                "imports must be there"
            ) from None
    try:
        pool.FindMessageTypeByName(full_name)
    except KeyError:
        raise _refused(f"no file declares the message {full_name!r}") from None
    return pool


def _add_well_known(pool: descriptor_pool.DescriptorPool, file: FileDescriptor) -> None:
    for imported in file.dependencies:
        _add_well_known(pool, imported)
    # A pool takes the very same file twice.
    pool.AddSerializedFile(file.serialized_pb)


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument(why, reason="SCHEMA")
