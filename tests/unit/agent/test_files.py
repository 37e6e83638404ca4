"""Agents in files and modules."""

import sys
from pathlib import Path

import pytest

from muster.agent.files import load_agents

TEXT = """
from muster.agent import Agent

one = Agent("one")
again = one
two = Agent("two")
"""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def test_a_files_agents_are_found_once_each(tmp_path: Path) -> None:
    file = tmp_path / "some_agents.py"
    file.write_text(TEXT)
    assert [agent.name for agent in load_agents(str(file))] == ["one", "two"]
    assert str(tmp_path) in sys.path


def test_a_file_may_be_called_like_a_module_of_somebody_else(tmp_path: Path) -> None:
    file = tmp_path / "json.py"
    file.write_text(TEXT)
    assert len(load_agents(str(file))) == 2
    assert "muster_agents_in_json" in sys.modules


def test_a_modules_agents_are_found() -> None:
    assert [agent.name for agent in load_agents("tests.support.sample_agents")] == ["sample"]


@pytest.mark.parametrize("place", ["no/such/file.py", "no.such.module", "json"])
def test_a_place_without_agents_is_a_lookup_error(place: str) -> None:
    with pytest.raises(LookupError):
        load_agents(place)


def test_what_a_module_lacks_is_not_mistaken_for_the_module(tmp_path: Path) -> None:
    file = tmp_path / "lacking.py"
    file.write_text("import no_such_module_at_all")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        load_agents(str(file))
