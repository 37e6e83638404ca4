"""Why a contract is where it is: the only place that looks at every agent."""

from __future__ import annotations

from typing import NamedTuple

from muster.model.states import ContractState
from muster.model.versions import parse_selector
from muster.scheduler.core import Core
from muster.scheduler.fleet import AgentSlots
from muster.scheduler.records import Contract, Now

AGENTS_MAX = 1_000


class Reason(NamedTuple):
    """Why an agent would, or would not, get the contract now. Empty text: it would."""

    agent: str
    host: str
    text: str


def explain(core: Core, now: Now, contract: Contract) -> tuple[str, int, list[Reason]]:
    """A sentence for people, how many contracts of its lane are ahead, every agent's reason."""
    reasons = [
        Reason(agent.name, agent.host.name, _why_not(agent, contract))
        for (tenant, _), agent in core.fleet.by_name.items()
        if tenant == contract.tenant
    ]
    reasons.sort(key=lambda reason: (bool(reason.text), reason.agent))
    ahead = core.queue.ahead_of(contract) if contract.queue_token else 0
    return _summary(now, contract, reasons, ahead), ahead, reasons[:AGENTS_MAX]


def _summary(now: Now, contract: Contract, reasons: list[Reason], ahead: int) -> str:
    lease = contract.lease
    if lease is not None:
        doing = "runs on" if contract.state is ContractState.RUNNING else "was handed to"
        return f"it {doing} agent {lease.agent} of host {lease.host}"
    if contract.asked is not None:
        return f"it is parked until somebody answers question {contract.asked.question_id}"
    if contract.ready_at > now.mono:
        pause = contract.ready_at - now.mono
        return f"it is tried again in {pause:.1f} s, after {contract.failures} failed attempts"
    offering = [reason for reason in reasons if reason.text != _no_offer(contract)]
    if not offering:
        return f"no agent that is here now offers {contract.capability} {contract.selector}"
    if any(not reason.text for reason in reasons):
        return "it is about to be placed"
    return f"all {len(offering)} agents that offer it are busy or draining; {ahead} are ahead of it"


def _no_offer(contract: Contract) -> str:
    return f"does not offer {contract.capability} {contract.selector}"


def _why_not(agent: AgentSlots, contract: Contract) -> str:
    if agent.version_for(contract.capability, parse_selector(contract.selector)) is None:
        return _no_offer(contract)
    if agent.draining or agent.host.draining:
        return "is draining"
    if agent.host.exclusive_id not in (0, contract.id):
        return "its host is reserved for a contract that runs alone"
    if agent.host.link is None:
        return "the link to its executor is gone"
    if agent.host.is_full:
        return "its host has not read what it was offered before"
    if not agent.window:
        return "its slots are lent to other schedulers just now"
    if agent.free <= 0:
        return f"has no free slot: {agent.active} of {agent.window} are taken"
    if contract.excluded and agent.name in contract.excluded:
        return "failed this contract before"
    return ""
