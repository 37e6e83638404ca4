"""What is made from files, and made again when they change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from muster.runtime.config import ConfigError
from muster.runtime.logs import get_logger
from muster.wire.security import Stamp, stamp_of

_log = get_logger("muster.runtime")
_T = TypeVar("_T")


class Watched(Generic[_T]):
    """`load()` of `paths`. What cannot be used is said once, and what there was before stays.

    Looks at most every `seconds`; 0: whenever it is asked. May be used by several threads: at worst
    both load.
    """

    def __init__(
        self,
        name: str,
        paths: Callable[[], Iterable[Path]],
        load: Callable[[], _T],
        *,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises `ConfigError` where `load` does."""
        self.name = name
        self.version = 0  # grows with each change
        self._paths = paths
        self._load = load
        self._seconds = seconds
        self._clock = clock
        self._looked_at = clock()
        # Stamped first: a change while it is read shows at the next look.
        self._stamp = self._look()
        self._current = load()

    def current(self) -> _T:
        """What the files say now, or said last."""
        now = self._clock()
        if now - self._looked_at < self._seconds:
            return self._current
        self._looked_at = now
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._current = self._load()
            except ConfigError as error:
                _log.error("kept what was read before", what=self.name, why=str(error))
            else:
                self.version += 1
                _log.info("read again", what=self.name)
        return self._current

    def _look(self) -> Stamp:
        return tuple(stamp_of(path) for path in self._paths())


def read_file(name: str, path: Path, bytes_max: int) -> bytes:
    """The file that the setting `name` names; raises `ConfigError`, which keeps the path to itself:
    what is said ends in logs, and a path may tell more than it should."""
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise ConfigError(f"the file of {name} cannot be read: {error.strerror}") from None
    if len(content) > bytes_max:
        raise ConfigError(f"the file of {name} has more than {bytes_max} bytes")
    return content
