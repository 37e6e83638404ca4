"""The rules of test_tidy.py refuse what they say they refuse."""

import ast

import pytest

from tests import test_tidy as tidy
from tests.sources import Module, imports_of

PYDANTIC_GUARDED = "try:\n    import pydantic\nexcept ImportError:\n    pydantic = None"


def refused(name: str, code: str) -> list[str]:
    imports = tuple(imports_of(ast.parse(code), name))
    return tidy.refused_imports([Module(name, "module.py", imports)])


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("muster.model.states", "import grpc"),
        ("muster.model.states", "import time"),
        ("muster.model.states", "from muster.wire import codec"),
        ("muster.scheduler.core", "import asyncio"),
        ("muster.scheduler.core", "from datetime import datetime\nimport logging"),
        ("muster.scheduler.core", "def late():\n    import random"),
        ("muster.scheduler.core", "from google.protobuf import any_pb2"),
        ("muster.scheduler.core_retry", "from muster.scheduler.servicer import Servicer"),
        ("muster.scheduler.placing.score", "from muster.v1 import contract_pb2"),
        ("muster.scheduler.core", "import muster.registry.core"),
        ("muster.scheduler.servicer", "from muster.registry.core import Presence"),
        ("muster.executor.session", "from muster.backends.ledger import sqlite"),
        ("muster.executor.session", "import muster.cli"),
        ("muster.wire.errors", "from grpc_status import rpc_status"),
        ("muster.wire.errors", "import muster.runtime.serve"),
        ("muster.agent.host", "import pydantic"),
        ("muster.agent.host", "import structlog"),
        ("muster.agent.host", "from muster.runtime import serve"),
        ("muster.backends.base", "import sqlalchemy"),
        ("muster.backends.sqlite", "from muster.backends import consul"),
        ("muster.backends.sqlite.ledger", "import muster.scheduler.core"),
        ("muster.runtime.serve", "from muster.backends.sqlite import ledger"),
        ("muster.audit.agents", "import muster.scheduler.core"),
        ("muster.workflows.content.reviewing", "from muster.agent import Agent"),
        ("muster.workflows.content.agents", "import muster.audit.page"),
    ],
)
def test_the_table_refuses(name: str, code: str) -> None:
    assert refused(name, code)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("muster.model.states", "import dataclasses\nfrom muster.model import limits"),
        ("muster.scheduler.core", "from muster.model import states\nimport heapq"),
        ("muster.scheduler.core", "import muster.scheduler.queue, muster.scheduler.placing"),
        (
            "muster.scheduler.servicer",
            "from muster.scheduler.core import Core\nimport muster.wire.errors",
        ),
        ("muster.scheduler.servicer_watch", "from muster.v1 import contract_pb2"),
        ("muster.scheduler.__main__", "from muster.backends.sqlite import ledger"),
        ("muster.allinone", "import muster.registry.servicer, muster.executor.servicer"),
        ("muster.wire.errors", "import grpc\nfrom google.rpc import status_pb2"),
        ("muster.agent.host", "import grpc, asyncio\nfrom muster.v1 import session_pb2"),
        ("muster.agent.host", PYDANTIC_GUARDED),
        ("muster.backends.base", "from muster.model import states"),
        (
            "muster.backends.sqlite.ledger",
            "import sqlalchemy\nfrom muster.backends.sqlite import x",
        ),
        ("muster.audit.agents", "import radon\nfrom muster.agent import host"),
    ],
)
def test_the_table_allows(name: str, code: str) -> None:
    assert not refused(name, code)


def test_relative_imports_are_resolved_before_they_are_judged() -> None:
    assert refused("muster.scheduler.core", "from ..registry import core")
    assert not refused("muster.scheduler.core", "from .queue import Queue")


def call(code: str) -> ast.Call:
    node = ast.parse(code, mode="eval").body
    assert isinstance(node, ast.Call)
    return node


@pytest.mark.parametrize(
    "code",
    ["asyncio.create_task(x)", "create_task(x)", "self._loop.create_task(x)", "ensure_future(x)"],
)
def test_a_bare_task_is_seen(code: str) -> None:
    assert tidy.starts_a_bare_task(call(code))


@pytest.mark.parametrize("code", ["group.create_task(x)", "self._tasks.create_task(x)"])
def test_a_task_of_a_group_is_fine(code: str) -> None:
    assert not tidy.starts_a_bare_task(call(code))


def test_giving_way_once_is_not_sleeping() -> None:
    assert tidy.sleeps(call("asyncio.sleep(0.01)"))
    assert tidy.sleeps(call("time.sleep(0)"))
    assert not tidy.sleeps(call("asyncio.sleep(0)"))


# Put together here, because the rule reads this file too.
@pytest.mark.parametrize("line", ["/".join(("", "home", "me", "x")), "https://" + "pypi" + ".org/"])
def test_machine_paths_and_registry_hosts_are_seen(line: str) -> None:
    assert tidy.MACHINE_PATH.search(line) or tidy.REGISTRY_HOST.search(line)


def test_paths_inside_the_repository_or_a_container_are_fine() -> None:
    assert not tidy.MACHINE_PATH.search("COPY services/ /srv/muster/ # see docs/home/page")
