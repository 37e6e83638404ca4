"""All hostile clients, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.faults.hostile import floods, handshakes, hosts, peers, readers, sizes
from tests.faults.hostile.figures import Figure, Size
from tests.faults.hostile.ground import Ground

HostileClient = Callable[[Ground, Size], Awaitable[list[Figure]]]

READERS: tuple[HostileClient, ...] = (
    readers.unread_submits,
    readers.unread_refusals,
    readers.unread_watches,
    readers.unread_sessions,
    readers.unread_calls,
    readers.slow_readers,
)
FLOODS: tuple[HostileClient, ...] = (
    floods.cancelled_calls,
    floods.cancelled_contracts,
    floods.too_many_submits,
    floods.too_many_streams,
    floods.too_much_metadata,
)
HANDSHAKES: tuple[HostileClient, ...] = (handshakes.half_handshakes, handshakes.half_hellos)
HOSTS: tuple[HostileClient, ...] = (
    hosts.idle_agents,
    hosts.many_attaches,
    hosts.never_accepts,
    hosts.too_many_beats,
    hosts.beyond_the_window,
    hosts.false_words,
)
PEERS: tuple[HostileClient, ...] = (
    peers.unread_links,
    peers.false_links,
    peers.false_presence,
)
SIZES: tuple[HostileClient, ...] = (sizes.largest_messages, sizes.random_bytes)
# Takes minutes, and thousands of connections' worth of memory at the client.
LONG_ONLY: tuple[HostileClient, ...] = (hosts.idle_sessions,)

HOSTILE: dict[str, HostileClient] = {
    each.__name__: each
    for each in (*READERS, *FLOODS, *HANDSHAKES, *HOSTS, *PEERS, *SIZES, *LONG_ONLY)
}
