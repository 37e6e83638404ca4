"""Which scheduler may place on which slots, while several share the shards.

A slot is lent to one scheduler at a time. At first each agent's window is split evenly; then slots
that lie idle with one scheduler go to another that has contracts waiting for them. A loan is taken
back at once, so an assignment may be under way on it: what comes beyond the window is given back,
and whoever sent it hears what it has really been lent, so that it does not try again.

While one scheduler owns every shard it has all slots, and nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from zlib import crc32

from muster.executor.core_book import Book
from muster.executor.core_state import Agent, Item, LinkOutbox, Session, Want

Used = dict[tuple[Agent, str], int]  # slots taken of an agent by the contracts of a link


class Lending:
    """Splits windows, and moves idle slots to where work waits.

    `offers` names the capabilities in an agent's specification.
    """

    def __init__(self, book: Book, offers: Callable[[Item], Iterable[str]]) -> None:
        self._book = book
        self._offers = offers
        self.unbalanced = False  # somebody wants slots that it may not have

    def _lenders(self) -> list[LinkOutbox]:
        """The links that share the slots, in the order of their names; none while one has all."""
        if len(self._book.links) < 2:
            return []
        owners = {link.name for link in self._book.owners.values()}
        links = [each for each in self._book.links.values() if each.name in owners and each.up]
        return sorted(links, key=lambda link: link.name) if len(links) > 1 else []

    # --- splitting --------------------------------------------------------------------------------

    def split_all(self) -> None:
        """Other schedulers share the slots than before: begin again."""
        self.split(chain.from_iterable(x.agents.values() for x in self._book.sessions.values()))

    def split(self, agents: Iterable[Agent]) -> None:
        """The agents were attached, or have other windows."""
        links = self._lenders()
        for agent in agents:
            self._split(agent, links)

    def _split(self, agent: Agent, links: list[LinkOutbox]) -> None:
        before, agent.lent = agent.lent, None
        if links and agent.attached:
            share, rest = divmod(agent.window, len(links))
            # Who gets the rest differs from agent to agent, or one scheduler would get them all.
            first = crc32(agent.name.encode())
            lucky = {links[(first + n) % len(links)].name for n in range(rest)}
            agent.lent = {link.name: share + (link.name in lucky) for link in links}
            for link in links:
                self._tell(agent, link)
        elif before is not None and agent.attached:
            for link in self._book.links.values():
                if link.up:
                    link.loans[agent.session, agent.name] = agent.window
                    self._book.wake_link(link)

    def _tell(self, agent: Agent, link: LinkOutbox) -> None:
        assert agent.lent is not None
        link.loans[agent.session, agent.name] = agent.lent[link.name]
        self._book.wake_link(link)

    # --- moving -----------------------------------------------------------------------------------

    def wants(self, link: LinkOutbox, want: Want, queued: int) -> None:
        """So many contracts wait at the link's scheduler."""
        if queued:
            link.backlog[want] = queued
            self.unbalanced = True
        else:
            link.backlog.pop(want, None)

    def overrun(self, agent: Agent, link: LinkOutbox) -> None:
        """The link's scheduler placed on a slot that is taken: tell it what it really has."""
        if agent.lent is not None and link.name in agent.lent:
            used = _used(agent.session).get((agent, link.name), 0)
            if used < agent.lent[link.name]:
                agent.lent[link.name] = used
            self._tell(agent, link)

    def balance(self) -> bool:
        """Move idle slots to schedulers with work for them. True while some of it gets none."""
        self.unbalanced = False
        links = self._lenders()
        wants = {want for link in links for want in link.backlog}
        if not wants:
            return False
        used: Used = {}
        for session in self._book.sessions.values():
            used |= _used(session)
        for want in sorted(wants):
            self._balance(links, want, used)
        return any(link.backlog for link in links)

    def _balance(self, links: list[LinkOutbox], want: Want, used: Used) -> None:
        takers = [link for link in links if want in link.backlog]
        givers = [link for link in links if want not in link.backlog]
        agents = list(self._able(want))
        while takers and agents:
            # A slot of each agent in turn, and to each taker in turn.
            left: list[Agent] = []
            for agent in agents:
                if not takers:
                    return
                if self._take(agent, givers, used):
                    taker = takers.pop(0)
                    assert agent.lent is not None
                    agent.lent[taker.name] += 1
                    self._tell(agent, taker)
                    taker.backlog[want] -= 1
                    if taker.backlog[want]:
                        takers.append(taker)
                    else:
                        del taker.backlog[want]
                    left.append(agent)
            agents = left

    def _able(self, want: Want) -> Iterator[Agent]:
        """The agents that could do it and take something new."""
        tenant, capability = want
        sessions = (x for x in self._book.sessions.values() if x.tenant == tenant)
        for agent in chain.from_iterable(session.agents.values() for session in sessions):
            if agent.lent is not None and agent.limit and capability in self._offers(agent.spec):
                yield agent

    def _take(self, agent: Agent, givers: list[LinkOutbox], used: Used) -> bool:
        """Free one slot of the agent for somebody else: one that nobody has, or an idle one."""
        lent = agent.lent
        assert lent is not None
        if sum(lent.values()) < agent.window:
            return True
        for link in givers:
            if lent[link.name] > used.get((agent, link.name), 0):
                lent[link.name] -= 1
                self._tell(agent, link)
                return True
        return False


def _used(session: Session) -> Used:
    used: Used = {}
    for lease in session.leases.values():
        if lease.slot and lease.link is not None:
            key = (lease.agent, lease.link.name)
            used[key] = used.get(key, 0) + 1
    return used
