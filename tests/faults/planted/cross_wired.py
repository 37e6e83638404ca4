"""A response gets the output of the contract that was answered before it."""

from __future__ import annotations

import muster.scheduler.applying as applying
import muster.scheduler.messages_out as messages_out
from muster.scheduler.effects import End
from muster.v1.payload_pb2 import Payload
from muster.v1.response_pb2 import Response
from tests.faults.planted import put


def plant() -> None:
    """Outputs are one response late."""
    response_of = messages_out.response_of
    last: list[Payload] = []

    def one_late(end: End) -> Response:
        response = response_of(end)
        if response.HasField("payload"):
            own = Payload()
            own.CopyFrom(response.payload)
            last.append(own)
            response.payload.CopyFrom(last[-2] if len(last) > 1 else own)
        return response

    put(applying, "response_of", one_late)
