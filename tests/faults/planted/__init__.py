"""Bugs that are put into a mesh on purpose, so that it can be seen that the checker finds them.

Each is a module with a `plant` that patches this process; `python -m tests.faults.planted BUG
muster.allinone` plants it and then runs the service as it is. A patch that no longer has anything
to patch fails at once, so that no bug is thought to be planted that is not there.
"""

from __future__ import annotations

from types import ModuleType


def replace_in(module: ModuleType, statement: str, old: str, new: str) -> None:
    """Changes the text of a statement, or of each in a dict, which must hold what is replaced."""
    found: str | dict[int, str] = getattr(module, statement)
    texts = found if isinstance(found, dict) else {0: found}
    for key, text in texts.items():
        assert old in text, f"{module.__name__}.{statement} does not say {old!r} any more"
        texts[key] = text.replace(old, new)
    setattr(module, statement, found if isinstance(found, dict) else texts[0])


def put(owner: object, name: str, value: object) -> None:
    """Puts something in the place of what is there, which must be there."""
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, value)
