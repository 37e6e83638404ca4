"""An agent: a name, and the capabilities that it offers."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from muster.agent.capability import NAME_CHARS_MAX, Capability
from muster.model import limits
from muster.model.versions import VERSION_DEFAULT

if TYPE_CHECKING:
    from muster.agent.host import Host
    from muster.agent.modes.scheduled import Scheduled
    from muster.agent.topics.handler import Handler
    from muster.v1.agent_pb2 import AgentSpec

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")

F = TypeVar("F", bound=Callable[..., Any])


class Agent:
    """Something that offers capabilities.

    `name` is unique within the tenant; `kind` is the group it belongs to; `max_in_flight` is how
    many attempts it may have active at once.
    """

    def __init__(
        self,
        name: str,
        *,
        kind: str = "",
        version: str = "",
        labels: Mapping[str, str] | None = None,
        max_in_flight: int = 1,
    ) -> None:
        if not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
            message = f"{name!r} is no agent's name: letters, digits and _ . - within"
            raise ValueError(message)
        self.name = name
        self.kind = kind
        self.version = version
        self.labels = dict(labels or {})
        self.max_in_flight = max_in_flight
        self.capabilities: dict[tuple[str, str], Capability] = {}
        self.handlers: dict[str, Handler] = {}  # by the pattern of what they are called for
        self.schedules: dict[str, Scheduled] = {}  # that a host makes for it, by name
        self.host: Host | None = None  # that runs it

    def capability(
        self,
        name: str,
        *,
        version: str = VERSION_DEFAULT,
        description: str | None = None,
        idempotent: bool = False,
        threads: bool = False,
    ) -> Callable[[F], F]:
        """Offers the decorated function, which stays what it was.

        Its annotations give the schemas, its docstring's first paragraph the description. A sync
        function runs in a worker process, or, with `threads=True`, in a thread: for code that only
        waits. Raises `TypeError` for a signature that cannot be offered.
        """
        names = sys._getframe(1).f_locals

        def decorate(function: F) -> F:
            self.add(
                Capability(
                    function,
                    name,
                    version=version,
                    description=description,
                    idempotent=idempotent,
                    threads=threads,
                    names=names,
                )
            )
            return function

        return decorate

    def add(self, capability: Capability) -> None:
        """Offers a capability. Raises `ValueError` when there is one of that name and version."""
        key = (capability.name, capability.version)
        if key in self.capabilities:
            message = f"{self.name} offers {capability.name} {capability.version} already"
            raise ValueError(message)
        self.capabilities[key] = capability

    def on(
        self,
        topic: str = "",
        *,
        subject: str = "",
        group: str | None = None,
        competing: bool = False,
        own: bool = False,
        since: float | None = None,
        concurrency: int = 1,
        threads: bool = False,
    ) -> Callable[[F], F]:
        """Calls the decorated function with each event of a topic, like "orders.created" or, for
        all beneath, "orders.>"; or of any `subject` in the tenant, like "contract.ended.>".

        Every agent gets every event; with `competing` one of the agents of its kind does, or of the
        `group` that is named. It begins with what is published once the agent is attached, or
        `since` an instant (Unix seconds). Events come at least once, one at a time and in order,
        unless `concurrency` allows more. A function that raises is called again twice; then the
        event goes to another agent that competes for it, or is passed over. So it does when an
        agent that competes has had it for a minute. An agent that is much too slow for what every
        agent gets misses some; the next event says how many (`Event.missed`).

        What comes while no host runs the agent is missed, unless it competes, or has with `own` a
        place on the bus for itself: there events wait for this very agent, wherever it runs next,
        as long as the bus keeps them (a week at most), and in no promised order once one was
        delivered before.

        Sync functions run as sync capabilities do.
        """
        from muster.agent.topics.handler import Handler, pattern_of

        names = sys._getframe(1).f_locals
        shared = group if group is not None else ("" if competing else None)

        def decorate(function: F) -> F:
            handler = Handler(
                function,
                pattern_of(topic, subject),
                group=shared,
                since=since,
                concurrency=concurrency,
                threads=threads,
                names=names,
                own=own,
            )
            if handler.pattern in self.handlers:
                message = f"{self.name} handles {handler.pattern} already"
                raise ValueError(message)
            self.handlers[handler.pattern] = handler
            return function

        return decorate

    async def publish(
        self,
        topic: str,
        data: Any = None,
        *,
        id: str = "",
        type: str = "",
        about: str = "",
        timeout: float = limits.PUBLISH_SECONDS_DEFAULT,
    ) -> None:
        """Publishes an event to a topic, outside of an attempt (within one, `ctx.publish` does).

        See `Context.publish`. Raises `RuntimeError` while no host runs the agent.
        """
        from muster.agent.topics.event import publication

        if self.host is None:
            message = f"no host runs {self.name}, so there is nobody to publish for it"
            raise RuntimeError(message)
        await self.host.publish(self.name, publication(topic, data, id, type, about, timeout))

    def take_over(self, other: Agent) -> None:
        """Offers what another agent offers, hears what it hears, and is called when it is. Raises
        `ValueError` for what it does already."""
        for capability in other.capabilities.values():
            self.add(capability)
        for pattern, handler in other.handlers.items():
            if pattern in self.handlers:
                message = f"{self.name} handles {pattern} already"
                raise ValueError(message)
            self.handlers[pattern] = handler
        self.schedules |= other.schedules

    def renamed(self, name: str, **labels: str) -> Agent:
        """Another agent with the same capabilities, for a host that runs many of a kind."""
        copy = Agent(
            name,
            kind=self.kind,
            version=self.version,
            labels={**self.labels, **labels},
            max_in_flight=self.max_in_flight,
        )
        copy.capabilities = self.capabilities
        copy.handlers = self.handlers
        copy.schedules = self.schedules
        return copy

    def spec(self) -> AgentSpec:
        """What the agent says about itself on the wire."""
        from muster.agent.spec import agent_spec

        return agent_spec(self)

    def run(self, target: str | None = None, **options: Any) -> None:
        """Runs a host with this agent until it is told to stop; see `Host` for the options."""
        # gRPC reads it when it is loaded; its reports of lost connections are no news to a host.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        from muster.agent.host import Host

        Host([self], target=target, **options).run_forever()
