"""Rules of leases, attempts and reports: S4, S5, S8, S12, S13, S14, S17."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.support.history.evidence import Breach, Evidence


def epochs_grow(evidence: Evidence) -> Iterator[Breach]:
    """S5: committed epochs strictly increase, and none is executed twice."""
    for contract_id, case in evidence.cases.items():
        epochs = case.epochs
        if epochs != sorted(set(epochs)):
            yield Breach(f"the epochs of {contract_id} do not grow: {epochs}", (contract_id,))
        executed = Counter(each.epoch for each in case.executions)
        for epoch, count in executed.items():
            if count > 1:
                sentence = f"epoch {epoch} of {contract_id} was executed {count} times"
                yield Breach(sentence, (contract_id,))
