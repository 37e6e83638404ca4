"""Bugs that are put into a mesh on purpose, so that it can be seen that the checker finds them.

Each is a module with a `plant` that patches this process; `python -m tests.faults.planted BUG
muster.allinone` plants it and then runs the service as it is. A patch that no longer has anything
to patch fails at once, so that no bug is thought to be planted that is not there.
"""

from __future__ import annotations

from types import ModuleType


def replace_in(module: ModuleType, statement: str, old: str, new: str) -> None:
    """Changes the text of a statement, which must hold what is to be replaced."""
    text: str = getattr(module, statement)
    assert old in text, f"{module.__name__}.{statement} does not say {old!r} any more"
    setattr(module, statement, text.replace(old, new))


def put(owner: object, name: str, value: object) -> None:
    """Puts something in the place of what is there, which must be there."""
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, value)
