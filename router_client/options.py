"""What a client may be told, as one frozen object that is passed whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from router_client.errors import InvalidInput
from router_client.reconnect import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How a client connects, waits and gives up. Times are seconds.

    ``publish_timeout_s`` bounds a publish from the call to its answer, waiting for a connection included.
    ``max_reconnect_s`` is how long a lost connection is tried again before everything waiting fails; None never gives
    up. The first connection is not tried again: a wrong address should be an error at once.
    ``while_disconnected`` says what a publish does while there is no connection: ``wait`` for the next one, with at
    most ``publish_buffer`` batches under way or waiting and then Overloaded, or ``fail`` with ConnectionLost. Every
    transport keeps to it.
    ``retry_overloaded_s`` lets a publish the router refused as overloaded try again for so long; 0 raises at once.
    ``close_timeout_s`` bounds what leaving the client waits for: acks, publishes and the closing handshake.
    ``token`` is an API key or a JSON Web Token, or a function that returns one and is asked for each new connection
    and call: for tokens that do not last.
    ``ca`` is a PEM file with the certificates to trust with ``wss://`` and ``https://``, by default the system's;
    ``cert`` (with its chain) and ``key`` are the client's own.
    """

    token: str | Callable[[], str] | None = field(default=None, repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    connect_timeout_s: float = 5.0
    request_timeout_s: float = 10.0
    publish_timeout_s: float = 30.0
    publish_buffer: int = 1000
    while_disconnected: Literal["wait", "fail"] = "wait"
    retry_overloaded_s: float = 0.0
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 20.0
    close_timeout_s: float = 5.0
    max_reconnect_s: float | None = None
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        """Raise InvalidInput naming the option whose value cannot work."""
        positive = ("connect_timeout_s", "request_timeout_s", "publish_timeout_s", "publish_buffer")
        for name in (*positive, "ping_interval_s", "ping_timeout_s", "close_timeout_s"):
            if not getattr(self, name) > 0:
                raise InvalidInput("must be more than 0", field=name)
        if self.retry_overloaded_s < 0:
            raise InvalidInput("may not be negative", field="retry_overloaded_s")
        if (self.cert is None) != (self.key is None):
            raise InvalidInput("cert and key come together", field="cert" if self.cert is None else "key")
        if self.while_disconnected not in ("wait", "fail"):
            raise InvalidInput("one of wait, fail", field="while_disconnected")
