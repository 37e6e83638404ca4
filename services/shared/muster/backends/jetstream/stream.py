"""The stream in which JetStream keeps what is published, and how long."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import (
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StoreCompression,
    StreamConfig,
)
from nats.js.errors import BadRequestError, NotFoundError

from muster.model import limits, subjects

STREAM = "MUSTER"


def configuration() -> StreamConfig:
    """The stream as it is made where there is none."""
    return StreamConfig(
        name=STREAM,
        description="What happens in a Muster mesh, as CloudEvents",
        subjects=[subjects.EVERYTHING],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=limits.BUS_KEPT_SECONDS,
        max_bytes=limits.BUS_KEPT_BYTES_MAX,
        max_msg_size=limits.ITEM_BYTES_MAX,
        duplicate_window=limits.BUS_DUPLICATES_SECONDS,
        compression=StoreCompression.S2,
    )


async def require_stream(jetstream: JetStreamContext) -> None:
    """Make the stream where there is none, and let one that is there take our subjects.

    Its limits and replicas are left as they are: they are for whoever runs the server to choose.
    Raises what the client library raises.
    """
    wanted = configuration()
    try:
        found = (await jetstream.stream_info(STREAM)).config
    except NotFoundError:
        try:
            await jetstream.add_stream(wanted)
        except BadRequestError:  # somebody else has made it meanwhile, or it cannot be made
            await jetstream.stream_info(STREAM)
        return
    if subjects.EVERYTHING not in (found.subjects or []):
        found.subjects = [subjects.EVERYTHING]
        await jetstream.update_stream(found)
