"""What the structural tests read: the repository's files, its modules and what they import."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The folders whose `muster/` make up the namespace package.
NAMESPACE_PARENTS = (
    "gen/python",
    "services/registry",
    "services/scheduler",
    "services/executor",
    "services/shared",
    "agents",
)


@dataclass(frozen=True)
class Import:
    """One imported module; `guarded` when the program also works without it."""

    name: str
    line: int
    guarded: bool


@dataclass(frozen=True)
class Module:
    """A module of the muster namespace: its dotted name, where it is, and what it imports."""

    name: str
    path: str
    imports: tuple[Import, ...]


@cache
def files() -> tuple[str, ...]:
    """Every file that is or would be in the repository, relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return tuple(sorted(name for name in set(listed) if (ROOT / name).is_file()))


def python_files() -> list[str]:
    """The Python that people write: everything but generated code."""
    return [name for name in files() if name.endswith(".py") and not name.startswith("gen/")]


@cache
def syntax(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def module_name(path: str) -> str | None:
    """The dotted name of a file of the namespace package, or None for any other file."""
    for parent in NAMESPACE_PARENTS:
        if path.startswith(f"{parent}/muster/") and path.endswith(".py"):
            return path.removeprefix(f"{parent}/")[:-3].replace("/", ".").removesuffix(".__init__")
    return None


@cache
def module_names() -> frozenset[str]:
    """Every module and package of the namespace, generated ones too."""
    names = {name for path in files() if (name := module_name(path))}
    return frozenset(
        ".".join(parts[:end])
        for parts in (name.split(".") for name in names)
        for end in range(1, len(parts) + 1)
    )


def muster_modules() -> list[Module]:
    """The modules of the namespace that people write."""
    return [
        Module(name, path, tuple(imports_of(syntax(path), name, path.endswith("/__init__.py"))))
        for path in python_files()
        if (name := module_name(path))
    ]


def imports_of(tree: ast.Module, name: str, is_package: bool = False) -> Iterator[Import]:
    """What a module imports, at its top and inside its functions, by absolute name.

    `from a.b import c` counts as `a.b.c` where that is a module of ours, and as `a.b` elsewhere.
    """
    package = name if is_package else name.rpartition(".")[0]
    for node, guarded in _walk(tree, guarded=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, guarded)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1])
                source = f"{base}.{source}".rstrip(".")
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                joined = source in ("muster", "google") or inner in module_names()
                yield Import(inner if joined else source, node.lineno, guarded)


def _walk(node: ast.AST, guarded: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        inside = guarded or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        inside = inside or (isinstance(child, ast.Try) and _survives_import_error(child))
        inside = inside or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        yield child, inside
        yield from _walk(child, inside)


def _survives_import_error(node: ast.Try) -> bool:
    caught = {
        name.id
        for handler in node.handlers
        if handler.type
        for name in ast.walk(handler.type)
        if isinstance(name, ast.Name)
    }
    return bool(caught & {"ImportError", "ModuleNotFoundError"})


def within(name: str, *patterns: str) -> bool:
    """Whether a dotted name is one of the patterns or lies below it: `a.b*` holds `a.bc.d`."""
    return any(
        fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*") for pattern in patterns
    )
