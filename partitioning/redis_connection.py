"""Connections to Redis that are either wholly open or closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from partitioning.redis_url import Address

Find = Callable[[], Awaitable[Address]]


class _Whole(AbstractConnection):
    """Cancelled or failed while it opens, redis-py leaves a connection that looks open, with replies outstanding.

    With ``find``, each opening asks it where the primary is, and a server that is none is refused.
    """

    def __init__(self, *, find: Find | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._find = find

    async def connect(self) -> None:
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

    async def _check_role(self) -> None:
        await self.send_command("ROLE", check_health=False)
        role = (await self.read_response())[0]
        if role != b"master":
            raise RedisConnectionError(f"{self.host}:{self.port} should be the primary and is a {role.decode()}")


class _TcpConnection(_Whole, Connection):
    pass


class _TlsConnection(_Whole, SSLConnection):
    pass


class _UnixConnection(_Whole, UnixDomainSocketConnection):
    pass


_WHOLE: dict[type[AbstractConnection], Callable[..., AbstractConnection]] = {
    Connection: _TcpConnection,
    SSLConnection: _TlsConnection,
    UnixDomainSocketConnection: _UnixConnection,
}


def connection_options(url: str, connect_within_s: float) -> dict[str, Any]:
    """Return what redis-py's pools and ``connection_class`` take. Raises ValueError for a bad URL."""
    own: dict[str, Any] = {
        # No socket_timeout: with one, redis-py writes through asyncio.wait_for, which on Python 3.11 can swallow a
        # cancellation that arrives as the write completes. Callers bound the whole exchange instead.
        "socket_timeout": None,
        "socket_connect_timeout": connect_within_s,
        "protocol": 2,
    }
    options: dict[str, Any] = dict(parse_url(url))
    connection_class = _WHOLE[options.pop("connection_class", Connection)]
    if refused := own.keys() & options.keys():
        raise ValueError(f"option {min(refused)!r} is not for a URL to set")
    try:
        connection_class(**options, **own)
    except TypeError as error:
        raise ValueError(f"unknown option: {error}") from None
    return {"connection_class": connection_class, **options, **own}
