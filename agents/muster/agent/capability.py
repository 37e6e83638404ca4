"""A function as a capability: its signature is read once, when it is decorated.

Every parameter is a property of the input object, by name; one with a default is optional. A
function of a single dataclass, TypedDict, pydantic model or protobuf message takes that as its
whole input instead. A parameter annotated `Context` (or `SyncContext`) gets the attempt's context.

The return annotation gives the output. A generator delivers each value that it yields as a part of
the output; the response is then what it returns (`Generator[Y, S, R]`), or else the array of
everything yielded (`Iterator[Y]`, `AsyncIterator[Y]`), so that who only waits misses nothing.
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
import typing
from collections import abc
from collections.abc import Callable, Mapping
from typing import Any

from muster.agent.codec.annotations import Codec, Definitions, compile_type, root_schema
from muster.agent.codec.classes import (
    MISSING,
    Field,
    is_object,
    object_decoder,
    object_schema,
)
from muster.agent.context import BaseContext, Context, SyncContext
from muster.model.versions import VERSION_DEFAULT, parse_version


class Runs(enum.Enum):
    """Where a capability's code runs."""

    LOOP = "in the host's event loop"
    THREAD = "in a thread of the host"
    WORKER = "in a worker process"


NAME_CHARS_MAX = 128
_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*")

# What a worker process finds again by module, function, name and version.
WORKER_CAPABILITIES: dict[tuple[str, str, str, str], Capability] = {}


class Capability:
    """A typed function under a name and version."""

    __slots__ = (
        "context_parameter",
        "decode",
        "description",
        "function",
        "idempotent",
        "input",
        "input_message",
        "is_generator",
        "name",
        "output",
        "output_message",
        "returns_array",
        "runs",
        "version",
        "yields",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        *,
        version: str = VERSION_DEFAULT,
        description: str | None = None,
        idempotent: bool = False,
        threads: bool = False,
        names: Mapping[str, Any] | None = None,
    ) -> None:
        """`names` are further names that the annotations may use, besides the module's own."""
        if not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
            message = f"{name!r} is no capability's name: it is like text.summarize, in lower case"
            raise ValueError(message)
        parse_version(version)
        self.function = function
        self.name = name
        self.version = version
        self.description = _first_paragraph(function) if description is None else description
        self.idempotent = idempotent
        self.runs = _where(function, threads=threads)
        self.is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(
            function
        )
        hints = _hints(function, names)
        self._read_input(hints)
        self._read_output(hints.get("return", Any))
        if self.runs is Runs.WORKER:
            WORKER_CAPABILITIES[function.__module__, function.__qualname__, name, version] = self

    def _read_input(self, hints: dict[str, Any]) -> None:
        parameters = dict(inspect.signature(self.function).parameters)
        self.context_parameter = find_context_parameter(parameters, hints, self.runs)
        parameters.pop(self.context_parameter or "", None)
        self.input_message: Any = None
        definitions = Definitions()
        whole = _whole_input(parameters, hints)
        if whole is None:
            fields = [_field(parameter, hints) for parameter in parameters.values()]
            self.input = root_schema(object_schema(fields, definitions), definitions)
            self.decode = object_decoder(fields, definitions)
            return
        name, annotation = whole
        if is_message(annotation):
            self.input_message, self.input = annotation, {}
            self.decode = lambda value: {name: value}
            return
        codec = compile_type(annotation, definitions)
        self.input = root_schema(codec.schema, definitions)
        self.decode = lambda value: {name: codec.decode(value)}

    def _read_output(self, annotation: Any) -> None:
        self.output_message: Any = None
        self.yields: Codec | None = None
        self.returns_array = False
        if self.is_generator:
            yielded, annotation, self.returns_array = _generated(annotation)
            self.yields = compile_type(yielded, Definitions())
        definitions = Definitions()
        if is_message(annotation):
            self.output_message = annotation
            self.output = Codec({}, _same, _same)
            return
        codec = compile_type(annotation, definitions)
        schema = root_schema(codec.schema, definitions)
        self.output = Codec(schema, codec.decode, codec.encode)


def is_message(annotation: Any) -> bool:
    """Whether it is a protobuf message class. Nobody can have one without protobuf imported."""
    module: Any = sys.modules.get("google.protobuf.message")
    return (
        module is not None
        and isinstance(annotation, type)
        and issubclass(annotation, module.Message)
    )


def _same(value: Any) -> Any:
    return value


def _where(function: Callable[..., Any], *, threads: bool) -> Runs:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        if threads:
            message = f"{function.__qualname__} is async: it runs in the event loop"
            raise TypeError(message)
        return Runs.LOOP
    if threads:
        return Runs.THREAD
    if "<" in function.__qualname__:
        message = (
            f"{function.__qualname__} would run in a worker process, which must find it again: "
            "define it at the top of a module, make it async, or say threads=True"
        )
        raise TypeError(message)
    return Runs.WORKER


def _first_paragraph(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n")[0].split())


def _hints(function: Callable[..., Any], names: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(names or {}), include_extras=True)
    except NameError as error:
        message = f"an annotation of {function.__qualname__} cannot be resolved: {error}"
        raise TypeError(message) from None


def find_context_parameter(
    parameters: dict[str, inspect.Parameter], hints: dict[str, Any], runs: Runs
) -> str | None:
    """The parameter that wants the context. Raises `TypeError` for several, or the wrong kind."""
    found = [
        name
        for name in parameters
        if isinstance(hints.get(name), type) and issubclass(hints[name], BaseContext)
    ]
    if len(found) > 1:
        message = f"only one parameter can be the context, not {' and '.join(found)}"
        raise TypeError(message)
    if not found:
        return None
    wanted = Context if runs is Runs.LOOP else SyncContext
    if hints[found[0]] not in (wanted, BaseContext):
        message = f"{found[0]}: code that runs {runs.value} gets a {wanted.__name__}"
        raise TypeError(message)
    return found[0]


def _whole_input(
    parameters: dict[str, inspect.Parameter], hints: dict[str, Any]
) -> tuple[str, Any] | None:
    if len(parameters) != 1:
        return None
    (name,) = parameters
    annotation = hints.get(name)
    return (name, annotation) if is_object(annotation) or is_message(annotation) else None


def _field(parameter: inspect.Parameter, hints: dict[str, Any]) -> Field:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        message = f"{parameter.name}: a capability's input has named properties only"
        raise TypeError(message)
    required = parameter.default is parameter.empty
    default = MISSING if required else parameter.default
    return Field(parameter.name, hints.get(parameter.name, Any), required, default)


_YIELD_ONLY = (abc.Iterator, abc.Iterable, abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator)


def _generated(annotation: Any) -> tuple[Any, Any, bool]:
    """What a generator yields, what its response is, and whether that is all that it yields."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is abc.Generator and len(arguments) == 3:
        return arguments[0], arguments[2], False
    if typing.get_origin(annotation) in (*_YIELD_ONLY, abc.Generator) and arguments:
        return arguments[0], list[arguments[0]], True  # type: ignore[valid-type]
    return Any, list[Any], True
