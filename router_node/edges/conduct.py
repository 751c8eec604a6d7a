"""What clients do that they should not: counted by kind, and said once for each kind and connection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

import structlog

from router_node.destinations.voice import Voice

log = structlog.get_logger(__name__)


class Fault(StrEnum):
    """A kind of bad conduct; also the end of its metric's name."""

    BAD_FRAMES = "bad_frames"
    UNKNOWN_DELIVERIES = "unknown_deliveries"
    SLOW_READERS = "slow_readers"
    NO_HELLO = "no_hello"
    VANISHED = "vanished"
    REFUSED_CONNECTIONS = "refused_connections"
    BAD_REQUESTS = "bad_requests"
    SLOW_HEADS = "slow_heads"
    CROWDED_OUT = "crowded_out"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    CERTIFICATES_IGNORED = "certificates_ignored"


TOLD = {
    Fault.BAD_FRAMES: "a client sends frames that make no sense",
    Fault.UNKNOWN_DELIVERIES: "a client settles deliveries that it does not have (any more)",
    Fault.SLOW_READERS: "a client reads too slowly and is cut off",
    Fault.NO_HELLO: "a client connected and said no hello",
    Fault.VANISHED: "a client answers no pings and is let go",
    Fault.REFUSED_CONNECTIONS: "connections are refused: the node has as many as it may",
    Fault.BAD_REQUESTS: "a client sends what is no request of HTTP, or too long a head",
    Fault.SLOW_HEADS: "a client connected and sent no request, or not the whole of its head",
    Fault.CROWDED_OUT: "connections that rest are closed for new ones: the node has as many as it may",
    Fault.UNAUTHENTICATED: "a client shows no credentials, or none that are valid",
    Fault.FORBIDDEN: "a client asks for what no policy allows it",
    Fault.RATE_LIMITED: "a client asks for more than its policies allow it a second",
    Fault.CERTIFICATES_IGNORED: "a client certificate came in a header from no trusted proxy",
}


class Conduct:
    """The faults of all clients of a node."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[Fault] = Counter()
        self._now = now
        self._voice = Voice()

    def client(self, peer: tuple[str, int] | None) -> Client:
        """Begin to watch a connection; ``peer`` is the address of who connected, when it is known."""
        return Client(self, f"{peer[0]}:{peer[1]}" if peer else "")

    def passing(self, fault: Fault, detail: str = "", times: int = 1) -> None:
        """Note a fault of a request, which leaves nothing to remember it by: each kind is said once a minute."""
        self.counts[fault] += times
        held_back = self._voice.may_say(fault, self._now())
        if held_back is not None:
            log.warning(TOLD[fault], detail=detail[:200], not_said_before=held_back)


class Client:
    """The faults of one connection."""

    def __init__(self, conduct: Conduct, peer: str) -> None:
        self._conduct = conduct
        self._peer = peer
        self._counts: Counter[Fault] = Counter()

    def did(self, fault: Fault, detail: str = "", times: int = 1) -> int:
        """Note a fault; returns how often this connection has done that."""
        self._conduct.counts[fault] += times
        if not self._counts[fault]:
            log.warning(TOLD[fault], client=self._peer, detail=detail[:200])
        self._counts[fault] += times
        return self._counts[fault]
