"""Opens a session from a host's first frame."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from itertools import chain
from typing import Final

from muster.executor.core import Core
from muster.executor.core_sessions import Opening
from muster.executor.core_state import Session
from muster.executor.pump_items import FrameReader, check_size
from muster.model import limits
from muster.model.errors import (
    FailedPrecondition,
    InvalidArgument,
    MusterError,
    Unimplemented,
    Violation,
)
from muster.runtime.principal import Principal
from muster.runtime.validation import check
from muster.v1.executor_service_pb2 import ConnectRequest
from muster.v1.session_pb2 import AttachAgent, AttemptKey, HeldLease, Hello, ItemRefusal
from muster.wire.errors import status_of

PROTOCOL_VERSION: Final = 1
_HELD_PER_SLICE: Final = 1024  # then others get their turn; about 3 ms
_AGENTS_PER_SLICE: Final = 64
_is_contract_id = re.compile(r"[0-9a-f]{16}").fullmatch


class Greeter:
    """Turns hellos into sessions."""

    def __init__(
        self,
        core: Core,
        reader: FrameReader,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self._core = core
        self._reader = reader
        self._clock = clock
        self._wall_ms = wall_ms

    async def greet(self, principal: Principal, frame: ConnectRequest) -> Session:
        """The new session, with the whole first frame processed. Gives way now and then, because a
        hello may name thousands of agents. Raises `MusterError` when there can be no session."""
        if not frame.HasField("hello"):
            raise FailedPrecondition("the first frame must hold a hello", reason="SESSION_PROTOCOL")
        hello = frame.hello
        size = frame.ByteSize()
        check_size(frame, size)
        _check_hello(hello)
        principal.require_host(hello.host)
        opening = Opening(
            secrets.token_hex(8),
            principal.tenant,
            principal.name,
            hello.host,
            hello.last_session_epoch,
            hello.reports_start,
            hello.frame_bytes_max or limits.MESSAGE_BYTES_MAX,
        )
        session = self._core.sessions.open(opening, self._clock(), self._wall_ms())
        session.caller = principal
        try:
            await self._fill(session, frame)
            now = self._clock()
            self._core.sessions.opened(session, now)
        except BaseException:
            self._core.topics.end(session)
            raise
        self._core.host.frame(session, now, frame.frame_seq, frame.seen_seq, size)
        for detach in frame.detaches:
            self._core.sessions.detach(session, detach.name)
        self._reader.items(session, frame, size, now)
        return session

    async def _fill(self, session: Session, frame: ConnectRequest) -> None:
        first = (AttachAgent(spec=spec) for spec in frame.hello.agents)
        for number, attach in enumerate(chain(first, frame.attaches), 1):
            self._reader.attach(session, attach)
            if number % _AGENTS_PER_SLICE == 0:
                await asyncio.sleep(0)
        for number, held in enumerate(frame.hello.held, 1):
            self._claim(session, held)
            if number % _HELD_PER_SLICE == 0:
                await asyncio.sleep(0)

    def _claim(self, session: Session, held: HeldLease) -> None:
        key = held.key
        if _is_contract_id(key.contract_id) and key.epoch and len(held.agent) <= 128:
            self._core.sessions.claim(
                session,
                (key.contract_id, key.epoch),
                held.agent,
                held.state,
                held.items_acked,
                self._clock(),
            )
            return
        try:
            check(held)
        except MusterError as error:
            cut = AttemptKey(contract_id=key.contract_id[:64], epoch=key.epoch)
            refusal = ItemRefusal(key=cut, field="hello.held", error=status_of(error))
            session.outbox.refusals.append(refusal)
            self._core.book.wake(session)


def _check_hello(hello: Hello) -> None:
    """Everything but its agents and leases, which are refused one by one."""
    if hello.protocol_version > PROTOCOL_VERSION:
        raise Unimplemented(f"protocol version {PROTOCOL_VERSION} is the only one served here")
    check(
        Hello(
            protocol_version=hello.protocol_version,
            host=hello.host,
            user_agent=hello.user_agent,
        )
    )
    found = [
        Violation(field, f"must have at most {most} items")
        for field, items, most in (
            ("agents", hello.agents, limits.AGENTS_PER_SESSION_MAX),
            ("held", hello.held, limits.HELD_PER_SESSION_MAX),
        )
        if len(items) > most
    ]
    if 0 < hello.frame_bytes_max < limits.FRAME_BYTES_MAX:
        text = f"must be 0 or at least {limits.FRAME_BYTES_MAX}"
        found.append(Violation("frame_bytes_max", text))
    if found:
        raise InvalidArgument(f"{found[0].field} {found[0].description}", violations=found)
