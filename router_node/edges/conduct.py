"""What clients do that they should not: counted by kind, and said once for each kind and connection."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

import structlog

log = structlog.get_logger(__name__)


class Fault(StrEnum):
    """A kind of bad conduct; also the end of its metric's name."""

    BAD_FRAMES = "bad_frames"
    UNKNOWN_DELIVERIES = "unknown_deliveries"
    SLOW_READERS = "slow_readers"
    NO_HELLO = "no_hello"
    REFUSED_CONNECTIONS = "refused_connections"


TOLD = {
    Fault.BAD_FRAMES: "a client sends frames that make no sense",
    Fault.UNKNOWN_DELIVERIES: "a client settles deliveries that it does not have (any more)",
    Fault.SLOW_READERS: "a client reads too slowly and is cut off",
    Fault.NO_HELLO: "a client connected and said no hello",
    Fault.REFUSED_CONNECTIONS: "connections are refused: the node has as many as it may",
}


class Conduct:
    """The faults of all clients of a node."""

    def __init__(self) -> None:
        self.counts: Counter[Fault] = Counter()

    def client(self) -> Client:
        """Begin to watch a connection."""
        return Client(self)


class Client:
    """The faults of one connection."""

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._counts: Counter[Fault] = Counter()

    def did(self, fault: Fault, detail: str = "", times: int = 1) -> int:
        """Note a fault; returns how often this connection has done that."""
        self._conduct.counts[fault] += times
        if not self._counts[fault]:
            log.warning(TOLD[fault], detail=detail[:200])
        self._counts[fault] += times
        return self._counts[fault]
