"""`muster serve`: becomes a process of the mesh, for containers and units that start one each."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import NoReturn


class Serves(StrEnum):
    """What a process of the mesh can be."""

    SCHEDULER = "scheduler"
    REGISTRY = "registry"
    EXECUTOR = "executor"
    ENGINE = "engine"
    ALL = "all"
    HOST = "host"


MODULES = {
    Serves.SCHEDULER: "muster.scheduler",
    Serves.REGISTRY: "muster.registry",
    Serves.EXECUTOR: "muster.executor",
    Serves.ENGINE: "muster.engine",
    Serves.ALL: "muster.allinone",
    Serves.HOST: "muster.hosting",
}


def serve(what: Serves) -> NoReturn:
    """Replaces this process, which keeps its number: signals and exit codes are the service's."""
    # -P: what lies in the folder where it is started must not shadow a module.
    os.execv(sys.executable, [sys.executable, "-P", "-m", MODULES[what]])
