from pathlib import Path

import pytest

from muster.model import limits
from muster.runtime.fleet import FleetError, load_fleet, parse_fleet

GOOD = """\
name: demo
hosts: 3
workers: 2
kinds:
  research:
    count: 10
    capabilities: my.agents:research
    max_in_flight: 4
    version: 1.4.0
    labels: {tier: gold, zone: "1"}
  single:
    capabilities: [my.agents:one, my.agents:two]
"""


def parse(text: str, folder: Path = Path("/fleets")) -> object:
    return parse_fleet(text, "fleet.yaml", folder / "fleet.yaml")


def mistakes(text: str, folder: Path = Path("/fleets")) -> list[str]:
    with pytest.raises(FleetError) as raised:
        parse(text, folder)
    return str(raised.value).splitlines()


def test_a_fleet_says_how_many_of_what_run_where() -> None:
    fleet = parse_fleet(GOOD, "fleet.yaml", Path("/fleets/fleet.yaml"))
    assert (fleet.name, fleet.hosts, fleet.workers, fleet.agents) == ("demo", 3, 2, 11)
    research, single = fleet.kinds
    assert (research.count, research.max_in_flight, research.version) == (10, 4, "1.4.0")
    assert research.labels == {"tier": "gold", "zone": "1"}
    assert single.capabilities == ("my.agents:one", "my.agents:two")
    assert (single.count, single.max_in_flight) == (1, 1)
    assert fleet.paths == ("/fleets",)


def test_a_fleet_without_a_name_is_called_after_its_file() -> None:
    text = "kinds: {a: {capabilities: m:x}}"
    assert parse_fleet(text, "f", Path("/fleets/my fleet.yaml")).name == "my-fleet"


def test_files_of_agents_are_looked_for_beside_the_fleet_file(tmp_path: Path) -> None:
    (tmp_path / "agents.py").touch()
    (tmp_path / "fleet.yaml").write_text("kinds: {a: {capabilities: agents.py:agent}}")
    (kind,) = load_fleet(tmp_path / "fleet.yaml").kinds
    assert kind.capabilities == (f"{tmp_path / 'agents.py'}:agent",)
    found = mistakes("kinds:\n  a: {capabilities: other.py:agent}", tmp_path)
    assert found == [
        "fleet.yaml:2: kinds.a.capabilities: there is no file other.py beside the fleet file"
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "fleet.yaml:1: a fleet must be a mapping (name: value)"),
        ("- a", "fleet.yaml:1: a fleet must be a mapping (name: value)"),
        ("hosts: 2", "fleet.yaml:1: a fleet needs kinds"),
        ("kinds: {}", "fleet.yaml:1: kinds must name at least one kind"),
        ("kinds: 3", "fleet.yaml:1: kinds must be a mapping (name: value)"),
        ("kinds:\n  a:", "fleet.yaml:2: kinds.a must be a mapping (name: value)"),
        (
            "kinds:\n  a: {count: 2}",
            "fleet.yaml:2: kinds.a needs capabilities: package.module:attribute or file.py:…",
        ),
        (
            "kinds:\n  a:\n    capabilities: just.a.module",
            "fleet.yaml:3: kinds.a.capabilities must be package.module:attribute, "
            "file.py:attribute or agent.yaml, not 'just.a.module'",
        ),
        (
            "kinds:\n  a:\n    capabilities: m:x\n    count: many",
            "fleet.yaml:4: kinds.a.count must be a whole number from 1 to 100000, not 'many'",
        ),
        (
            "hosts: 0\nkinds: {a: {capabilities: m:x}}",
            "fleet.yaml:1: hosts must be a whole number from 1 to 256, not '0'",
        ),
        (
            "hosts: true\nkinds: {a: {capabilities: m:x}}",
            "fleet.yaml:1: hosts must be a whole number from 1 to 256, not 'true'",
        ),
        (
            "kinds:\n  a b: {capabilities: m:x}",
            "fleet.yaml:2: a kind's name is made of letters, digits, - and _, unlike 'a b'",
        ),
        (
            "kinds:\n  a: {capabilities: m:x, colour: red}",
            "fleet.yaml:2: kinds.a has no field 'colour'; it has count, capabilities, "
            "max_in_flight, version, labels",
        ),
        (
            "kinds:\n  a: {capabilities: m:x}\n  a: {capabilities: m:x}",
            "fleet.yaml:3: kinds has 'a' twice",
        ),
        (
            "kinds:\n  a: {capabilities: m:x, labels: {'b c': d}}",
            "fleet.yaml:2: kinds.a.labels: 'b c' is no label; use letters, digits and _./-",
        ),
        (
            "kinds:\n  a: {capabilities: m:x, labels: {b: [c]}}",
            "fleet.yaml:2: kinds.a.labels.b must be a short text, not a list",
        ),
        ("kinds: [", "fleet.yaml:1: this is not YAML: expected the node content, "),
    ],
)
def test_a_mistake_is_reported_with_its_line(text: str, mistake: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith(mistake)


def test_all_mistakes_are_reported_at_once_but_not_hundreds_of_them() -> None:
    text = "kinds:\n" + "".join(f"  k{number}: {{}}\n" for number in range(50))
    found = mistakes(text)
    assert len(found) == 9
    assert found[-1] == "… and 42 more"


def test_a_fleet_has_a_largest_size() -> None:
    kinds = "".join(f"  k{n}: {{count: 60000, capabilities: m:x}}\n" for n in range(2))
    assert mistakes(f"kinds:\n{kinds}") == [
        f"fleet.yaml:1: a fleet has at most {limits.FLEET_AGENTS_MAX:,} agents"
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="cannot be read: No such file"):
        load_fleet(tmp_path / "nothing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FleetError, match="is not UTF-8 text"):
        load_fleet(tmp_path / "binary.yaml")
