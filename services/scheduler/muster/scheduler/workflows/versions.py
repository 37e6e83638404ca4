"""Versions of workflows, compiled and kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from muster.backends.ledger_base import Ledger
from muster.model import limits
from muster.model.errors import NotFound
from muster.model.records import RowQuery
from muster.scheduler.workflows.inputs import InputCheck, check_of_input
from muster.v1.workflow_pb2 import Step, Workflow, WorkflowVersion
from muster.wire.times import timestamp_of_ms
from muster.workflow.definition import Definition, compile_workflow

Key = tuple[str, str, int]  # tenant, name, version


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a workflow."""

    tenant: str
    number: int
    workflow: Workflow
    principal: str
    created_ms: int
    sha256: bytes
    definition: Definition
    check_input: InputCheck
    steps: dict[str, Step] = field(default_factory=dict)
    # By step: workflows that were read for steps which are about to begin.
    children: dict[str, Version] = field(default_factory=dict)

    @property
    def message(self) -> WorkflowVersion:
        """For the wire."""
        return WorkflowVersion(
            workflow=self.workflow,
            version=self.number,
            create_time=timestamp_of_ms(self.created_ms),
            principal=self.principal,
        )

    def is_fanned(self, step: str) -> bool:
        """Whether a step is done for each item of a list."""
        return bool(self.steps[step].for_each)


def version_of(row: tuple[str, str, int, str, int, bytes, bytes]) -> Version:
    """A row of the table workflows, compiled."""
    tenant, _, number, principal, created_ms, sha256, raw = row
    workflow = Workflow.FromString(raw)
    return Version(
        tenant,
        number,
        workflow,
        principal,
        created_ms,
        sha256,
        compile_workflow(workflow),
        check_of_input(workflow),
        {step.name: step for step in workflow.steps},
    )


class Versions:
    """All that have been used of late. What is here never changes; which is the newest, another
    scheduler may have changed, so that is asked anew where there are several."""

    def __init__(self, ledger: Ledger, *, shared: bool) -> None:
        self._ledger = ledger
        self._shared = shared
        self._kept: OrderedDict[Key, Version] = OrderedDict()
        self._newest: dict[tuple[str, str], int] = {}

    def add(self, version: Version) -> None:
        """A version that was read or made."""
        name = (version.tenant, version.workflow.name)
        self._kept[*name, version.number] = version
        self._newest[name] = max(self._newest.get(name, 0), version.number)
        if len(self._kept) > limits.WORKFLOW_VERSIONS_KEPT_MAX:
            (tenant, gone, _), _ = self._kept.popitem(last=False)
            self._newest.pop((tenant, gone), None)

    def known(self, tenant: str, name: str, number: int) -> Version | None:
        """A version that can be had without asking the ledger; 0 is the newest."""
        if not number:
            if self._shared:
                return None
            number = self._newest.get((tenant, name), 0)
        found = self._kept.get((tenant, name, number))
        if found is not None:
            self._kept.move_to_end((tenant, name, number))
        return found

    async def find(self, tenant: str, name: str, number: int) -> Version | None:
        """A version; 0 is the newest. None: there is no such."""
        found = self.known(tenant, name, number)
        if found is not None:
            return found
        equal = {"tenant": tenant, "name": name} | ({"version": number} if number else {})
        query = RowQuery("workflows", equal, order=("version",), descending=True, limit=1)
        rows = await self._ledger.rows(query)
        if not rows:
            return None
        newest = rows[0][2]
        found = self._kept.get((tenant, name, newest)) or version_of(rows[0])
        if number:
            # Of an old version nothing is said about which one is the newest.
            self._kept[tenant, name, number] = found
        else:
            self.add(found)
        return found

    async def get(self, tenant: str, name: str, number: int) -> Version:
        """The same; raises `NotFound`."""
        found = await self.find(tenant, name, number)
        if found is None:
            which = f"version {number} of workflow {name}" if number else f"workflow {name}"
            raise NotFound(
                f"there is no {which}; register it with: muster workflow register FILE",
                reason="WORKFLOW_UNKNOWN",
            )
        return found
