"""Capability versions (major.minor.patch) and the selectors that requests carry."""

from __future__ import annotations

from typing import NamedTuple

VERSION_DEFAULT = "1.0.0"


class Version(NamedTuple):
    """A semantic version without pre-release; ordered as such."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version:
    """The version; an empty text is 1.0.0. Raises `ValueError` for anything malformed."""
    major, minor, patch = (text or VERSION_DEFAULT).split(".")
    return Version(int(major), int(minor), int(patch))


class Selector(NamedTuple):
    """Acceptable versions: a major version and the least minor and patch, or one exact version."""

    major: int | None
    minor: int
    exact: Version | None

    def accepts(self, version: Version) -> bool:
        """Whether an agent with this version may serve the request."""
        if self.exact is not None:
            return version == self.exact
        if self.major is None:
            return True
        return version.major == self.major and version.minor >= self.minor


def parse_selector(text: str) -> Selector:
    """ "" is any, "2" any 2.x.y, "2.1" any 2.x with x >= 1, "2.1.3" exactly that.

    Raises `ValueError` for anything else.
    """
    parts = [int(part) for part in text.split(".")] if text else []
    if not parts:
        return Selector(None, 0, None)
    if len(parts) == 1:
        return Selector(parts[0], 0, None)
    if len(parts) == 2:
        return Selector(parts[0], parts[1], None)
    return Selector(parts[0], parts[1], Version(parts[0], parts[1], parts[2]))
