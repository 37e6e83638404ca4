"""Failpoints that are armed: what was asked for, and the wrappers that do it.

Imported only where MUSTER_FAILPOINTS is set.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import random
import re
import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from muster.failpoints import EXIT_CRASHED, FailpointsInvalid
from muster.failpoints.points import POINTS

F = TypeVar("F", bound=Callable[..., object])
Raises = Callable[[str], Exception]


class Action(Enum):
    """What a failpoint does."""

    CRASH = "crash"
    HANG = "hang"
    ERROR = "error"
    APPLY_THEN_ERROR = "apply_then_error"


class Order(NamedTuple):
    """What is to be done at one failpoint, and when: both None is every time."""

    name: str
    action: Action
    percent: float | None = None
    hit: int | None = None  # only at this one, counted from 1

    def __str__(self) -> str:
        when = "" if self.percent is None else f"@{self.percent:g}%"
        return f"{self.name}={self.action.value}{when or (f'@{self.hit}' if self.hit else '')}"


_ORDER = re.compile(
    r"(?P<name>\w+)=(?P<action>\w+)(?:@(?P<number>\d+(?:\.\d+)?)(?P<percent>%)?)?", re.ASCII
)


def parse(text: str) -> list[Order]:
    """The orders in a text like `name=action@n%,…`. Raises `FailpointsInvalid`."""
    orders = [_order(each.strip()) for each in re.split("[,;]", text) if each.strip()]
    names = [order.name for order in orders]
    for name in names:
        if names.count(name) > 1:
            raise _refused(f"{name} is named twice")
    return orders


def _order(text: str) -> Order:
    found = _ORDER.fullmatch(text)
    if found is None:
        raise _refused(f"{text!r} is not name=action, name=action@n or name=action@n%")
    name, action = found["name"], found["action"]
    if name not in POINTS:
        raise _refused(f"there is no failpoint {name!r}; there are {', '.join(POINTS)}")
    actions = {each.value: each for each in Action}
    if action not in actions:
        raise _refused(f"there is no action {action!r}; there are {', '.join(actions)}")
    return Order(name, actions[action], *_when(text, found["number"], found["percent"]))


def _when(text: str, number: str | None, percent: str | None) -> tuple[float | None, int | None]:
    if number is None:
        return None, None
    if percent and 0 < float(number) <= 100:
        return float(number), None
    if not percent and number.isdecimal() and int(number):
        return None, int(number)
    raise _refused(f"{text!r} ends in neither a count from 1 nor a percentage from 0 to 100")


def _refused(why: str) -> FailpointsInvalid:
    return FailpointsInvalid(f"MUSTER_FAILPOINTS: {why}")


class Armed:
    """The failpoints of a process that are to act."""

    def __init__(self, orders: list[Order], seed: str = "", reached: Path | None = None) -> None:
        """An empty `seed` draws one; `reached` is a folder for those that have acted."""
        self.seed = seed or secrets.token_hex(4)
        self._orders = {order.name: order for order in orders}
        self._reached = reached

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Armed:
        """What MUSTER_FAILPOINTS and its two companions ask for. Raises `FailpointsInvalid`."""
        folder = environment.get("MUSTER_FAILPOINTS_REACHED")
        orders = parse(environment.get("MUSTER_FAILPOINTS", ""))
        seed = environment.get("MUSTER_FAILPOINTS_SEED", "")
        return cls(orders, seed, Path(folder) if folder else None)

    def __str__(self) -> str:
        return ",".join(str(order) for order in self._orders.values()) + f" seed {self.seed}"

    def at(self, name: str, raises: Raises) -> Callable[[F], F]:
        """See `failpoint`."""
        order = self._orders.get(name)
        if order is None:
            return lambda function: function
        return _Point(order, self.seed, self._reached, raises).wrap


class _Point:
    """One armed failpoint, wherever in its process it is reached."""

    def __init__(self, order: Order, seed: str, reached: Path | None, raises: Raises) -> None:
        self._order = order
        # Each draws on its own, so that the order in which different ones are reached is all one.
        self._draws = random.Random(f"{seed} {order.name}")
        self._hits = count(1)
        self._reached = reached
        self._raises = raises

    def wrap(self, function: F) -> F:
        """The function, failing."""
        if inspect.iscoroutinefunction(function):
            return cast(F, self._wrap_coroutine(function))
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"a generator cannot be a failpoint: {function.__qualname__}")
        return cast(F, self._wrap_function(function))

    def _wrap_function(self, function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def failing(*args: Any, **kwargs: Any) -> object:
            action = self._next()
            if action is None:
                return function(*args, **kwargs)
            if action is Action.HANG:
                threading.Event().wait()
            if action is Action.APPLY_THEN_ERROR:
                function(*args, **kwargs)
            raise self._error()

        return failing

    def _wrap_coroutine(
        self, function: Callable[..., Awaitable[object]]
    ) -> Callable[..., Awaitable[object]]:
        @functools.wraps(function)
        async def failing(*args: Any, **kwargs: Any) -> object:
            action = self._next()
            if action is None:
                return await function(*args, **kwargs)
            if action is Action.HANG:
                await asyncio.Event().wait()
            if action is Action.APPLY_THEN_ERROR:
                await function(*args, **kwargs)
            raise self._error()

        return failing

    def _next(self) -> Action | None:
        """What to do at this hit. Does not return where that is to crash."""
        order, hit = self._order, next(self._hits)
        if order.hit is not None and order.hit != hit:
            return None
        if order.percent is not None and self._draws.random() * 100 >= order.percent:
            return None
        self._note()
        if order.action is Action.CRASH:
            os._exit(EXIT_CRASHED)
        return order.action

    def _note(self) -> None:
        if self._reached is not None:
            self._reached.mkdir(parents=True, exist_ok=True)
            with (self._reached / self._order.name).open("a") as file:
                file.write(f"{os.getpid()} {self._order.action.value}\n")

    def _error(self) -> Exception:
        return self._raises(f"failpoint {self._order.name}")
