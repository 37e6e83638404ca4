"""Becomes a server: `python launch.py PARENT SIGNAL USER PROGRAM ARGUMENT…`.

A server knows nothing of who started it, and would outlive it. On Linux the kernel sends it SIGNAL,
the one that it stops at, as soon as the process PARENT is gone; elsewhere whoever comes next finds
it in `mesh.json` and ends it.

USER is "uid:gid", or "-" for the one that runs this. Another user may not be able to walk to the
working folder, as root's data folder lies where nobody else can go: it stays open, as FOLDER_NAME,
and the program begins in "/". (`/proc/self/cwd` would do, but that PostgreSQL before 16 leaves its
working folder for a moment to look for itself, and cannot come back.)

Runs without site-packages and imports nothing of Muster: it is there for some milliseconds.
"""

from __future__ import annotations

import os
import sys
from typing import Any

FOLDER_DESCRIPTOR = 9
FOLDER_NAME = f"/proc/self/fd/{FOLDER_DESCRIPTOR}"

_PR_SET_PDEATHSIG = 1
_EXIT_ORPHANED = 3


def main() -> None:
    """Takes the arguments and does not return."""
    parent, number, user, *words = sys.argv[1:]
    # Imported while we still may: the other user need not be able to read our Python.
    prctl = _prctl() if sys.platform == "linux" else None
    if user != "-":
        _keep_folder()
        _become(*map(int, user.split(":")))
    if prctl is not None:
        # After the change of user, which would undo it: prctl(2).
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != int(parent):
            sys.exit(_EXIT_ORPHANED)  # it went before the kernel was told
    os.execv(words[0], words)


def _prctl() -> Any:
    import ctypes

    return ctypes.CDLL(None).prctl


def _keep_folder() -> None:
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(folder, FOLDER_DESCRIPTOR)
    os.close(folder)
    os.chdir("/")


def _become(uid: int, gid: int) -> None:
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)


if __name__ == "__main__":
    main()
