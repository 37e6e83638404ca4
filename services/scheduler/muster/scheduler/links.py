"""The scheduler's end of the links: frames from executors in, frames for executors out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from muster.failpoints import failpoint
from muster.model.errors import FailedPrecondition, Fenced, MusterError
from muster.model.ledger import ITEM_LOG, ITEM_OUTPUT, ITEM_PROGRESS
from muster.runtime.lifetime import background
from muster.runtime.logs import get_logger
from muster.runtime.validation import check
from muster.scheduler.answers import check_question
from muster.scheduler.link_peer import LinkPeer
from muster.scheduler.messages_in import agent_info, asked_of, held_leases, id_of
from muster.scheduler.offers import register_offers
from muster.scheduler.records import Now
from muster.scheduler.service import Scheduler
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.event_pb2 import StreamItem
from muster.v1.link_pb2 import LinkSession, LinkWelcome, SessionItems
from muster.v1.link_service_pb2 import LinkRequest, LinkResponse
from muster.v1.session_pb2 import AttemptKey, Report
from muster.wire.times import seconds_of_duration

PROTOCOL_VERSION = 1

_log = get_logger("muster.scheduler")
_KINDS = {"progress": ITEM_PROGRESS, "log": ITEM_LOG, "output": ITEM_OUTPUT}


class Links:
    """All links of a scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.schedulers: Mapping[str, str] = {}  # that share the ledger: name -> gRPC target
        self._scheduler = scheduler
        self._peers: dict[str, LinkPeer] = {}  # by executor

    @property
    def count(self) -> int:
        """How many executors are linked."""
        return len(self._peers)

    async def link(self, frames: AsyncIterator[LinkRequest]) -> AsyncIterator[LinkResponse]:
        """One link, from hello to its end. Has the shape of the gRPC method and needs no gRPC."""
        first = await anext(aiter(frames), None)
        if first is None:
            return
        peer = self._open(first)
        try:
            async with background(lambda: self._read(peer, frames)):
                yield LinkResponse(welcome=self._welcome())
                while (frame := await peer.next_frame()) is not None:
                    yield frame
        finally:
            self._gone(peer)
        if peer.superseded:
            raise Fenced("a newer executor of this name has linked", reason="SUPERSEDED")

    def _open(self, first: LinkRequest) -> LinkPeer:
        hello = first.hello
        if hello.protocol_version != PROTOCOL_VERSION or not hello.executor:
            raise FailedPrecondition(
                f"a link begins with a hello of protocol version {PROTOCOL_VERSION}",
                reason="SESSION_PROTOCOL",
            )
        old = self._peers.get(hello.executor)
        if old is not None:
            if old.incarnation > hello.incarnation:
                raise Fenced("a newer executor of this name has linked", reason="SUPERSEDED")
            old.close()
        peer = LinkPeer(hello.executor, hello.incarnation)
        self._peers[hello.executor] = peer
        self._apply(peer, first)
        if old is not None:
            self._compare(old, peer)
        self._scheduler.settle()
        _log.info("link opened", executor=peer.executor, sessions=len(peer.sessions))
        return peer

    def _compare(self, old: LinkPeer, new: LinkPeer) -> None:
        """Deal with the sessions that an executor had on its last link, and does not tell again.

        The same process has ended them. One that was started anew knows of none: their hosts have
        a lease's time to come back, as if the link were gone still.
        """
        now, sessions = self._scheduler.clock(), self._scheduler.sessions
        if new.incarnation == old.incarnation:
            for session_id in old.sessions - new.sessions:
                sessions.end(now, session_id, "its executor no longer has it")
        else:
            sessions.link_gone(now, old)

    def _welcome(self) -> LinkWelcome:
        return LinkWelcome(
            scheduler=self._scheduler.name,
            shards=self._scheduler.generations,
            schedulers=self.schedulers,
        )

    def tell_backlog(self, waits: Mapping[tuple[str, str], int]) -> None:
        """Tell every executor how many contracts wait, by tenant and capability."""
        for peer in self._peers.values():
            peer.tell_backlog(waits)

    def tell_owners(self) -> None:
        """Tell every executor that other shards are owned than before, or by others."""
        for peer in self._peers.values():
            peer.welcome(self._welcome())

    def _gone(self, peer: LinkPeer) -> None:
        if self._peers.get(peer.executor) is peer:
            # Kept, so that a new link knows which sessions the executor had.
            self._scheduler.sessions.link_gone(self._scheduler.clock(), peer)
            _log.info("link lost", executor=peer.executor)

    async def _read(self, peer: LinkPeer, frames: AsyncIterator[LinkRequest]) -> None:
        async for frame in frames:
            if peer.superseded:
                return
            self._apply(peer, frame)
            self._scheduler.settle()
        peer.hang_up()

    def _apply(self, peer: LinkPeer, frame: LinkRequest) -> None:
        now = self._scheduler.clock()
        for session in frame.sessions:
            self._open_session(now, peer, session)
        for items in frame.items:
            if items.session_id in peer.sessions:
                SessionWords(self._scheduler, now, items.session_id).apply(items)
        for loan in frame.loans:
            self._scheduler.sessions.lend(loan.session_id, loan.agent, loan.slots)
        for end in frame.ends:
            peer.sessions.discard(end.session_id)
            self._scheduler.sessions.end(now, end.session_id, end.reason or "its session ended")
        peer.seen_seq = frame.frame_seq

    def _open_session(self, now: Now, peer: LinkPeer, session: LinkSession) -> None:
        scheduler = self._scheduler
        peer.sessions.add(session.session_id)
        scheduler.sessions.open(
            session.session_id,
            session.tenant,
            session.host,
            peer,
            session.session_epoch,
            draining=session.draining,
        )
        words = SessionWords(scheduler, now, session.session_id)
        for spec in session.agents:
            words.attach(spec)
        scheduler.sessions.claim(now, session.session_id, held_leases(session.held))


class SessionWords:
    """What one session says in one frame."""

    def __init__(self, scheduler: Scheduler, now: Now, session_id: str) -> None:
        self._scheduler = scheduler
        self._attempts = scheduler.attempts
        self._now = now
        self._session_id = session_id

    def apply(self, items: SessionItems) -> None:
        """Everything, in the order of the fields."""
        sessions, sid = self._scheduler.sessions, self._session_id
        for spec in items.attaches:
            self.attach(spec)
        for name in items.detaches:
            sessions.detach(sid, name)
        for name in items.drains:
            sessions.drain(sid, name)
        if items.claims:
            sessions.claim_more(self._now, sid, held_leases(items.claims))
        for key in items.accepts:
            self._attempts.accept(sid, id_of(key.contract_id), key.epoch)
        for key in items.starts:
            self._attempts.start(self._now, sid, id_of(key.contract_id), key.epoch)
        if items.items:
            self._stream_items(items)
        self._each(items.suspends, self._attempts.suspend)
        self._each(items.resumes, self._attempts.resume)
        for given in items.returns:
            number = id_of(given.key.contract_id)
            self._attempts.give_back(self._now, sid, number, given.key.epoch)
        for report in items.reports:
            self._report(report)
        for stop in items.stops:
            self._attempts.stopped(sid, id_of(stop.key.contract_id), stop.key.epoch)
        for key in items.losses:
            why = "its host no longer holds it"
            self._attempts.lose(self._now, sid, id_of(key.contract_id), key.epoch, why)

    def _each(
        self, keys: Iterable[AttemptKey], apply: Callable[[Now, str, int, int], bool]
    ) -> None:
        for key in keys:
            apply(self._now, self._session_id, id_of(key.contract_id), key.epoch)

    def attach(self, spec: AgentSpec) -> None:
        """Attach an agent, or refuse it because its capabilities contradict the catalogue."""
        host = self._scheduler.core.fleet.hosts[self._session_id]
        error: MusterError | None = None
        try:
            check(spec)  # what another executor lets through is not for this one to trust
            register_offers(self._scheduler, host.tenant, spec)
        except MusterError as refused:
            error = refused
        if error is None:
            self._scheduler.sessions.attach(self._session_id, agent_info(spec))
        self._scheduler.outbound.attached(self._session_id, spec.name, error)

    @failpoint("report_uncommitted")
    def _report(self, report: Report) -> None:
        number, epoch = id_of(report.key.contract_id), report.key.epoch
        outcome = report.WhichOneof("outcome")
        if outcome == "question":
            self._question(report, number, epoch)
            return
        if outcome == "failure":
            failure = report.failure
            self._attempts.report(
                self._now,
                self._session_id,
                number,
                epoch,
                report,
                failure=failure,
                code=failure.code or "AGENT_ERROR",
                permanent=failure.permanent,
                retry_after=seconds_of_duration(failure.retry_after),
                output_chunks=report.output_chunks,
            )
            return
        self._attempts.report(
            self._now, self._session_id, number, epoch, report, output_chunks=report.output_chunks
        )

    def _question(self, report: Report, number: int, epoch: int) -> None:
        """A report that asks a person."""
        sid, now, contract = self._session_id, self._now, self._scheduler.core.contracts.get(number)
        agent = contract.lease.agent if contract is not None and contract.lease is not None else ""
        try:
            check_question(report.question)
        except MusterError as error:
            self._scheduler.outbound.acknowledge(sid, number, epoch, "REFUSED", error)
            return
        asked = asked_of(report.question, epoch, agent, now.wall_ms, now)
        chunks = report.output_chunks
        self._attempts.report(now, sid, number, epoch, report, output_chunks=chunks, asked=asked)

    def _stream_items(self, items: SessionItems) -> None:
        """Relay each item at once, and keep it with the next commit; acknowledge after that."""
        acks: dict[tuple[int, int], int] = {}
        for item in items.items:
            key = (id_of(item.contract_id), item.epoch)
            taken = self._take_item(item)
            if taken:
                acks[key] = max(acks.get(key, 0), taken)
        if acks:
            self._scheduler.acknowledge_items(self._session_id, acks)

    def _take_item(self, item: StreamItem) -> int:
        """The index up to which the attempt's items are there; 0 when it is not the current one."""
        number = id_of(item.contract_id)
        contract = self._attempts.held(self._session_id, number, item.epoch)
        lease = contract.lease if contract is not None else None
        if contract is None or lease is None:
            return 0
        self._attempts.mark_started(self._now, contract)
        lease.last_item = self._now.mono
        if item.index <= lease.items:
            return lease.items  # a resend
        kind = item.WhichOneof("kind")
        if kind == "output":
            if item.output.chunk != lease.chunks:
                return lease.items  # a gap: the host resends from what is acknowledged
            lease.chunks += 1
        lease.items = item.index
        self._scheduler.keep_item(contract, lease, item, _KINDS[str(kind)])
        return lease.items
