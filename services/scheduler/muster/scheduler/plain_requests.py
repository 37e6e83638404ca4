"""Lets the usual request through without the full check.

Checking every rule costs a tenth of a contract. A request that sets nothing but an id, a
capability, a small JSON payload and perhaps a conversation can be seen to be fine by two
expressions; whatever else there is goes to `check`. A test holds the two together: what passes here
passes there.
"""

from __future__ import annotations

import re

from muster.model.limits import PAYLOAD_INLINE_BYTES_MAX
from muster.runtime.validation import check
from muster.v1.request_pb2 import Request

_ID = re.compile(r"[A-Za-z0-9_.:=@+-]{1,128}")
_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*")
_NAME_CHARS_MAX = 128
_PLAIN_FIELDS = frozenset({"request_id", "capability", "payload", "conversation_id"})
_CHAR_BYTES_MAX = 4  # of UTF-8


def check_request(request: Request) -> None:
    """Raise `InvalidArgument` with every violation, as `check` does."""
    if not is_plain(request):
        check(request)


def is_plain(request: Request) -> bool:
    """Whether the request is surely valid; False says nothing."""
    if not _ID.fullmatch(request.request_id):
        return False
    if any(field.name not in _PLAIN_FIELDS for field, _ in request.ListFields()):
        return False
    capability, payload = request.capability, request.payload
    name = capability.name
    if capability.version or len(name) > _NAME_CHARS_MAX or not _NAME.fullmatch(name):
        return False
    if payload.WhichOneof("content") not in (None, "json"):
        return False
    if len(payload.json) * _CHAR_BYTES_MAX > PAYLOAD_INLINE_BYTES_MAX:
        return False
    conversation = request.conversation_id
    return not conversation or bool(_ID.fullmatch(conversation))
