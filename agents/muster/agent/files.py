"""Finds the agents that a file or a module defines, for programs that run other people's agents."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from muster.agent.agent import Agent


def load_agents(place: str) -> list[Agent]:
    """The agents at the top of a Python file (`agents/shouter.py`) or module (`acme.shouter`).

    The file's folder is put on `sys.path`, as `python FILE` does. Raises `LookupError` when there
    is no such place or no agent in it, and whatever loading it raises.
    """
    is_file = place.endswith(".py") or Path(place).is_file()
    module = _load_file(Path(place)) if is_file else _load_module(place)
    agents = {id(value): value for value in vars(module).values() if isinstance(value, Agent)}
    if not agents:
        message = f"{place} defines no agent: put `agent = Agent(…)` at its top"
        raise LookupError(message)
    return list(agents.values())


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        message = f"there is no file {path}"
        raise LookupError(message)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if importlib.util.find_spec(path.stem) is not None:
        module = importlib.import_module(path.stem)
        if module.__file__ and Path(module.__file__).resolve() == path.resolve():
            return module
    name = f"muster_agents_in_{path.stem}"  # its own name belongs to another module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{path} is no Python file"
        raise LookupError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            message = f"there is no module {name}"
            raise LookupError(message) from None
        raise
