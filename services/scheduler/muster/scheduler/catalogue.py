"""Every capability version that was ever registered, per tenant. Pure: the ledger keeps it.

Append-only: a version, once there, never changes. Within one major version, inputs that were valid
must stay valid, so that a client that pins a major version keeps working.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from muster.model import limits
from muster.model.errors import AlreadyExists, FailedPrecondition, NotFound, ResourceExhausted
from muster.model.versions import Version, parse_selector, parse_version
from muster.scheduler.compatibility import first_break


@dataclass(frozen=True, slots=True)
class Entry:
    """A capability version. `identity` is what must be equal for it to be the same version."""

    tenant: str
    name: str
    version: Version
    revision: int
    created_ms: int
    identity: bytes
    input_schema: Any  # parsed JSON Schema; None where input is free or a protobuf message
    capability: Any  # opaque muster.v1.Capability


class Catalogue:
    """All entries."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], dict[Version, Entry]] = {}
        self._log: dict[str, list[Entry]] = {}  # by tenant, in order of revision

    def find(self, tenant: str, name: str, version: str) -> Entry | None:
        """One version."""
        return self._versions.get((tenant, name), {}).get(parse_version(version))

    def tenants(self) -> list[str]:
        """Every tenant that has an entry."""
        return list(self._log)

    def next_revision(self, tenant: str) -> int:
        """The revision that the tenant's next entry gets."""
        return len(self._log.get(tenant, ())) + 1

    def check(self, new: Entry) -> bool:
        """Whether the entry is new. Raises where it contradicts what is there."""
        versions = self._versions.get((new.tenant, new.name), {})
        known = versions.get(new.version)
        if known is not None:
            if known.identity != new.identity:
                raise AlreadyExists(
                    f"capability {new.name} {new.version} was registered before with other "
                    "schemas; register a new version",
                    reason="CAPABILITY_CONFLICT",
                )
            return False
        if self.next_revision(new.tenant) > limits.CATALOGUE_ENTRIES_MAX:
            raise ResourceExhausted(
                f"the catalogue holds {limits.CATALOGUE_ENTRIES_MAX} capability versions, and "
                "takes no more; offer versions that are there",
                retry_after_seconds=0,
            )
        older = [v for v in versions if v.major == new.version.major and v < new.version]
        if older:
            broken = first_break(versions[max(older)].input_schema, new.input_schema)
            if broken:
                raise FailedPrecondition(
                    f"capability {new.name} {new.version} refuses inputs that {max(older)} took "
                    f"({broken}); register it as {new.version.major + 1}.0.0",
                    reason="CAPABILITY_INCOMPATIBLE",
                )
        return True

    def add(self, entry: Entry) -> None:
        """Append an entry that `check` let through, or that the ledger had."""
        self._versions.setdefault((entry.tenant, entry.name), {})[entry.version] = entry
        self._log.setdefault(entry.tenant, []).append(entry)

    def resolve(self, tenant: str, name: str, selector: str) -> tuple[str, Entry]:
        """The selector that a request is queued under, and the newest entry that fits it.

        An empty selector becomes the newest major version. Raises `NotFound` where nothing that was
        ever registered fits.
        """
        versions = self._versions.get((tenant, name))
        if not versions:
            raise NotFound(
                f"no agent has ever offered capability {name!r}; "
                "see what there is with: muster capabilities",
                reason="CAPABILITY_UNKNOWN",
            )
        if not selector:
            newest = max(versions)
            return str(newest.major), versions[newest]
        wanted = parse_selector(selector)
        fitting = [version for version in versions if wanted.accepts(version)]
        if not fitting:
            there = ", ".join(str(version) for version in sorted(versions))
            raise NotFound(
                f"no version of {name!r} fits {selector!r}; there is {there}",
                reason="CAPABILITY_UNKNOWN",
            )
        return selector, versions[max(fitting)]

    def after(self, revisions: dict[str, int]) -> list[Entry]:
        """Entries after each tenant's revision, all tenants."""
        return [
            entry for tenant, log in self._log.items() for entry in log[revisions.get(tenant, 0) :]
        ]
