from collections import Counter

import pytest

from muster.cli.directory import DirectoryTold, directory_json, directory_line, directory_target
from muster.cli.place import Place
from muster.supervisor.identity import Identity
from muster.supervisor.state import MeshState

TOLD = DirectoryTold(
    "127.0.0.1:8500",
    {
        "scheduler": Counter(passing=2),
        "registry": Counter(passing=1, critical=1),
        "agent": Counter(passing=40, warning=3),
    },
)


def mesh(**backends: str) -> MeshState:
    return MeshState("serving", "one process", 0.0, Identity(1, ""), {}, {}, backends=backends)


def test_it_counts_what_is_listed_by_state() -> None:
    assert directory_line(TOLD).plain == (
        "directory: 2 schedulers, 1 registry, 40 agents passing · 3 agents warning · "
        "1 registry critical"
    )
    assert directory_line(DirectoryTold("x:1")).plain == "directory: empty"
    silent = DirectoryTold("x:1", trouble="Consul answers 403")
    assert directory_line(silent).plain == "directory: x:1 does not tell: Consul answers 403"


def test_programs_get_the_same() -> None:
    assert directory_json(None) is None
    assert directory_json(TOLD) == {
        "address": "127.0.0.1:8500",
        "answers": True,
        "kinds": {
            "scheduler": {"PASSING": 2},
            "registry": {"CRITICAL": 1, "PASSING": 1},
            "agent": {"PASSING": 40, "WARNING": 3},
        },
    }


@pytest.mark.parametrize(
    ("address", "told", "state", "target"),
    [
        (None, {}, None, None),
        (None, {}, mesh(postgres="127.0.0.1:1"), None),
        (None, {}, mesh(consul="127.0.0.1:7192"), "consul://127.0.0.1:7192"),
        ("consul://one:8500", {}, None, "consul://one:8500"),
        ("one:7171", {}, None, None),
        (None, {"MUSTER_ADDRESS": "consul://two"}, None, "consul://two"),
        (None, {"MUSTER_DIRECTORY": "consuls://two:8501"}, None, "consuls://two:8501"),
        # The mesh's own, spoken to as the environment says where it names the same.
        (
            None,
            {"MUSTER_DIRECTORY": "consuls://two:8501"},
            mesh(consul="two:8501"),
            "consuls://two:8501",
        ),
        (
            None,
            {"MUSTER_DIRECTORY": "consuls://two:8501"},
            mesh(consul="127.0.0.1:7192"),
            "consul://127.0.0.1:7192",
        ),
    ],
)
def test_the_directory_is_the_one_of_the_mesh_in_question(
    address: str | None, told: dict[str, str], state: MeshState | None, target: str | None
) -> None:
    assert directory_target(Place(address), state, told) == target
