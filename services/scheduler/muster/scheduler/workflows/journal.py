"""Entries of journals without the data in them."""

from __future__ import annotations

from muster.v1.workflow_run_pb2 import RunEvent


def without_data(event: RunEvent) -> RunEvent:
    """The entry without payloads: for whoever follows a run, and for engines elsewhere."""
    match event.WhichOneof("kind"):
        case "started" if not event.started.kept:
            return event
        case "started" | "item_ended" | "signalled" | "ended":
            bare = RunEvent()
            bare.CopyFrom(event)
            for each in bare.started.kept if bare.HasField("started") else ():
                for item in each.items:
                    item.ClearField("output")
            if bare.HasField("item_ended"):
                bare.item_ended.ClearField("output")
            elif bare.HasField("signalled"):
                bare.signalled.ClearField("payload")
            elif bare.HasField("ended"):
                bare.ended.ClearField("output")
            return bare
    return event
