"""Annotations as schemas, and values that fit them or do not."""

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict
from uuid import UUID

import jsonschema_rs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.agent.codec.annotations import Codec, Definitions, Misfit, compile_type, root_schema


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    x: int
    y: int = 0


@dataclass
class Tree:
    name: str
    children: "list[Tree]" = field(default_factory=list)


@dataclass
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            message = "it must be even"
            raise ValueError(message)


class Place(NamedTuple):
    city: str
    zip: str = ""


class Options(TypedDict):
    depth: int
    note: NotRequired[str]


class Late(TypedDict):
    depth: "int"
    note: "NotRequired[str]"


class Model(pydantic.BaseModel):
    number: int = pydantic.Field(ge=0)
    when: datetime.datetime | None = None
    inner: "Inner | None" = None


class Inner(pydantic.BaseModel):
    text: str


Model.model_rebuild()
UserId = NewType("UserId", str)


def compiled(annotation: Any) -> tuple[Codec, dict[str, Any]]:
    definitions = Definitions()
    codec = compile_type(annotation, definitions)
    return codec, root_schema(codec.schema, definitions)


FITS: list[tuple[Any, Any, Any]] = [
    # annotation, JSON, Python
    (str, "a", "a"),
    (int, 5, 5),
    (int, 5.0, 5),
    (int, 2**70, 2**70),
    (float, 1, 1.0),
    (bool, True, True),
    (None, None, None),
    (Any, {"a": [1, None]}, {"a": [1, None]}),
    (list[int], [1, 2], [1, 2]),
    (list, [1, "a"], [1, "a"]),
    (Sequence[str], ["a"], ["a"]),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, str], [1, "a"], (1, "a")),
    (set[int], [1, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[int, str], {"1": "a"}, {1: "a"}),
    (Mapping[str, bool], {"a": True}, {"a": True}),
    (Optional[int], None, None),  # noqa: UP045 - both ways of writing it
    (int | None, 3, 3),
    (int | str, "a", "a"),
    (Literal["a", 1, None], 1, 1),
    (Colour, "blue", Colour.BLUE),
    (Level, 2, Level.HIGH),
    (Point, {"x": 1, "y": 2}, Point(1, 2)),
    (Point | None, None, None),
    (list[Point], [{"x": 1, "y": 0}], [Point(1)]),
    (
        Tree,
        {"name": "a", "children": [{"name": "b", "children": []}]},
        Tree("a", [Tree("b")]),
    ),
    (Place, {"city": "a", "zip": "1"}, Place("a", "1")),
    (Options, {"depth": 1}, {"depth": 1}),
    (Options, {"depth": 1, "note": "b"}, {"depth": 1, "note": "b"}),
    (Late, {"depth": 1}, {"depth": 1}),
    (UserId, "a", "a"),
    (Annotated[int, "how many"], 5, 5),
    (bytes, "AAE=", b"\0\1"),
    (
        datetime.datetime,
        "2026-01-02T03:04:05+00:00",
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    ),
    (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
    (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678123456781234567812345678")),
    (Decimal, "1.50", Decimal("1.50")),
    (
        Model,
        {"number": 1, "when": None, "inner": {"text": "a"}},
        Model(number=1, inner=Inner(text="a")),
    ),
    (list[Model], [{"number": 1, "when": None, "inner": None}], [Model(number=1)]),
]


@pytest.mark.parametrize(("annotation", "json", "python"), FITS)
def test_values_that_fit_pass_both_ways_and_fit_the_schema(
    annotation: Any, json: Any, python: Any
) -> None:
    codec, schema = compiled(annotation)
    jsonschema_rs.Draft202012Validator(schema).validate(json)
    decoded = codec.decode(json)
    assert decoded == python
    assert type(decoded) is type(python)
    encoded = codec.encode(python)
    assert encoded == (json if not isinstance(json, float) else python)
    jsonschema_rs.Draft202012Validator(schema).validate(encoded)


@pytest.mark.parametrize(
    ("annotation", "json", "says"),
    [
        (str, 5, "expected a string, got an integer"),
        (int, "5", "expected an integer, got a string"),
        (int, True, "expected an integer, got a boolean"),
        (int, 1.5, "expected an integer, got a number"),
        (float, True, "expected a number, got a boolean"),
        (bool, 1, "expected a boolean, got an integer"),
        (None, 0, "expected null"),
        (list[int], [1, "a"], r"^\[1\]: expected an integer"),
        (list[list[int]], [[1], ["a"]], r"^\[1\]\[0\]: expected"),
        (tuple[int, str], [1], "expected an array of 2"),
        (dict[str, int], {"a": "b"}, "^a: expected an integer"),
        (dict[int, int], {"a": 1}, "decimal digits"),
        (int | str, None, "expected integer or string, got null"),
        (Literal["a", 1], True, "one of 'a', 1"),
        (Colour, "green", "one of 'red', 'blue'"),
        (Point, {"y": 1}, "^x: it is required"),
        (Point, {"x": 1, "z": 1}, "^z: there is no such property"),
        (list[Point], [{"x": "a"}], r"^\[0\]\.x: expected an integer"),
        (Tree, {"name": "a", "children": [{}]}, r"^children\[0\]\.name: it is required"),
        (Even, {"number": 3}, "it must be even"),
        (Options, {}, "^depth: it is required"),
        (bytes, "??", "expected base64"),
        (datetime.date, "yesterday", "expected a date"),
        (UUID, "1", "expected a UUID"),
        (Decimal, "x", "expected a decimal"),
        (Model, {"number": -1}, "^number: "),
        (Model, {"number": 1, "inner": {}}, r"^inner\.text: "),
    ],
)
def test_values_that_do_not_fit_say_where_and_why(annotation: Any, json: Any, says: str) -> None:
    codec, _ = compiled(annotation)
    with pytest.raises(Misfit, match=says):
        codec.decode(json)


@pytest.mark.parametrize(
    ("annotation", "python"),
    [
        (str, 5),
        (int, 1.5),
        (float, "1"),
        (list[int], "12"),
        (list[int], {1, 2}),
        (Point, {"x": 1}),
        (Colour, "red"),
        (Options, {"depth": 1, "more": 2}),
        (Options, {}),
        (Point | None, 5),
        (datetime.date, "2026-01-02"),
        (Model, {"number": 1}),
        (tuple[int, str], (1, "a", 2)),
        (dict[str, int], {1: 1}),
        (set[int], [1]),
    ],
)
def test_a_value_of_the_wrong_type_is_not_put_out(annotation: Any, python: Any) -> None:
    codec, _ = compiled(annotation)
    with pytest.raises(Misfit):
        codec.encode(python)


@pytest.mark.parametrize(
    "annotation", [complex, object(), dict[float, int], Literal[1.5], type("Plain", (), {})]
)
def test_what_json_has_nothing_for_is_refused_at_once(annotation: Any) -> None:
    with pytest.raises(TypeError):
        compiled(annotation)


def test_two_classes_of_one_name_are_refused() -> None:
    @dataclass
    class Here:
        number: int

    first = Here

    @dataclass
    class Here:  # type: ignore[no-redef]
        text: str

    with pytest.raises(TypeError, match="two different types are called Here"):
        compiled(first | Here)


def test_schemas_are_small_and_plain() -> None:
    assert compiled(Point)[1] == {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
        "required": ["x"],
        "additionalProperties": False,
    }
    assert compiled(Annotated[int, "how many", {"minimum": 0}])[1] == {
        "type": "integer",
        "description": "how many",
        "minimum": 0,
    }
    assert compiled(list[Point])[1]["items"] == {"$ref": "#/$defs/Point"}
    assert set(compiled(list[Point])[1]["$defs"]) == {"Point"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "y", "name", "children", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    annotation=st.sampled_from([annotation for annotation, _, _ in FITS]),
    value=JSON,
)
def test_what_the_schema_refuses_is_not_decoded(annotation: Any, value: Any) -> None:
    codec, schema = compiled(annotation)
    try:
        codec.decode(value)
    except Misfit:
        return
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(value)
