import pytest

from muster.cli import exits
from muster.model.errors import REASONS, Code, InvalidArgument, MusterError, NotFound, Violation


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_of_the_mesh_has_an_exit_code(reason: str) -> None:
    trouble = exits.trouble_of(MusterError("no", reason=reason))
    code = REASONS[reason][0]
    assert trouble.code not in (exits.OK, exits.INTERRUPTED)
    assert (trouble.code == exits.NOT_FOUND) == (code is Code.NOT_FOUND)
    assert (trouble.code == exits.NO_MESH) == (code is Code.UNAVAILABLE)
    assert (trouble.code == exits.DEFECT) == (code in (Code.INTERNAL, Code.DATA_LOSS))


def test_the_next_command_is_named_once() -> None:
    assert exits.trouble_of(NotFound("no such contract")).next_command
    assert not exits.trouble_of(NotFound("no such thing; see: muster agents")).next_command


def test_a_violation_is_said_once() -> None:
    same = [Violation("request.payload", "does not fit text.sum 1.0.0")]
    error = InvalidArgument("request.payload does not fit text.sum 1.0.0", violations=same)
    assert exits.trouble_of(error).message == "request.payload does not fit text.sum 1.0.0"
    two = [Violation("a", "must be long"), Violation("b", "must be short")]
    error = InvalidArgument("a must be long", violations=two)
    assert exits.trouble_of(error).message == "a must be long; b must be short"


def test_a_mesh_that_is_not_there_is_said_with_the_way_to_start_one() -> None:
    trouble = exits.no_mesh("127.0.0.1:7171")
    assert trouble.code == exits.NO_MESH
    assert trouble.message == ("no mesh answers at 127.0.0.1:7171; start one with: muster up")


def test_the_codes_that_people_are_told_are_those_that_there_are() -> None:
    codes = {
        value
        for name, value in vars(exits).items()
        if name.isupper() and isinstance(value, int) and not name.startswith("_")
    }
    for code in codes:
        assert f" {code} " in exits.CODES_FOR_PEOPLE


def test_a_service_without_the_method_is_told_to_be_the_wrong_one() -> None:
    error = MusterError("Method not found!")
    error.code, error.reason = Code.UNIMPLEMENTED, ""
    trouble = exits.trouble_of(error)
    assert "MUSTER_REGISTRY" in trouble.message
    assert trouble.code == exits.REFUSED
