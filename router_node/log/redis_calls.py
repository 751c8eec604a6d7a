"""The log's calls to Redis: what fails there is an unavailable log here, and nowhere else is that said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from partitioning.errors import RedisUnavailable
from partitioning.redis_commands import Argument, Command, Commands, Script, run_all
from router_node.log.port import LogUnavailable

__all__ = ["Argument", "Command", "RedisCalls", "Script"]


class RedisCalls:
    """Commands whose failure is LogUnavailable: then any of them may have run."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in order and return one reply each; an error reply is returned in its place."""
        try:
            return await self._commands.run(commands)
        except RedisUnavailable as error:
            raise LogUnavailable(str(error)) from error

    async def all(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands and return one reply each. Raises LogUnavailable, also when one of the replies is an error."""
        try:
            return await run_all(self._commands, commands)
        except RedisUnavailable as error:
            raise LogUnavailable(str(error)) from error

    async def one(self, command: Command) -> Any:
        """Run one command and return its reply. Raises LogUnavailable, also when the reply is an error."""
        try:
            return await self._commands.one(command)
        except RedisUnavailable as error:
            raise LogUnavailable(str(error)) from error
