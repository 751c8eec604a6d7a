"""Repeating what a fail-over interrupted, as a node does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from partitioning.errors import RedisUnavailable
from partitioning.redis_commands import Command, Commands
from tests.support.signals import wait_for


async def repeated(link: Commands, commands: Sequence[Command], within_s: float) -> list[Any]:
    """Run commands until they ran, and return their replies. Raises AssertionError when they did not in time."""
    answers: list[Any] = []

    async def done() -> bool:
        try:
            answers[:] = await link.run(commands)
        except RedisUnavailable:
            return False
        return True

    await wait_for(done, within_s, "the commands run")
    return answers
