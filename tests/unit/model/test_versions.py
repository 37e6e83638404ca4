"""Versions, and what selects them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model.versions import Version, parse_selector, parse_version

numbers = st.integers(0, 2000)
versions = st.builds(Version, numbers, numbers, numbers)


@given(versions)
def test_a_version_is_read_as_it_is_written(version: Version) -> None:
    assert parse_version(str(version)) == version


def test_no_version_is_the_first() -> None:
    assert parse_version("") == Version(1, 0, 0)


@pytest.mark.parametrize("text", ["1", "1.2", "1.2.3.4", "a.b.c", "1..3", "v1.2.3", "1.2.3-rc"])
def test_nothing_else_is_a_version(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_version(text)


def test_versions_are_ordered_as_numbers_and_not_as_text() -> None:
    texts = ["1.9.0", "1.10.0", "1.10.2", "2.0.0", "10.0.0"]
    assert sorted(sorted(texts), key=parse_version) == texts


@pytest.mark.parametrize(
    ("selector", "accepted", "refused"),
    [
        ("", "0.0.1 1.0.0 9.9.9", ""),
        ("2", "2.0.0 2.7.1", "1.9.9 3.0.0"),
        ("2.1", "2.1.0 2.1.9 2.4.0", "2.0.9 3.1.0"),
        ("2.1.3", "2.1.3", "2.1.2 2.1.4 2.2.3"),
        ("0", "0.1.0", "1.0.0"),
    ],
)
def test_a_selector_accepts(selector: str, accepted: str, refused: str) -> None:
    accepts = parse_selector(selector).accepts
    assert all(accepts(parse_version(text)) for text in accepted.split())
    assert not any(accepts(parse_version(text)) for text in refused.split())


@given(versions)
def test_each_version_is_selected_by_its_own_parts(version: Version) -> None:
    major, minor, _ = version
    for text in ("", f"{major}", f"{major}.{minor}", str(version)):
        assert parse_selector(text).accepts(version)


@given(versions, versions)
def test_who_names_more_gets_less(wanted: Version, offered: Version) -> None:
    major, minor, _ = wanted
    texts = (str(wanted), f"{major}.{minor}", f"{major}", "")
    accepted = [parse_selector(text).accepts(offered) for text in texts]
    assert accepted == sorted(accepted)


@pytest.mark.parametrize("text", ["x", "1.", "1.x", ".1"])
def test_nothing_else_is_a_selector(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_selector(text)
