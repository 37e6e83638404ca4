"""What a mesh leaves when its supervisor is killed: processes that are about to end by themselves.

Each notices within moments that its supervisor is gone, and drains. Whoever wants their ports waits
for that, and ends those that do not end.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from muster.model import limits
from muster.supervisor.identity import Identity
from muster.supervisor.state import BACKEND_ROLE, MeshState, read_state, remove_state


def end_processes(
    named: Sequence[tuple[str, Identity]],
    grace_seconds: float,
    tell: Callable[[str], None],
    number: signal.Signals = signal.SIGTERM,
) -> None:
    """Ends processes: a signal to all, and SIGKILL to those that are still there after the grace.

    Returns when they are gone. What they have started is killed with them.
    """
    for _, identity in named:
        identity.send(number)
    ends_at = time.monotonic() + grace_seconds
    for name, identity in named:
        if not identity.wait_gone(max(0.0, ends_at - time.monotonic())):
            tell(f"{name} (pid {identity.pid}) did not end in {grace_seconds:.0f} s: killing it")
            identity.send(signal.SIGKILL, group=True)
            identity.wait_gone(limits.KILL_SECONDS)


def running_of(state: MeshState) -> list[tuple[str, Identity]]:
    """The processes of a mesh that still run, but for its supervisor."""
    return [(each.name, each.identity) for each in state.processes if each.identity.is_running]


def end_remains(state: MeshState, tell: Callable[[str], None]) -> None:
    """Ends what still runs of a mesh: services and hosts, and then the servers they stand on."""
    served = [(each.name, each.identity) for each in state.processes if each.role != BACKEND_ROLE]
    end_processes(served, limits.SERVICE_STOP_SECONDS, tell)
    for each in state.processes:
        if each.role == BACKEND_ROLE:
            number = signal.Signals(each.stop_signal)
            named = [(each.name, each.identity)]
            end_processes(named, limits.SERVER_STOP_SECONDS, tell, number)


def sweep_remains(data_dir: Path, tell: Callable[[str], None]) -> None:
    """Ends what is left of an earlier mesh. The caller holds the lock, so no mesh runs."""
    state = read_state(data_dir)
    if state is None:
        return
    left = running_of(state)
    if left:
        names = ", ".join(name for name, _ in left)
        tell(f"an earlier mesh was killed; ending what is left of it: {names}")
        end_remains(state, tell)
    remove_state(data_dir)
