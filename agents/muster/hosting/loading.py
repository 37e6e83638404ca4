"""Finds agents in Python modules and files, and in YAML."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from muster.agent import Agent
from muster.model.fleet import AgentGroup, HostJob


class LoadError(Exception):
    """Agents cannot be loaded; the message tells a person what to change."""


YAML = (".yaml", ".yml")


def load_agents(path: Path) -> list[Agent]:
    """The agents that a file defines, Python or YAML, in order. Raises `LoadError`."""
    if path.suffix in YAML:
        return [load_declared(path)]
    return agents_of(load_file(path))


def load_declared(path: Path) -> Agent:
    """The agent that a YAML file describes. Raises `LoadError`, with a line for each mistake."""
    try:
        from muster.declared import BadAgent, load_agent
    except ModuleNotFoundError as error:
        extra = "pip install 'muster-mesh[yaml]'"
        message = f"{path} is YAML, and {error.name}, which reads it, is not installed: {extra}"
        raise LoadError(message) from None
    try:
        return load_agent(path)
    except BadAgent as error:
        raise LoadError(str(error)) from None


def load_file(path: Path) -> ModuleType:
    """Imports a Python file as the module that it would be for its neighbours.

    Its folder becomes the first on `sys.path`, so that worker processes find the same module.
    """
    path = path.resolve()
    if not path.is_file():
        message = f"there is no file {path}"
        raise LoadError(message)
    if path.suffix != ".py" or not path.stem.isidentifier():
        message = f"{path.name} is not the name of a Python module; call it like my_agents.py"
        raise LoadError(message)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = load_module(path.stem)
    if Path(module.__file__ or "").resolve() != path:
        message = f"there is another module called {path.stem}: give {path.name} another name"
        raise LoadError(message)
    return module


def load_module(name: str) -> ModuleType:
    """Imports a module; raises `LoadError` for one that is not there or that does not load."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            message = f"there is no module {name}"
            raise LoadError(message) from None
        message = f"{name} cannot be imported: it needs {missing}, which is not installed"
        raise LoadError(message) from error
    except Exception as error:
        message = f"{name} cannot be imported: {type(error).__name__}: {error}"
        raise LoadError(message) from error


def agents_of(module: ModuleType) -> list[Agent]:
    """The agents that a module holds by its own names, in order, each once."""
    found: dict[int, Agent] = {}
    for name, value in vars(module).items():
        if isinstance(value, Agent) and not name.startswith("__"):
            found.setdefault(id(value), value)
    return list(found.values())


def copies(agents: Iterable[Agent], count: int) -> list[Agent]:
    """So many of each agent, called after it: "sum-1", "sum-2", … With 1, the agents themselves."""
    if count == 1:
        return list(agents)
    digits = len(str(count))
    return [
        agent.renamed(f"{agent.name}-{number:0{digits}d}")
        for agent in agents
        for number in range(1, count + 1)
    ]


def agents_of_job(job: HostJob) -> list[Agent]:
    """Every agent that a job asks for. Raises `LoadError`."""
    for path in reversed(job.paths):
        if path not in sys.path:
            sys.path.insert(0, path)
    return [agent for group in job.groups for agent in _agents_of_group(group)]


def _agents_of_group(group: AgentGroup) -> list[Agent]:
    kind = group.kind
    pattern = Agent(
        kind.name,
        kind=kind.name,
        version=kind.version,
        labels=kind.labels,
        max_in_flight=kind.max_in_flight,
    )
    for source in kind.capabilities:
        _add(pattern, source)
    if not pattern.capabilities and not pattern.handlers:
        message = f"the kind {kind.name} gets no capabilities from {', '.join(kind.capabilities)}"
        raise LoadError(message)
    return [pattern.renamed(name) for name in group.names]


def _add(agent: Agent, source: str) -> None:
    """Adds what "module:attribute" or a YAML file says."""
    if source.endswith(YAML):
        _add_declared(agent, load_declared(Path(source)), source)
        return
    place, _, attribute = source.rpartition(":")
    module = load_file(Path(place)) if place.endswith(".py") else load_module(place)
    offered = getattr(module, attribute, None)
    try:
        if isinstance(offered, Agent):
            agent.take_over(offered)
        elif callable(offered):
            offered(agent)
        else:
            what = "there is no such thing" if offered is None else "it is no Agent and no function"
            message = f"{source}: {what}"
            raise LoadError(message)
    except (TypeError, ValueError) as error:
        message = f"{source}: {error}"
        raise LoadError(message) from error


def _add_declared(agent: Agent, declared: Agent, source: str) -> None:
    """What the fleet says of the kind holds before what the YAML says of the agent."""
    try:
        agent.take_over(declared)
    except ValueError as error:
        message = f"{source}: {error}"
        raise LoadError(message) from None
    agent.version = agent.version or declared.version
    agent.labels = {**declared.labels, **agent.labels}
    if agent.max_in_flight == 1:
        agent.max_in_flight = declared.max_in_flight
