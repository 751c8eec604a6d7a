"""One connection to Redis: many callers ask at once, and each gets the replies to what it asked.

A call is written as it is made and waits for nobody: replies come in the order asked. A caller that is cancelled only
stops waiting; the replies to what it asked are still taken off the wire, so nobody is given a stranger's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

import hiredis
from redis.exceptions import BusyLoadingError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from partitioning.redis_commands import Command, Hear
from partitioning.redis_connection import RedisConnection
from partitioning.redis_url import Address

CHECK_S = 1.0

_MORE = object()


class _Wire(asyncio.Protocol):
    """An open connection, taken over from redis-py, that parses what comes."""

    def __init__(self, connection: RedisConnection) -> None:
        self.peer: Address | None = connection.peer
        self.lost: RedisError | None = None
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=connection.error_of, notEnoughData=_MORE
        )
        self._stream = connection.hand_over()
        self._transport = cast(asyncio.Transport, self._stream.transport)
        self._transport.set_protocol(self)

    def close(self, error: RedisError | None = None) -> None:
        """Close now; who waits gets ``error``. Without one, what was written is still sent."""
        if self.lost is None:
            self.lost = error or RedisConnectionError("the connection was closed by this side")
            if error is not None:
                self._transport.abort()
            self._stream.close()
            self._ended(self.lost)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._reader.feed(data)
            while self.lost is None and (reply := self._reader.gets()) is not _MORE:
                self._take(reply)
        except InvalidResponse as error:
            self.close(RedisConnectionError(f"not the protocol of Redis: {error}"))
        self._took_all()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.close(RedisConnectionError(str(exc or "the server closed the connection")))

    def _write(self, packed: bytes) -> None:
        if self.lost is not None:
            raise _anew(self.lost)
        try:
            self._transport.write(packed)
        except RuntimeError as error:
            # uvloop's word for a transport that the peer has reset.
            self.close(RedisConnectionError(str(error)))
            raise RedisConnectionError(str(error)) from error

    def _take(self, reply: Any) -> None:
        raise NotImplementedError

    def _took_all(self) -> None:
        pass

    def _ended(self, error: RedisError) -> None:
        raise NotImplementedError


class _Asked(NamedTuple):
    """A call under way: the number of replies it needs, those that came, who waits for them, and until when."""

    number: int
    replies: list[Any]
    answer: asyncio.Future[list[Any]]
    due: float


class RedisWire(_Wire):
    """A connection for commands. When the server answers none of a call for ``timeout_s``, the connection is closed."""

    def __init__(self, connection: RedisConnection, timeout_s: float) -> None:
        super().__init__(connection)
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._asked: deque[_Asked] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._retiring = False
        self._check_at = 0.0

    @property
    def under_way(self) -> int:
        """The number of calls that have not all their replies."""
        return len(self._asked)

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Return one reply for each command, in order; an error reply is returned in its place.

        Raises redis-py's ConnectionError and TimeoutError: then any of the commands may have run.
        """
        if not self._writable.is_set():
            await self.writable()
        self._write(b"".join(map(_pack, commands)))
        return await self._expect(len(commands))

    @property
    def takes_more(self) -> bool:
        """What is written now is sent soon."""
        return self.lost is None and self._writable.is_set()

    async def writable(self) -> None:
        """Return when the server has taken most of what was written, or is lost."""
        while not self._writable.is_set():
            await self._writable.wait()

    def tell(self, commands: Sequence[Command]) -> None:
        """Send commands that the server is not to answer. Raises redis-py's ConnectionError."""
        self._write(b"".join(part for command in commands for part in (_UNANSWERED, _pack(command))))
        if self._loop.time() >= self._check_at:
            self._check_at = self._loop.time() + CHECK_S
            self._check()

    def retire(self) -> None:
        """Close as soon as nothing is under way; the caller asks nothing more."""
        self._retiring = True
        if not self._asked:
            self.close()

    def _check(self) -> None:
        """Find out whether the server still answers: one that has gone without a word would be told for ever."""
        if self._asked or self.lost is not None:
            return
        with suppress(RedisConnectionError):
            self._write(_pack(("PING",)))
            self._expect(1).add_done_callback(_forget)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.clear()
        self._loop.call_soon(self._check)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.set()

    def _expect(self, replies: int) -> asyncio.Future[list[Any]]:
        due = self._loop.time() + self._timeout_s
        answer: asyncio.Future[list[Any]] = self._loop.create_future()
        self._asked.append(_Asked(replies, [], answer, due))
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._look)
        return answer

    def _take(self, reply: Any) -> None:
        if not self._asked:
            self.close(RedisConnectionError(f"a reply that nobody asked for: {reply!r:.100}"))
            return
        if isinstance(reply, RedisError) and not isinstance(reply, (ResponseError, BusyLoadingError)):
            self.close(reply)
            return
        asked = self._asked[0]
        asked.replies.append(reply)
        if len(asked.replies) == asked.number:
            self._asked.popleft()
            if not asked.answer.done():
                asked.answer.set_result(asked.replies)
            if self._retiring and not self._asked:
                self.close()

    def _look(self) -> None:
        self._watch = None
        if not self._asked:
            return
        due = self._asked[0].due
        if due <= self._loop.time():
            self.close(RedisTimeoutError("time-out"))
        else:
            self._watch = self._loop.call_at(due, self._look)

    def _ended(self, error: RedisError) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._writable.set()
        for asked in self._asked:
            if not asked.answer.done():
                asked.answer.set_exception(_anew(error))
        self._asked.clear()


class RedisListener(_Wire):
    """A connection that hears messages of channels."""

    def __init__(self, connection: RedisConnection, hear: Hear, heard: Callable[[], None]) -> None:
        super().__init__(connection)
        self._hear = hear
        self._heard = heard
        self._confirmed = 0
        self._changed = asyncio.Event()

    async def subscribe(self, channels: Sequence[str]) -> None:
        """Return when the server has confirmed all channels. Raises redis-py's errors."""
        self._write(_pack(("SUBSCRIBE", *channels)))
        while self._confirmed < len(channels):
            await self._change()

    async def end(self) -> None:
        """Raise redis-py's error when the connection is lost."""
        while True:
            await self._change()

    async def _change(self) -> None:
        if self.lost is not None:
            raise _anew(self.lost)
        self._changed.clear()
        await self._changed.wait()

    def _take(self, reply: Any) -> None:
        if isinstance(reply, RedisError):
            self.close(reply)
        elif reply[0] == b"message":
            self._hear(reply[1].decode(), reply[2])
        elif reply[0] == b"subscribe":
            self._confirmed += 1
            self._changed.set()

    def _took_all(self) -> None:
        self._heard()

    def _ended(self, error: RedisError) -> None:
        self._changed.set()


def _anew(error: RedisError) -> RedisError:
    """Return the same error once more: each who waits raises one of its own."""
    return type(error)(*error.args)


def _forget(answer: asyncio.Future[list[Any]]) -> None:
    if not answer.cancelled():
        answer.exception()


def _pack(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub says a tuple of one
    return packed


_UNANSWERED = _pack(("CLIENT", "REPLY", "SKIP"))
