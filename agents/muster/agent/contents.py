"""Contents of payloads: inside the message when they are small, as blobs when they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.agent.blob import Blob
from muster.agent.values import EMPTY, Content
from muster.model import limits
from muster.v1.payload_pb2 import Payload
from muster.wire.payload import JSON_MEDIA_TYPE

if TYPE_CHECKING:
    from muster.agent.blobs import Blobs

_MESSAGE_MEDIA_TYPE = "application/x-protobuf; messageType="
_TYPE_URL = "type.googleapis.com/"
_CHARS_SURELY_INLINE = limits.PAYLOAD_INLINE_BYTES_MAX // 4  # of UTF-8, at 4 bytes each


def is_small(content: Content) -> bool:
    """Whether the content fits into a message."""
    data = content.data
    if len(data) <= _CHARS_SURELY_INLINE or content.kind == "blob":
        return True
    size = len(data.encode()) if isinstance(data, str) else len(data)
    return size <= limits.PAYLOAD_INLINE_BYTES_MAX


def fill_small(payload: Payload, content: Content) -> None:
    """Puts content that fits into a payload that is still empty."""
    match content.kind:
        case "json":
            payload.json = content.data
        case "message":
            payload.message.type_url = _TYPE_URL + content.name
            payload.message.value = content.data
        case "binary":
            payload.binary.media_type, payload.binary.data = content.name, content.data
        case "blob":
            ref = payload.blob
            ref.sha256, ref.size_bytes, ref.media_type = content.data, content.size, content.name


async def fill(payload: Payload, content: Content, blobs: Blobs) -> None:
    """Puts content into a payload; what is large is uploaded first."""
    if is_small(content):
        fill_small(payload, content)
        return
    data = content.data.encode() if isinstance(content.data, str) else content.data
    blob = await blobs.put(data, _media_type(content))
    fill_small(payload, Content("blob", blob.sha256, blob.media_type, blob.size_bytes))


def _media_type(content: Content) -> str:
    if content.kind == "json":
        return JSON_MEDIA_TYPE
    return _MESSAGE_MEDIA_TYPE + content.name if content.kind == "message" else content.name


def content_in(payload: Payload) -> Content:
    """What a payload holds, without fetching anything."""
    match payload.WhichOneof("content"):
        case "json":
            return Content("json", payload.json)
        case "message":
            return Content("message", payload.message.value, payload.message.TypeName())
        case "binary":
            return Content("binary", payload.binary.data, payload.binary.media_type)
        case "blob":
            ref = payload.blob
            return Content("blob", ref.sha256, ref.media_type, ref.size_bytes)
    return EMPTY


async def fetch(payload: Payload, blobs: Blobs) -> Content:
    """What a payload holds. JSON and messages that travelled as blobs are fetched."""
    content = content_in(payload)
    if content.kind != "blob":
        return content
    blob = Blob(content.data, content.size, content.name)
    if content.name == JSON_MEDIA_TYPE:
        return Content("json", (await blobs.get(blob)).decode())
    if content.name.startswith(_MESSAGE_MEDIA_TYPE):
        name = content.name.removeprefix(_MESSAGE_MEDIA_TYPE)
        return Content("message", await blobs.get(blob), name)
    return content
