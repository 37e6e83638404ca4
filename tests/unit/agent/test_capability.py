"""Functions as capabilities."""

from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import pytest

from muster.agent import Agent, Context, SyncContext
from muster.agent.capability import WORKER_CAPABILITIES, Capability, Runs
from muster.agent.codec.annotations import Misfit
from muster.agent.failures import Failed
from muster.agent.spec import agent_spec
from muster.agent.values import Content, arguments_of, output_content
from muster.v1.policy_pb2 import Constraint, RetryPolicy


@dataclass
class Query:
    """What is asked."""

    text: str
    limit: int = 10


class Answer(pydantic.BaseModel):
    score: float


def at_the_top(number: int) -> int:
    """Doubles.

    More about it.
    """
    return number * 2


def capability(function: Any, **options: Any) -> Capability:
    return Capability(function, "demo.it", **options)


def test_parameters_are_properties_and_defaults_make_them_optional() -> None:
    async def search(text: str, limit: Annotated[int, "at most"] = 5, *, exact: bool = False): ...

    schema = capability(search).input
    assert schema == {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "limit": {"type": "integer", "description": "at most", "default": 5},
            "exact": {"type": "boolean", "default": False},
        },
        "required": ["text"],
        "additionalProperties": False,
    }


def test_a_function_without_parameters_takes_nothing() -> None:
    async def nothing() -> None: ...

    made = capability(nothing)
    assert made.input == {"type": "object", "properties": {}, "additionalProperties": False}
    assert made.output.schema == {"type": "null"}
    assert arguments_of(made, Content("")) == {}
    assert arguments_of(made, Content("json", "{}")) == {}


def test_what_has_no_annotation_may_be_anything() -> None:
    async def anything(value): ...

    made = capability(anything)
    assert made.input["properties"] == {"value": {}}
    assert made.output.schema == {}


@pytest.mark.parametrize("kind", [Query, Answer])
def test_a_single_object_is_the_whole_input(kind: Any) -> None:
    async def take(it: kind) -> kind:
        return it

    take.__annotations__ = {"it": kind, "return": kind}
    made = capability(take)
    assert "it" not in made.input["properties"]
    text = '{"text":"a","limit":10}' if kind is Query else '{"score":1.5}'
    arguments = arguments_of(made, Content("json", text))
    assert isinstance(arguments["it"], kind)
    assert output_content(made, arguments["it"]) == Content("json", text)


def test_a_single_message_is_the_whole_input() -> None:
    async def take(policy: RetryPolicy) -> Constraint:
        raise NotImplementedError

    made = capability(take)
    message = RetryPolicy(maximum_attempts=3)
    name = "muster.v1.RetryPolicy"
    for content in (
        Content("message", message.SerializeToString(), name),
        Content("json", '{"maximumAttempts": 3}'),
    ):
        assert arguments_of(made, content) == {"policy": message}
    for content in (
        Content("message", b"", "other.Thing"),
        Content("message", b"\xff\xff", name),
        Content("json", '{"unknown": 3}'),
        Content("binary", b"", "image/png"),
    ):
        with pytest.raises(Failed, match="INVALID_INPUT"):
            arguments_of(made, content)
    sent = output_content(made, Constraint(label="a"))
    assert (sent.kind, sent.name) == ("message", "muster.v1.Constraint")
    with pytest.raises(Failed, match="INVALID_OUTPUT"):
        output_content(made, message)


def test_messages_are_registered_with_everything_needed_to_read_them() -> None:
    agent = Agent("a")

    @agent.capability("demo.it")
    async def take(policy: RetryPolicy) -> int:
        return 0

    (offered,) = agent_spec(agent).capabilities
    assert offered.input.message.full_name == "muster.v1.RetryPolicy"
    assert b"buf/validate/validate.proto" in offered.input.message.file_descriptor_set
    assert offered.output.json_schema == '{"type":"integer"}'


def test_the_context_is_found_by_its_annotation_and_is_no_input() -> None:
    async def asks(text: str, where_i_am: Context) -> None: ...

    made = capability(asks)
    assert made.context_parameter == "where_i_am"
    assert list(made.input["properties"]) == ["text"]


def test_a_context_of_the_wrong_kind_is_refused() -> None:
    async def asks(ctx: SyncContext) -> None: ...
    def blocks(ctx: Context) -> None: ...

    with pytest.raises(TypeError, match="gets a Context"):
        capability(asks)
    with pytest.raises(TypeError, match="gets a SyncContext"):
        capability(blocks, threads=True)


def test_where_code_runs_follows_from_what_it_is() -> None:
    async def asynchronous() -> None: ...
    def local() -> None: ...

    assert capability(asynchronous).runs is Runs.LOOP
    assert capability(at_the_top).runs is Runs.WORKER
    assert capability(local, threads=True).runs is Runs.THREAD
    with pytest.raises(TypeError, match="threads=True"):
        capability(local)
    with pytest.raises(TypeError, match="is async"):
        capability(asynchronous, threads=True)


def test_a_worker_finds_a_capability_by_where_it_is_defined() -> None:
    made = capability(at_the_top)
    key = (__name__, "at_the_top", "demo.it", "1.0.0")
    assert WORKER_CAPABILITIES[key] is made


def test_the_first_paragraph_of_the_docstring_describes_it() -> None:
    assert capability(at_the_top).description == "Doubles."
    assert capability(at_the_top, description="other").description == "other"


def test_generators_say_in_their_annotation_what_the_response_is() -> None:
    async def yields() -> AsyncIterator[int]:
        yield 1

    def returns() -> Generator[str, None, bool]:
        yield "a"
        return True

    def only_yields() -> Iterator[Query]:
        yield Query("a")

    assert capability(yields).output.schema == {"type": "array", "items": {"type": "integer"}}
    made = capability(returns, threads=True)
    assert (made.output.schema, made.returns_array) == ({"type": "boolean"}, False)
    assert capability(only_yields, threads=True).output.schema["items"] == {"$ref": "#/$defs/Query"}


@pytest.mark.parametrize("version", ["1", "1.x.0", "", "1.0.0-beta"])
def test_a_malformed_version_is_refused(version: str) -> None:
    if not version:
        assert capability(at_the_top, version=version).version == ""
        return
    with pytest.raises(ValueError, match=r"."):
        capability(at_the_top, version=version)


def test_what_cannot_be_an_object_is_refused() -> None:
    async def many(*values: int) -> None: ...
    async def any_name(**values: int) -> None: ...
    async def odd(value: complex) -> None: ...

    for function in (many, any_name, odd):
        with pytest.raises(TypeError):
            capability(function)


def test_an_agent_offers_a_capability_once() -> None:
    agent = Agent("a")
    agent.capability("demo.it")(at_the_top)
    agent.capability("demo.it", version="2.0.0")(at_the_top)
    with pytest.raises(ValueError, match=r"offers demo\.it 1\.0\.0 already"):
        agent.capability("demo.it")(at_the_top)


def test_renamed_agents_share_their_capabilities() -> None:
    agent = Agent("a", kind="k", labels={"x": "1"}, max_in_flight=3)
    agent.capability("demo.it")(at_the_top)
    other = agent.renamed("b", y="2")
    assert (other.name, other.kind, other.max_in_flight) == ("b", "k", 3)
    assert other.labels == {"x": "1", "y": "2"}
    assert other.capabilities is agent.capabilities


@pytest.mark.parametrize("text", ["{", "[1]", '{"number": NaN}', '{"number": 1}{', "5"])
def test_input_that_is_no_object_of_this_kind_is_a_permanent_failure(text: str) -> None:
    with pytest.raises(Failed) as caught:
        arguments_of(capability(at_the_top), Content("json", text))
    assert (caught.value.code, caught.value.permanent) == ("INVALID_INPUT", True)


def test_input_with_too_many_levels_is_a_permanent_failure() -> None:
    with pytest.raises(Failed, match="INVALID_INPUT"):
        arguments_of(capability(at_the_top), Content("json", "[" * 100_000))


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object(), [1]])
def test_output_that_json_cannot_say_is_a_permanent_failure(value: object) -> None:
    async def gives() -> Any: ...

    if value == [1]:
        assert output_content(capability(gives), value) == Content("json", "[1]")
        return
    with pytest.raises(Failed, match="INVALID_OUTPUT"):
        output_content(capability(gives), value)


def test_misfits_are_told_from_outside_in() -> None:
    found = Misfit("odd").below("[1]").below("list").below("top")
    assert str(found) == "top.list[1]: odd"


@pytest.mark.parametrize("name", ["", "Text", "text.", "a b", "1a", "text..sum", "a" * 129])
def test_a_malformed_name_is_refused_where_it_is_written(name: str) -> None:
    with pytest.raises(ValueError, match="is no capability's name"):
        Capability(at_the_top, name)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a" * 129])
def test_a_malformed_agents_name_is_refused_where_it_is_written(name: str) -> None:
    with pytest.raises(ValueError, match="is no agent's name"):
        Agent(name)
