"""Connections to Redis that are either wholly open or closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from partitioning.redis_url import Address

Find = Callable[[], Awaitable[Address]]


class RedisConnection(AbstractConnection):
    """Opens as redis-py does, with all that a URL may ask for, and is then handed over.

    Cancelled or failed while it opens, redis-py's own would look open, with replies outstanding.
    With ``find``, each opening asks it where the primary is, and a server that is none is refused.
    """

    def __init__(self, *, find: Find | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._find = find

    async def connect(self) -> None:
        """Open it; cancelled or failed, it is closed."""
        if self.is_connected:
            return
        whole = False
        try:
            if self._find is not None:
                self.host, self.port = await self._find()
            await super().connect()  # type: ignore[no-untyped-call]
            if self._find is not None:
                await self._check_role()
            whole = True
        finally:
            if not whole:
                await asyncio.shield(self.disconnect(nowait=True))

    @property
    def peer(self) -> Address | None:
        """The server's address; None for a socket of this machine."""
        host, port = getattr(self, "host", None), getattr(self, "port", None)
        return (host, port) if host is not None and port is not None else None

    @property
    def error_of(self) -> Callable[[str], RedisError]:
        """Finds the exception for the text of an error reply."""
        return self._parser.parse_error

    def hand_over(self) -> asyncio.StreamWriter:
        """Return the open stream, which is the caller's from here on; this object is closed."""
        stream, self._writer, self._reader = self._writer, None, None
        self._parser.on_disconnect()  # type: ignore[no-untyped-call]
        if stream is None:
            raise RedisConnectionError("the connection is closed")
        return stream

    async def _check_role(self) -> None:
        await self.send_command("ROLE", check_health=False)
        role = (await self.read_response())[0]
        if role != b"master":
            raise RedisConnectionError(f"{self.host}:{self.port} should be the primary and is a {role.decode()}")


class _TcpConnection(RedisConnection, Connection):
    pass


class _TlsConnection(RedisConnection, SSLConnection):
    pass


class _UnixConnection(RedisConnection, UnixDomainSocketConnection):
    pass


_KINDS: dict[type[AbstractConnection], Callable[..., RedisConnection]] = {
    Connection: _TcpConnection,
    SSLConnection: _TlsConnection,
    UnixDomainSocketConnection: _UnixConnection,
}


def connection_maker(url: str, connect_within_s: float, find: Find | None = None) -> Callable[[], RedisConnection]:
    """Return what makes connections that are still to be opened. Raises ValueError for a bad URL."""
    own: dict[str, Any] = {
        # No socket_timeout: with one, redis-py writes through asyncio.wait_for, which on Python 3.11 can swallow a
        # cancellation that arrives as the write completes. Callers bound the whole exchange instead.
        "socket_timeout": None,
        "socket_connect_timeout": connect_within_s,
        "protocol": 2,
    }
    options: dict[str, Any] = dict(parse_url(url))
    kind = _KINDS[options.pop("connection_class", Connection)]
    if refused := own.keys() & options.keys():
        raise ValueError(f"option {min(refused)!r} is not for a URL to set")
    try:
        kind(**options, **own)
    except TypeError as error:
        raise ValueError(f"unknown option: {error}") from None
    return partial(kind, find=find, **options, **own)
