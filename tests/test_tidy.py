"""Style is a test: who may import whom, how long things may be, and what stays out of the tree.

Where a rule makes a place worse, name the place in the list beside the rule and say why there.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator

from tests.layers import IMPURE_STDLIB, LAYERS, PROTOCOLS, PURE, SERVICES, WIRING, Layer
from tests.sources import (
    NAMESPACE_PARENTS,
    ROOT,
    Import,
    Module,
    files,
    muster_modules,
    python_files,
    syntax,
    within,
)


def layer_of(name: str) -> Layer:
    return next(layer for layer in LAYERS if within(name, *layer.modules))


def may_import(module: Module, imported: Import) -> bool:
    """Whether the table allows one import."""
    layer, parts, top = layer_of(module.name), module.name.split("."), imported.name.split(".")[0]
    if top in ("muster", "buf"):
        own, branch = ".".join(parts[:2]), ".".join(parts[:3])
        allowed = (pattern.format(own=own, branch=branch) for pattern in layer.of_muster)
        return within(imported.name, *allowed)
    if top in sys.stdlib_module_names:
        return not (within(module.name, *PURE) and top in IMPURE_STDLIB)
    return within(imported.name, *layer.of_others) or (
        imported.guarded and within(imported.name, *layer.guarded)
    )


def refused_imports(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.path}:{imported.line}: {module.name} imports {imported.name}"
        for module in modules
        for imported in module.imports
        if not may_import(module, imported)
    ]


def report(found: Iterable[str], advice: str) -> str:
    return "\n".join((advice, *found))


def test_imports_point_one_way() -> None:
    found = refused_imports(muster_modules())
    assert not found, report(
        found,
        "Dependencies point __main__ → servicer → core → model, backends → backends.base → model, "
        "SDK → wire → stubs + model. Pure modules take `now` as an argument and return effects; "
        "the SDK imports nothing beyond the base install (pydantic only inside try/except). Move "
        "the code to where the import is allowed, or change LAYERS or PURE_PARTS and say why:",
    )


def test_the_three_services_never_import_each_other() -> None:
    found = [
        f"{module.path}:{imported.line}: imports {imported.name}"
        for module in muster_modules()
        for service in SERVICES
        if within(module.name, service)
        for imported in module.imports
        if within(imported.name, *SERVICES) and not within(imported.name, service)
    ]
    assert not found, report(found, "Services meet on the wire only; what they share is the model:")


def test_only_the_wiring_imports_a_concrete_backend() -> None:
    found = [
        f"{module.path}:{imported.line}: imports {imported.name}"
        for module in muster_modules()
        if not within(module.name, *WIRING, "muster.backends")
        for imported in module.imports
        if within(imported.name, "muster.backends.*") and not within(imported.name, *PROTOCOLS)
    ]
    assert not found, report(
        found, "Take the protocol of muster.backends.base; __main__, allinone and cli choose one:"
    )


# --- files ----------------------------------------------------------------------------------------

EMPTY_NAMES = frozenset({"common", "helper", "helpers", "manager", "misc", "util", "utils"})


def test_no_muster_folder_has_an_init_file() -> None:
    found = [name for name in files() if re.search(r"(^|/)muster/__init__\.pyi?$", name)]
    assert not found, report(
        found, "muster is a namespace package; delete these, or its other folders vanish:"
    )


def test_every_muster_folder_is_part_of_the_namespace() -> None:
    found = {
        name.partition("/muster/")[0]
        for name in files()
        if "/muster/" in name and name.endswith(".py")
    } - set(NAMESPACE_PARENTS)
    assert not found, report(
        sorted(found), "Nothing installs these: list them where pyproject.toml lists the others:"
    )


def test_modules_are_named_for_what_they_do() -> None:
    found = [
        name for name in python_files() if EMPTY_NAMES & {*name.removesuffix(".py").split("/")}
    ]
    assert not found, report(found, "Name a module by its responsibility:")


# --- length ---------------------------------------------------------------------------------------

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 400

# "path" for a module, "path::function" for a function, with the reason beside it.
LONG_FOR_A_REASON: frozenset[str] = frozenset()


def functions(path: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in python_files()}
    found = [
        f"{name}: {length} lines"
        for name, length in lengths.items()
        if length > MODULE_LINES_MAX and name not in LONG_FOR_A_REASON
    ]
    assert not found, report(found, f"Split by responsibility, {MODULE_LINES_MAX} lines at most:")


def test_no_function_is_longer_than_a_screen() -> None:
    found = [
        f"{path}:{node.lineno}: {node.name} has {length} lines"
        for path in python_files()
        for node in functions(path)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
        and f"{path}::{node.name}" not in LONG_FOR_A_REASON
    ]
    assert not found, report(found, f"Give parts a name, {FUNCTION_LINES_MAX} lines at most:")


# --- lifetimes ------------------------------------------------------------------------------------

# The modules that own tasks for others and see them end.
TASK_OWNERS: frozenset[str] = frozenset({"services/shared/muster/runtime/lifetime.py"})


def starts_a_bare_task(node: ast.Call) -> bool:
    """asyncio.create_task, ensure_future, loop.create_task; a task group's create_task is fine."""
    called = ast.unparse(node.func)
    receiver, _, name = called.rpartition(".")
    if name == "ensure_future":
        return True
    return name == "create_task" and (receiver in ("", "asyncio") or "loop" in receiver.lower())


def calls(path: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(syntax(path)) if isinstance(node, ast.Call))


def test_no_task_starts_without_an_owner() -> None:
    found = [
        f"{path}:{call.lineno}: {ast.unparse(call.func)}"
        for path in python_files()
        if path not in TASK_OWNERS
        for call in calls(path)
        if starts_a_bare_task(call)
    ]
    assert not found, report(
        found, "Start tasks in a task group, so that nothing outlives its owner (or TASK_OWNERS):"
    )


def sleeps(node: ast.Call) -> bool:
    called, first = ast.unparse(node.func), node.args[0] if node.args else None
    gives_way = isinstance(first, ast.Constant) and first.value == 0 and called != "time.sleep"
    return called in ("time.sleep", "asyncio.sleep", "sleep") and not gives_way


def test_unit_tests_never_sleep() -> None:
    found = [
        f"{path}:{call.lineno}: {ast.unparse(call)}"
        for path in python_files()
        if path.startswith("tests/unit/")
        for call in calls(path)
        if sleeps(call)
    ]
    assert not found, report(
        found, "Time is an argument: pass `now` or a clock, or wait for events:"
    )


def test_every_named_exception_still_exists() -> None:
    named = {entry.partition("::")[0] for entry in LONG_FOR_A_REASON | TASK_OWNERS}
    assert not named - set(files()), report(sorted(named - set(files())), "Drop these exceptions:")


# --- the wire -------------------------------------------------------------------------------------


def test_every_proto_has_its_stubs_and_every_stub_its_proto() -> None:
    expected = {
        "gen/python/buf/validate/validate_pb2.py",
        "gen/python/buf/validate/validate_pb2.pyi",
        *(
            f"gen/python/muster/keda/externalscaler_{kind}"
            for kind in ("pb2.py", "pb2.pyi", "pb2_grpc.py", "pb2_grpc.pyi")
        ),
    }
    for name in files():
        if name.startswith("proto/muster/") and name.endswith(".proto"):
            stub = name.replace("proto/", "gen/python/", 1).removesuffix(".proto")
            has_service = re.search(r"^service ", (ROOT / name).read_text(), re.MULTILINE)
            for kind in ("_pb2", "_pb2_grpc") if has_service else ("_pb2",):
                expected |= {f"{stub}{kind}.py", f"{stub}{kind}.pyi"}
    found = {name for name in files() if name.startswith("gen/") and "_pb2" in name}
    assert found == expected, report(sorted(found ^ expected), "Run `make gen` and commit gen/:")


# --- what stays out -------------------------------------------------------------------------------

# Written so that neither matches itself.
MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:home|root|Users|work)/\w")
REGISTRY_HOST = re.compile(
    r"p[y]pi\.org|pythonh[o]sted\.org|npm[j]s\.(?:org|com)|(?:proxy|sum)\.gol[a]ng\.org|"
    r"crate[s]\.io|(?:repo1?|central)\.(?:mave[n]|sonatyp[e])|(?:deb|security)\.debia[n]\.org"
)


def test_no_file_names_a_machine_or_a_package_registry() -> None:
    found = []
    for name in files():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{name}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line)
        ]
    assert not found, report(found, "The project speaks of itself alone; leave these out:")
