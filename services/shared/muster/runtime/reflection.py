"""Server reflection, v1 and v1alpha under one handler, so that grpcurl needs no protos.

After the mesh's own descriptors come those of the capabilities that were registered, from sources
that know them per tenant: a caller sees its own tenant's. The mesh's own come first, so that
nothing registered can shadow them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection_pb2

from muster.runtime import standard_protos
from muster.runtime.principal import current_principal

Pool = descriptor_pool.DescriptorPool
_Request = reflection_pb2.ServerReflectionRequest
_Response = reflection_pb2.ServerReflectionResponse
_Context = grpc.aio.ServicerContext[Any, Any]


class ReflectionSource(Protocol):
    """Knows the message types of the capabilities that a tenant has registered."""

    def pools(self, tenant: str) -> Iterable[Pool]:
        """Pools with the tenant's types, the one to be preferred first."""


class Reflection:
    """Describes the services of one server, and the types of registered capabilities."""

    def __init__(self, services: Iterable[str]) -> None:
        own = (
            standard_protos.HEALTH,
            standard_protos.REFLECTION_V1,
            standard_protos.REFLECTION_V1ALPHA,
        )
        self._services = sorted({*services, *own})
        self._pools: list[Pool] = [standard_protos.POOL, descriptor_pool.Default()]
        self._sources: list[ReflectionSource] = []

    def add_pool(self, pool: Pool) -> None:
        """Serves what is in `pool` to everybody."""
        self._pools.append(pool)

    def add_source(self, source: ReflectionSource) -> None:
        """Serves what `source` knows to the tenants it belongs to."""
        self._sources.append(source)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves both versions of reflection on `server`."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._info, _Request.FromString, _Response.SerializeToString
        )
        for service in (standard_protos.REFLECTION_V1, standard_protos.REFLECTION_V1ALPHA):
            generic = grpc.method_handlers_generic_handler(
                service, {"ServerReflectionInfo": handler}
            )
            server.add_generic_rpc_handlers((generic,))

    async def _info(
        self, requests: AsyncIterator[_Request], _context: _Context
    ) -> AsyncIterator[_Response]:
        async for request in requests:
            response = self._answer(request)
            response.valid_host = request.host
            response.original_request.CopyFrom(request)
            yield response

    def _answer(self, request: _Request) -> _Response:
        match request.WhichOneof("message_request"):
            case "list_services":
                named = [reflection_pb2.ServiceResponse(name=name) for name in self._services]
                services = reflection_pb2.ListServiceResponse(service=named)
                return _Response(list_services_response=services)
            case "file_by_filename":
                name = request.file_by_filename
                return self._file(lambda pool: pool.FindFileByName(name))
            case "file_containing_symbol":
                symbol = request.file_containing_symbol
                return self._file(lambda pool: _file_of_symbol(pool, symbol))
            case "file_containing_extension":
                asked = request.file_containing_extension
                return self._file(lambda pool: _file_of_extension(pool, asked))
            case "all_extension_numbers_of_type":
                return self._extension_numbers(request.all_extension_numbers_of_type)
        return _error(grpc.StatusCode.INVALID_ARGUMENT, "the request asks for nothing")

    def _every_pool(self) -> Iterator[Pool]:
        tenant = current_principal().tenant
        return chain(self._pools, *(source.pools(tenant) for source in self._sources))

    def _file(self, find: Callable[[Pool], FileDescriptor]) -> _Response:
        for pool in self._every_pool():
            try:
                file = find(pool)
            except KeyError:
                continue
            found = reflection_pb2.FileDescriptorResponse(
                file_descriptor_proto=[each.serialized_pb for each in _with_imports(file)]
            )
            return _Response(file_descriptor_response=found)
        return _error(grpc.StatusCode.NOT_FOUND, "nothing of that name is known here")

    def _extension_numbers(self, type_name: str) -> _Response:
        for pool in self._every_pool():
            try:
                message = pool.FindMessageTypeByName(type_name)
            except KeyError:
                continue
            extensions: Any = pool.FindAllExtensions(message)
            numbers = reflection_pb2.ExtensionNumberResponse(
                base_type_name=type_name,
                extension_number=sorted(extension.number for extension in extensions),
            )
            return _Response(all_extension_numbers_response=numbers)
        return _error(grpc.StatusCode.NOT_FOUND, "no message type of that name is known here")


def _file_of_symbol(pool: Pool, symbol: str) -> FileDescriptor:
    """Pools do not find methods, fields and enum values; what holds them is one component up."""
    try:
        return pool.FindFileContainingSymbol(symbol)
    except KeyError:
        return pool.FindFileContainingSymbol(symbol.rpartition(".")[0])


def _file_of_extension(pool: Pool, asked: reflection_pb2.ExtensionRequest) -> FileDescriptor:
    message = pool.FindMessageTypeByName(asked.containing_type)
    found: Any = pool.FindExtensionByNumber(message, asked.extension_number)
    file: FileDescriptor = found.file
    return file


def _with_imports(file: FileDescriptor) -> Iterable[FileDescriptor]:
    """The file and everything it imports, once each."""
    found: dict[str, FileDescriptor] = {}
    left = [file]
    while left:
        each = left.pop()
        if each.name not in found:
            found[each.name] = each
            left.extend(each.dependencies)
    return found.values()


def _error(code: grpc.StatusCode, message: str) -> _Response:
    error = reflection_pb2.ErrorResponse(error_code=code.value[0], error_message=message)
    return _Response(error_response=error)
