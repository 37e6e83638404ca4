"""Tells the usual request from all others, without the full check.

Checking every rule costs a tenth of a contract. A request for a known capability that sets nothing
but an id, a small JSON payload and perhaps a conversation, a deadline and a trace context can be
seen to be fine by a few expressions; whatever else there is is checked. A test holds the two
together: what passes here passes there.
"""

from __future__ import annotations

import re

from muster.model.limits import PAYLOAD_INLINE_BYTES_MAX
from muster.v1.request_pb2 import Request

_ID = re.compile(r"[A-Za-z0-9_.:=@+-]{1,128}")
_JSON_CHARACTERS_SURE = PAYLOAD_INLINE_BYTES_MAX // 4  # a character has at most 4 bytes of UTF-8
_NANOS_MAX = 999_999_999
_TRACEPARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE_CHARACTERS_MAX = 512
_SECONDS_MAX = 253_402_300_799  # the end of the year 9999


def is_plain(request: Request) -> bool:
    """Whether the request is surely valid if its capability is known; False says nothing."""
    if not _ID.fullmatch(request.request_id) or not request.HasField("capability"):
        return False
    fields = 2
    if request.HasField("payload"):
        fields += 1
        payload = request.payload
        text = payload.json
        if len(text) > _JSON_CHARACTERS_SURE:
            return False
        if not text and payload.WhichOneof("content") not in (None, "json"):
            return False
    if request.HasField("deadline"):
        fields += 1
        deadline = request.deadline
        if not (0 < deadline.seconds <= _SECONDS_MAX and 0 <= deadline.nanos <= _NANOS_MAX):
            return False
    conversation = request.conversation_id
    if conversation:
        fields += 1
        if not _ID.fullmatch(conversation):
            return False
    if request.HasField("trace_context"):
        fields += 1
        context = request.trace_context
        if not _TRACEPARENT.fullmatch(context.traceparent):
            return False
        if len(context.tracestate) > _TRACESTATE_CHARACTERS_MAX:
            return False
    return len(request.ListFields()) == fields
