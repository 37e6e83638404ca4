"""`muster down`: ends the mesh of a data folder, and makes sure that nothing of it is left."""

from __future__ import annotations

import signal
from pathlib import Path

from muster.cli import exits
from muster.cli.exits import Trouble
from muster.cli.place import Place
from muster.cli.terminal import err, say
from muster.model import limits
from muster.supervisor.remains import end_remains, running_of
from muster.supervisor.state import Lock, MeshState, read_state, remove_state

# The hosts at once, then at most three kinds of service one after the other, then the servers at
# once, each killed when it is late.
_SUPERVISOR_SECONDS = (
    limits.HOST_STOP_SECONDS
    + 3 * limits.SERVICE_STOP_SECONDS
    + limits.SERVER_STOP_SECONDS
    + limits.KILL_SECONDS
)


def down(place: Place) -> int:
    """Stops the mesh; that there is none is fine too."""
    state = read_state(place.folder)
    if state is None or not (state.supervisor.is_running or running_of(state)):
        say(f"nothing is running on {place.folder}")
        return exits.OK
    with err().status("stopping the mesh", spinner="dots"):
        state = _stop(state, place.folder)
    left = running_of(state)
    if left or state.supervisor.is_running:
        pids = ", ".join(f"{name} (pid {identity.pid})" for name, identity in left)
        message = f"these cannot be ended: {pids or state.supervisor.pid}"
        raise Trouble(message, exits.FAILED, "look at them: ps -fp PID")
    say("stopped; nothing was left running")
    return exits.OK


def _stop(state: MeshState, folder: Path) -> MeshState:
    """Ends the supervisor, and what it leaves; returns what was known at its end."""
    supervisor = state.supervisor
    supervisor.send(signal.SIGTERM)
    if not supervisor.wait_gone(_SUPERVISOR_SECONDS):
        say(f"the supervisor (pid {supervisor.pid}) did not end in time: killing it")
        supervisor.send(signal.SIGKILL)
        supervisor.wait_gone(limits.KILL_SECONDS)
    lock = Lock(folder)
    if not lock.take():
        return state  # somebody has started another mesh already, and seen to what was left
    try:
        # It may have replaced a process since the state was read.
        state = read_state(folder) or state
        end_remains(state, say)
        remove_state(folder)
    finally:
        lock.release()
    return state
