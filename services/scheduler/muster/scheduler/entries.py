"""Makes catalogue entries: out of what an agent offers, or of what the ledger has."""

from __future__ import annotations

from muster.model.ledger import CatalogueRow
from muster.model.versions import parse_version
from muster.scheduler.catalogue import Entry
from muster.scheduler.schemas import check_schema, identity_of
from muster.v1.capability_pb2 import Capability


def make_entry(tenant: str, capability: Capability, revision: int, created_ms: int) -> Entry:
    """A catalogue entry; raises `InvalidArgument` (SCHEMA) where a schema cannot be used."""
    parsed = check_schema(capability.input, f"the input schema of {capability.name}")
    check_schema(capability.output, f"the output schema of {capability.name}")
    version = parse_version(capability.version)
    identity = identity_of(capability)
    return Entry(
        tenant, capability.name, version, revision, created_ms, identity, parsed, capability
    )


def entry_of(row: CatalogueRow, revision: int) -> Entry:
    """An entry that the ledger has, under a number of our own."""
    capability = Capability.FromString(row.capability)
    return make_entry(row.tenant, capability, revision, row.created_ms)
