"""The import graph of the audited tree: who depends on whom, and where imports go in circles.

Which file an import means is decided by paths alone, as nothing is ever imported:

- a relative import from its file's folder;
- an absolute one among the top-level modules: a file's top is the nearest folder above it without
  an `__init__.py`;
- else, if it has two parts or more, by a folder path that ends with it, where only one does: this
  finds modules in namespace packages;
- else by the part of it that is known: `os.path` is a name that `os` makes.

`from package import name` means the module `package.name` if there is one, else `package`. That
importing `a.b` also runs `a/__init__.py` is left out: it would put every package in a cycle.
"""

import posixpath
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from muster.audit.cycles import shortest_loop, strong_components
from muster.audit.languages import PYTHON, language_of
from muster.audit.limits import CYCLES_MAX, DEPENDED_ON_MAX
from muster.audit.shapes import Cycle, DependedOn, FileImports, GraphRequest, Import, ImportGraph

_PACKAGE: Final = "__init__"


@dataclass(frozen=True, slots=True)
class _Index:
    """Paths by module name: `by_name` from their tops, `by_ending` by every ending of their path
    (None where it is not unique); `names` says what each path is called in the report. Below the
    root, `package` is the root's own name. `bound` are the names a package imports from elsewhere:
    they hide modules of the same name in it."""

    package: str
    bound: dict[str, frozenset[str]]
    paths: frozenset[str]
    by_name: dict[str, str]
    by_ending: dict[str, str | None]
    names: dict[str, str]

    def absolute(self, module: str) -> str | None:
        if self.package and f"{module}.".startswith(f"{self.package}."):
            return self.at("", module[len(self.package) + 1 :])
        found = self.by_name.get(module)
        if found is None and "." in module:
            return self.by_ending.get(module)
        return found

    def known_part(self, module: str) -> str | None:
        """The nearest package around a module that is not there."""
        while "." in module:
            module = module.rpartition(".")[0]
            if module in self.by_name:
                return self.by_name[module]
        return None

    def at(self, folder: str, module: str) -> str | None:
        """The file of `module`, seen from `folder`."""
        base = posixpath.join(folder, *module.split(".")) if module else folder
        candidates = (f"{base}.py", posixpath.join(base, f"{_PACKAGE}.py"), f"{base}.pyi")
        return next((path for path in candidates if path in self.paths), None)


def graph(request: GraphRequest) -> ImportGraph:
    """The import graph of all Python files together; their order does not matter."""
    unique = {f["path"]: f for f in request["files"] if language_of(f["path"]) == PYTHON}
    files = [unique[path] for path in sorted(unique)]
    index = _index(files, request.get("package", ""))
    importers: dict[str, set[str]] = defaultdict(set)
    outside: dict[str, set[str]] = defaultdict(set)
    loads: dict[str, set[str]] = {file["path"]: set() for file in files}
    for file in files:
        for target, item in _targets(index, file):
            if target is None:
                outside[item["module"].partition(".")[0]].add(file["path"])
            elif target != file["path"]:
                importers[target].add(file["path"])
                if not item["deferred"]:
                    loads[file["path"]].add(target)
    cycles = sorted(_cycles(index, loads), key=lambda c: (-c["size"], c["modules"]))
    return {
        "files": len(request["files"]),
        "modules": len(files),
        "edges": sum(map(len, importers.values())),
        "cycle_count": len(cycles),
        "cycles": cycles[:CYCLES_MAX],
        "depended_on": _ranked(_inside(index, importers)),
        "external": _ranked(_outside(outside)),
    }


def _index(files: list[FileImports], package: str) -> _Index:
    paths = [file["path"] for file in files]
    known = frozenset(paths)
    bound = {file["path"]: _bound_names(file) for file in files}
    by_name: dict[str, str] = {}
    by_ending: dict[str, str | None] = {}
    names: dict[str, str] = {}
    for path in paths:
        parts = _parts(path)
        top = _top(path, known)
        named = [package, *parts] if package else parts[top:]
        names[path] = ".".join(named) or path
        by_name.setdefault(names[path], path)
        for start in range(len(parts)):
            ending = ".".join(parts[start:])
            by_ending[ending] = None if ending in by_ending else path
    return _Index(package, bound, known, by_name, by_ending, names)


def _bound_names(file: FileImports) -> frozenset[str]:
    return frozenset(name for item in file["imports"] if item["module"] for name in item["names"])


def _parts(path: str) -> list[str]:
    parts = path.rpartition(".")[0].split("/")
    return parts[:-1] if parts[-1] == _PACKAGE else parts


def _top(path: str, known: frozenset[str]) -> int:
    """How many folders stand above the file's outermost package."""
    folders = path.split("/")[:-1]
    top = len(folders)
    while top and f"{'/'.join(folders[:top])}/{_PACKAGE}.py" in known:
        top -= 1
    return top


def _targets(index: _Index, file: FileImports) -> Iterator[tuple[str | None, Import]]:
    """The files each import loads; None for a module outside the tree."""
    for item in file["imports"]:
        found = _resolve(index, file["path"], item)
        if not found and not item["level"]:
            yield None, item
        for target in found:
            yield target, item


def _resolve(index: _Index, path: str, item: Import) -> list[str]:
    package, names = _package_and_names(index, path, item)
    if package is None:
        found = {name for name in names.values() if name}
    else:
        hidden = index.bound[package]
        found = {target for name, target in names.items() if target and name not in hidden}
        # The package itself is meant unless each name is a module of its own.
        if not names or hidden & names.keys() or None in names.values():
            found.add(package)
    return sorted(found)


def _package_and_names(
    index: _Index, path: str, item: Import
) -> tuple[str | None, dict[str, str | None]]:
    """The file of what is imported from, and of each imported name that could be a module."""
    module = item["module"]
    if item["level"]:
        folder = _folder_above(path, item["level"])
        if folder is None:
            return None, {}
        inner = {name: index.at(folder, f"{module}.{name}".strip(".")) for name in item["names"]}
        return index.at(folder, module), inner
    names = {name: index.absolute(f"{module}.{name}") for name in item["names"]}
    package = index.absolute(module)
    if package is None and not any(names.values()):
        package = index.known_part(module)
    return package, names


def _folder_above(path: str, level: int) -> str | None:
    folders = path.split("/")[:-1]
    keep = len(folders) - (level - 1)
    return "/".join(folders[:keep]) if keep >= 0 else None


def _inside(index: _Index, importers: dict[str, set[str]]) -> Iterator[DependedOn]:
    for path, sources in importers.items():
        yield {
            "module": index.names[path],
            "path": path,
            "importers": len(sources),
            "origin": "internal",
        }


def _outside(importers: dict[str, set[str]]) -> Iterator[DependedOn]:
    for module, sources in importers.items():
        if module:
            known = module in sys.stdlib_module_names or module == "__main__"
            yield {
                "module": module,
                "path": None,
                "importers": len(sources),
                "origin": "stdlib" if known else "external",
            }


def _ranked(modules: Iterable[DependedOn]) -> list[DependedOn]:
    ranked = sorted(modules, key=lambda m: (-m["importers"], m["module"], m["path"] or ""))
    return ranked[:DEPENDED_ON_MAX]


def _cycles(index: _Index, loads: dict[str, set[str]]) -> Iterator[Cycle]:
    for component in strong_components(loads):
        if len(component) > 1:
            members = sorted(component)
            yield {
                "size": len(members),
                "modules": sorted(index.names[path] for path in members),
                "example": [index.names[path] for path in shortest_loop(members, loads)],
            }
