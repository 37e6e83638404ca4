"""Puts what agents offer into the catalogue."""

from __future__ import annotations

from muster.model.errors import InvalidArgument
from muster.model.versions import VERSION_DEFAULT
from muster.scheduler.catalogue import Entry
from muster.scheduler.entries import make_entry
from muster.scheduler.service import Scheduler
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability

RESERVED_PREFIX = "muster."


def register_offers(scheduler: Scheduler, tenant: str, spec: AgentSpec) -> None:
    """Check every capability of an agent against the catalogue, then add those that are new.

    Raises a `MusterError`, and adds nothing, when one of them contradicts what is there.
    """
    new: list[Entry] = []
    for offered in spec.capabilities:
        if offered.name.startswith(RESERVED_PREFIX):
            raise InvalidArgument(
                f"capability {offered.name!r}: names that begin with {RESERVED_PREFIX!r} belong "
                "to the mesh; choose another"
            )
        entry = scheduler.known_offer(tenant, offered)
        if entry is None:
            capability = Capability()
            capability.CopyFrom(offered)
            capability.version = offered.version or VERSION_DEFAULT
            revision = scheduler.catalogue.next_revision(tenant) + len(new)
            entry = make_entry(tenant, capability, revision, scheduler.clock().wall_ms)
            if scheduler.catalogue.check(entry):
                new.append(entry)
    for entry in new:
        scheduler.add_to_catalogue(entry)
