"""Every limit of the edges in one place: what one client may ask for, and how long a node waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from router_client.event import MAX_EVENT_BYTES

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds. What is beyond a limit is refused by name, never cut off in silence."""

    max_event_bytes: int = MAX_EVENT_BYTES
    max_body_bytes: int = 10 * _MIB
    """The largest body of a publish."""
    max_bodies_bytes: int = 256 * _MIB
    """All bodies of publishes under way together; beyond it a publish is answered with 429."""
    max_control_bytes: int = _MIB
    """The largest body of any other request."""
    head_timeout_s: float = 20.0
    """How long a request's head may take to arrive: from its first byte, the first one from the connection's start."""
    keep_alive_s: float = 75.0
    """How long a connection may rest between requests; longer than load balancers keep one, so that they close it."""
    max_sockets: int = 12_000
    """All connections of the node, resting ones included, and less where the system allows less open files."""
    max_headers: int = 100
    """Headers of one request."""
    body_timeout_s: float = 30.0
    """How long a request's body may take to arrive."""
    max_batch: int = 10_000
    """Events in one publish."""
    max_pull: int = 1000
    """Deliveries in one pull."""
    max_wait_s: float = 30.0
    """How long a pull may wait for its first delivery."""
    max_page: int = 1000
    """Entries of one page."""
    max_letters: int = 10_000
    """Dead letters replayed or purged by one call."""
    max_connections: int = 10_000
    """WebSocket connections and waiting pulls of the node."""
    max_frame_bytes: int = _MIB
    """The largest WebSocket frame taken, and sent (but for a single larger delivery)."""
    hello_timeout_s: float = 10.0
    max_subscriptions_per_connection: int = 1000
    max_publishes_in_flight: int = 64
    """Publish frames of one connection that are not answered yet; then the node reads no further frame."""
    max_bad_frames: int = 1000
    """Frames of one connection that make no sense; then it is closed."""
    max_waiting_frames: int = 100
    """Frames waiting to be sent on one connection; then the node reads no further frame."""
    max_outbound_frames: int = 1000
    """Frames waiting to be sent on one connection; then it is closed as a slow reader."""
    heartbeat_s: float = 15.0
    """How often a stream of server-sent events says that it is alive, when there is nothing else to say."""
    stall_s: float = 30.0
    """How long a stream's client may read nothing; then it is cut off."""
    unread_s: float = 40.0
    """How long any connection may leave unread what was sent on it; then the system breaks it off."""
    ping_s: float = 20.0
    """How often a WebSocket is pinged, and how long the answer may take."""
    drain_s: float = 5.0
    """How long a stopping node lets requests and connections finish."""

    def announced(self) -> dict[str, Any]:
        """Return what a WebSocket client is told in its welcome."""
        return {
            "max_event_bytes": self.max_event_bytes,
            "max_frame_bytes": self.max_frame_bytes,
            "max_batch": self.max_batch,
            "max_subscriptions": self.max_subscriptions_per_connection,
            "max_publishes_in_flight": self.max_publishes_in_flight,
        }
