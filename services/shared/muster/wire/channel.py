"""How gRPC is set up on both ends.

A connection that goes nowhere is noticed within keepalive time and timeout, 15 s; what judges
agents and executors is heartbeats, never this.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial

import grpc

from muster.model import limits
from muster.model.errors import NotAuthenticated
from muster.telemetry.calls import client_interceptors
from muster.wire.lookup import is_lookup
from muster.wire.security import NO_TLS, Security, Stamp
from muster.wire.targets import channel_target, first_host, places_of

KEEPALIVE_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 5_000
# Half of KEEPALIVE_MS, so that a client's ping that comes a little early is not taken for abuse.
PING_INTERVAL_MIN_MS = 5_000
RECONNECT_MIN_MS = 200
# gRPC's own default reaches 120 s. A retry finds no connection until the channel tries for one:
# with 5 s here, a service that was away for 5 s was missed by the last retry after 7.
RECONNECT_MAX_MS = 1_000
HANDSHAKE_TIMEOUT_MS = 10_000

# Unary calls that may be made again when nobody knows whether the first one arrived.
IDEMPOTENT_CALLS: dict[str, tuple[str, ...]] = {
    "muster.v1.SchedulerService": (
        "Submit",
        "GetContract",
        "ListContracts",
        "WaitContract",
        "CancelContract",
        "ExplainPlacement",
        "GetStatistics",
    ),
    "muster.v1.RegistryService": (
        "RegisterAgent",
        "HeartbeatAgent",
        "DeregisterAgent",
        "GetAgent",
        "ListAgents",
        "ListCapabilities",
        "GetCapability",
    ),
    "muster.v1.ExecutorService": ("ListSessions", "DrainHost", "DrainAgent"),
    "muster.v1.BlobService": ("StatBlob",),
    "muster.v1.ConversationService": (
        "ListConversations",
        "GetConversation",
        "SearchContracts",
        "ListTrace",
        "CompressConversation",
        "ListMemory",
        "GetMemory",
        "SearchMemory",
    ),
    "muster.v1.AgentStateService": ("GetState", "PutState", "ListState", "DeleteState"),
    # Of SignalRun only with a signal_id, as the SDK sends it; RetryRun finds its retry by revision.
    "muster.v1.WorkflowService": (
        "RegisterWorkflow",
        "GetWorkflow",
        "ListWorkflows",
        "StartRun",
        "StartRuns",
        "PlanRun",
        "GetRun",
        "ListRuns",
        "SignalRun",
        "CancelRun",
        "PauseRun",
        "ResumeRun",
        "RetryRun",
        "ForkRun",
    ),
    "muster.v1.ScheduleService": (
        "CreateSchedule",
        "UpdateSchedule",
        "GetSchedule",
        "ListSchedules",
        "DeleteSchedule",
        "PauseSchedule",
        "ResumeSchedule",
        "TriggerSchedule",
        "ListTicks",
        "PreviewSchedule",
    ),
    "muster.v1.InboxService": ("ListQuestions", "GetQuestion", "AnswerQuestion"),
}

# Pauses of 0.2, 0.6, 1.8 and 5 s: long enough for a service to restart. gRPC allows no 6th attempt.
# CANCELLED is what gRPC gives calls that reach a server while it stops; a caller that cancels its
# own call is not asked for another attempt.
_RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "5s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}

SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": service, "method": method}
                for service, methods in IDEMPOTENT_CALLS.items()
                for method in methods
            ],
            "retryPolicy": _RETRY_POLICY,
        }
    ]
}

Options = tuple[tuple[str, int | str], ...]

_BOTH_ENDS: Options = (
    ("grpc.max_receive_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", limits.METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", limits.METADATA_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

CHANNEL_OPTIONS: Options = (
    *_BOTH_ENDS,
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_MIN_MS),
    ("grpc.min_reconnect_backoff_ms", RECONNECT_MIN_MS),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
    # Otherwise a new channel to the same target shares the old one's connection and its backoff.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
)

SERVER_OPTIONS: Options = (
    *_BOTH_ENDS,
    # Otherwise a second instance silently shares the port.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", limits.STREAMS_PER_CONNECTION_MAX),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
    # Calls that have come and wait for the event loop. Beyond 1,000, the default, gRPC cancels some
    # at random and says nothing; a herd of hosts that come back is larger than that.
    ("grpc.server.max_pending_requests", limits.PENDING_CALLS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", limits.PENDING_CALLS_MAX),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MIN_MS),
)


def open_channel(
    target: str,
    security: Security = NO_TLS,
    *,
    retries: bool = True,
    options: Options = CHANNEL_OPTIONS,
) -> grpc.aio.Channel:
    """A channel to `target`, with TLS where `security` names an authority; the caller closes it.

    `target` may name several places, see `channel_target`, or a directory, see `places_of`; with
    TLS, their certificates must all be good for the name of the first. Certificates are read now
    and used for all of its connections: see `Channels` for one that follows them.
    Raises `NotAuthenticated` where they cannot be used, and `ValueError` as `channel_target` does.
    Without `retries` a call to a service that is away fails at once, as a person at a prompt wants.
    """
    options = (*options, ("grpc.enable_retries", int(retries)))
    interceptors = client_interceptors()
    credentials = security.credentials()
    target = places_of(target)
    place = channel_target(target)
    if credentials is None:
        return grpc.aio.insecure_channel(place, options=options, interceptors=interceptors)
    if place != target:
        # Of several, gRPC would compare their certificates with all of the text.
        options = (*options, ("grpc.ssl_target_name_override", first_host(target)))
    return grpc.aio.secure_channel(place, credentials, options=options, interceptors=interceptors)


class Channels:
    """A channel for each target, opened when it is first asked for.

    When certificates change on disk, whoever asks next gets a channel that was opened with the new
    ones. What runs on the old one goes on: gRPC keeps a channel as long as a call is on it.
    """

    def __init__(
        self,
        security: Security = NO_TLS,
        options: Options = CHANNEL_OPTIONS,
        *,
        retries: bool = True,
    ) -> None:
        self.security = security
        self._open_channel = partial(open_channel, retries=retries, options=options)
        self._open: dict[str, tuple[grpc.aio.Channel, Stamp]] = {}

    def to(self, target: str) -> grpc.aio.Channel:
        """The channel to `target`. Raises `NotAuthenticated` where certificates cannot be used,
        unless there is an older channel, which then has to do."""
        known = self._open.get(target)
        stamp = self.security.stamp()
        # Whoever was found in a directory, and is away, may have moved.
        moved = known is not None and is_lookup(target) and _is_lost(known[0])
        if known is not None and known[1] == stamp and not moved:
            return known[0]
        try:
            channel = self._open_channel(target, self.security)
        except NotAuthenticated:
            if known is None:
                raise
            return known[0]  # they are being replaced, one after the other
        self._open[target] = (channel, stamp)
        return channel

    async def renew(self, target: str) -> None:
        """Close the channel to `target`: the next one does not know how often this one failed."""
        known = self._open.get(target)
        if known is not None:
            stamp = self.security.stamp()
            with suppress(NotAuthenticated):
                channel = self._open_channel(target, self.security)
                self._open[target] = (channel, stamp)
                await known[0].close()

    async def close(self) -> None:
        """Close all of them; calls that still run end."""
        channels = [channel for channel, _ in self._open.values()]
        self._open.clear()
        for channel in channels:
            await channel.close()


def _is_lost(channel: grpc.aio.Channel) -> bool:
    return channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE
