from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from muster.audit.cycles import shortest_loop, strong_components
from muster.audit.modules import graph
from muster.audit.research import survey
from muster.audit.shapes import ImportGraph
from tests.unit.audit.samples import source

edges = st.dictionaries(st.sampled_from("abcdefg"), st.sets(st.sampled_from("abcdefg"))).map(
    lambda found: {node: found.get(node, set()) for node in "abcdefg"}
)


def reachable(found: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    queue = [start]
    while queue:
        for target in found[queue.pop()] - seen:
            seen.add(target)
            queue.append(target)
    return seen


@given(edges)
def test_strong_components_are_the_nodes_that_reach_each_other(found: dict[str, set[str]]):
    reach = {node: reachable(found, node) | {node} for node in found}
    components = strong_components(found)
    assert sorted(node for component in components for node in component) == sorted(found)
    for component in components:
        for node in found:
            mutual = node in reach[component[0]] and component[0] in reach[node]
            assert (node in component) == mutual


@given(edges)
def test_a_shortest_loop_is_a_loop(found: dict[str, set[str]]):
    for component in strong_components(found):
        if len(component) > 1:
            loop = shortest_loop(sorted(component), found)
            assert loop[0] == loop[-1]
            assert len(loop) == len(set(loop)) + 1
            assert all(b in found[a] for a, b in pairwise(loop))


def graph_of(package: str = "", **texts: str) -> ImportGraph:
    """Files by path with "__" for "/": graph_of(a__b="import c") holds a/b.py."""
    sources = [
        source(name.replace("__", "/").replace("/init/", "__init__") + ".py", text)
        for name, text in texts.items()
    ]
    files = survey({"sources": sources})["files"]
    imports = [{"path": f["path"], "imports": f["imports"]} for f in files]
    return graph({"package": package, "files": imports})  # type: ignore[typeddict-item]


def importers(found: ImportGraph) -> dict[str, int]:
    return {m["module"]: m["importers"] for m in found["depended_on"]}


def outside(found: ImportGraph) -> dict[str, str]:
    return {m["module"]: m["origin"] for m in found["external"]}


def test_absolute_and_relative_imports_mean_the_same_files():
    found = graph_of(
        pkg____init__="",
        pkg__a="from pkg import b\nfrom . import c",
        pkg__b="from .c import name\nimport pkg.c",
        pkg__c="import os\nimport requests\nfrom pkg import VERSION",
    )
    assert importers(found) == {"pkg.b": 1, "pkg.c": 2, "pkg": 1}
    assert outside(found) == {"os": "stdlib", "requests": "external"}


def test_importing_each_other_while_loading_is_a_cycle():
    found = graph_of(a="import b", b="import c", c="import a\nimport b", d="import a")
    assert found["cycles"] == [{"size": 3, "modules": ["a", "b", "c"], "example": ["b", "c", "b"]}]


def test_an_import_that_waits_is_no_cycle_but_a_dependency():
    found = graph_of(a="import b", b="def f():\n    import a")
    assert found["cycles"] == []
    assert importers(found) == {"a": 1, "b": 1}


def test_a_name_that_a_package_imports_hides_a_module_of_that_name():
    found = graph_of(
        pkg____init__="from .main import main", pkg__main="", user="from pkg import main"
    )
    assert importers(found) == {"pkg": 1, "pkg.main": 1}


def test_modules_in_namespace_packages_are_found_by_the_end_of_their_path():
    found = graph_of(
        services__a__space__core="", services__b__space__edge="import space.core\nimport core"
    )
    assert importers(found) == {"core": 1}
    assert outside(found) == {}


def test_an_ending_that_fits_two_files_decides_nothing():
    found = graph_of(one__x__y="", two__x__y="", three="import x.y")
    assert importers(found) == {}
    assert outside(found) == {"x": "external"}


def test_a_root_that_is_a_package_knows_its_own_name():
    texts = {"__init__": "", "a": "import pkg.b", "b": "from pkg import a\nimport other.b"}
    files = survey({"sources": [source(f"{name}.py", text) for name, text in texts.items()]})
    found = graph(
        {
            "package": "pkg",
            "files": [{"path": f["path"], "imports": f["imports"]} for f in files["files"]],
        }
    )
    assert importers(found) == {"pkg.a": 1, "pkg.b": 1}
    assert outside(found) == {"other": "external"}
    assert found["cycle_count"] == 1


def test_a_part_of_a_module_belongs_to_the_module():
    assert importers(graph_of(os="", user="import os.path")) == {"os": 1}


def test_imports_beyond_the_root_and_of_itself_are_left_out():
    found = graph_of(a="from ... import x\nfrom .... import y\nimport a")
    assert (found["edges"], found["external"], found["cycles"]) == (0, [], [])


def test_other_languages_and_repeated_files_change_nothing():
    file = {"path": "a.py", "imports": []}
    other = {"path": "a.md", "imports": []}
    found = graph({"files": [file, other, file]})  # type: ignore[list-item]
    assert (found["modules"], found["edges"]) == (1, 0)
