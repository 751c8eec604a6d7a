"""Commands to Redis, packed by their callers, and the one way to run them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

from redis.exceptions import RedisError

from partitioning.errors import RedisUnavailable

Argument = str | bytes | int
Command = tuple[Argument, ...]
Hear = Callable[[str, bytes], None]
Ending = Callable[[], Coroutine[Any, Any, None]]


class Script(NamedTuple):
    """A Lua script with its SHA-1, read from a .lua file beside the module that calls it."""

    source: bytes
    sha: str

    @classmethod
    def load(cls, package: str, name: str) -> Script:
        """Read ``lua/<name>.lua`` of ``package``."""
        source = (files(package) / "lua" / f"{name}.lua").read_bytes()
        return cls(source, sha1(source, usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[Argument], *arguments: Argument) -> Command:
        """Return the command that runs the script."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


class Commands(Protocol):
    """A way to run commands on Redis: one server, Sentinel or Cluster. Cancelling a call is safe."""

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands, in order per key, and return one reply each; an error reply is returned in its place.

        Raises RedisUnavailable when a connection failed or timed out: then any of the commands may have run.
        """
        ...

    async def one(self, command: Command) -> Any:
        """Run one command and return its reply. Raises RedisUnavailable, also when the reply is an error."""
        ...

    def can_tell(self) -> bool:
        """There is a connection for :meth:`tell`, and it takes more now."""
        ...

    async def ready_to_tell(self) -> None:
        """Return when :meth:`can_tell`. Raises RedisUnavailable."""
        ...

    def tell(self, commands: Sequence[Command]) -> bool:
        """Send commands whose replies nobody needs, after those told before; that they run cannot be known.

        False when they certainly do not, as there is no connection any more.
        """
        ...

    def listening(
        self, channels: Sequence[str], hear: Hear, heard: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[Ending]:
        """Have ``hear`` called with channel and payload of each message, once the server has confirmed all channels.

        It is called as messages come, and ``heard`` after those that came at once; both must return at once. What the
        block is given waits for the end of the connection: it raises RedisUnavailable, as entering does.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


async def run_all(commands: Commands, batch: Sequence[Command]) -> list[Any]:
    """Run commands and return one reply each. Raises RedisUnavailable, also when one of the replies is an error."""
    replies = await commands.run(batch)
    return [reply_of(command, reply) for command, reply in zip(batch, replies, strict=True)]


def reply_of(command: Command, reply: Any) -> Any:
    """Return a reply that is no error. Raises RedisUnavailable for one that is."""
    if isinstance(reply, RedisError):
        raise RedisUnavailable(f"Redis refused {command[0]!r}: {reply}") from reply
    return reply
