"""How commands end: exit codes, and errors that name the next command."""

from __future__ import annotations

from muster.model.errors import Code, MusterError

OK = 0
FAILED = 1  # the contract ended without output; something that should run does not
USAGE = 2  # the command line, the configuration or the input is wrong
NO_MESH = 3  # no mesh answers
NOT_FOUND = 4  # there is no such contract, capability, agent
REFUSED = 5  # the mesh is there and will not: it has ended already, one runs already, it is full
TIMED_OUT = 6  # the mesh is there and did not answer in time
DEFECT = 70  # a defect of Muster, as in sysexits.h
INTERRUPTED = 130  # Ctrl-C

CODES_FOR_PEOPLE = (
    "Exit codes: 0 done · 1 the contract failed, or a service is not well · 2 usage, "
    "configuration or input · 3 no mesh answers · 4 not found · 5 refused · 6 no answer in time · "
    "70 a defect · 130 interrupted."
)

_EXIT_OF_CODE = {
    Code.CANCELLED: FAILED,
    Code.INVALID_ARGUMENT: USAGE,
    Code.DEADLINE_EXCEEDED: TIMED_OUT,
    Code.NOT_FOUND: NOT_FOUND,
    Code.ALREADY_EXISTS: REFUSED,
    Code.PERMISSION_DENIED: REFUSED,
    Code.RESOURCE_EXHAUSTED: REFUSED,
    Code.FAILED_PRECONDITION: REFUSED,
    Code.ABORTED: REFUSED,
    Code.OUT_OF_RANGE: USAGE,
    Code.UNIMPLEMENTED: REFUSED,
    Code.INTERNAL: DEFECT,
    Code.UNAVAILABLE: NO_MESH,
    Code.DATA_LOSS: DEFECT,
    Code.UNAUTHENTICATED: REFUSED,
}

# What to do about it, by the mesh's reason.
_NEXT_BY_REASON = {
    "CAPABILITY_UNKNOWN": "what there is: muster capabilities",
    "CONTRACT_UNKNOWN": "what there is: muster contracts list",
    "WORKFLOW_UNKNOWN": "what there is: muster workflow list",
    "RUN_UNKNOWN": "what there is: muster workflow runs",
    "RUN_STATE": "where it is: muster workflow show RUN",
    "AGENT_UNKNOWN": "what there is: muster agents",
    "SCHEDULE_UNKNOWN": "what there is: muster schedule list",
    "HOST_UNKNOWN": "what there is: muster status",
    "QUESTION_UNKNOWN": "what waits: muster inbox",
    "QUESTION_CLOSED": "what waits: muster inbox",
    "ALREADY_ANSWERED": "the answer: muster inbox show ID",
    "ANSWER_MISMATCH": "what is asked for: muster inbox show ID",
    "PAYLOAD_MISMATCH": "what it takes: muster capabilities NAME",
    "CONVERSATION_UNKNOWN": "what there is: muster conversation list",
    "NOT_READY": "how it is: muster status",
    "LEDGER_UNAVAILABLE": "how it is: muster status",
    "QUEUE_FULL": "what waits: muster contracts list --state queued",
}


class Trouble(Exception):
    """A command cannot do what was asked. `message` is one sentence, `next` a command to go on."""

    def __init__(self, message: str, code: int, next_command: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.next_command = next_command


def trouble_of(error: MusterError) -> Trouble:
    """What a person is told about an error of the mesh."""
    message = error.message
    if error.code is Code.UNIMPLEMENTED and not error.reason:
        # gRPC's own word: there is a server, and not this service in it.
        message = (
            "what answers there is another service, or an older one; where services are apart, "
            "name each: MUSTER_SCHEDULER, MUSTER_REGISTRY, MUSTER_EXECUTOR"
        )
    if error.violations:
        # Often the message is the first violation already.
        others = [each for each in error.violations if each.description not in message]
        message = "; ".join([message, *(f"{each.field} {each.description}" for each in others)])
    # Nor is a next command needed where the message names one.
    hint = "" if "muster " in message else _NEXT_BY_REASON.get(error.reason, "")
    return Trouble(message, _EXIT_OF_CODE.get(error.code, DEFECT), hint)


def no_mesh(address: str) -> Trouble:
    """Nobody is there."""
    return Trouble(f"no mesh answers at {address}; start one with: muster up", NO_MESH)
