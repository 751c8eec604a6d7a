"""Watching what the cluster does by itself, until it is done; the cluster goes on whether it is watched or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from cli.api import Api
from cli.exits import ExitCode
from cli.foreground import run
from cli.output import print_note, progress
from router_client.errors import Unavailable

FIRST_LOOK_S = 0.1
LOOK_S = 1.0
"""The longest pause between two looks, which begin at ``FIRST_LOOK_S``; looking at many partitions costs the node."""
AWAY_S = 60.0
"""How long a node that cannot answer is tried again: the one asked may be restarting."""

T = TypeVar("T")
Left = Callable[[Api], Awaitable[int]]


def watch(url: str, what: str, left: Left, total: int | None = None) -> None:
    """Show a bar until nothing is ``left`` of ``total`` (None: of what was left at first).

    Raises Unavailable when nobody answers for ``AWAY_S``, and Exit at Ctrl-C, after saying that ``what`` goes on.
    """
    try:
        run(_watch(url, what, left, total))
    except KeyboardInterrupt:
        print_note(f"{what} goes on; it is only not watched any more")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


async def _watch(url: str, what: str, left: Left, total: int | None) -> None:
    async with Api(url) as api:
        remaining = await left(api)
        total = max(remaining, total or 0)
        pause_s = FIRST_LOOK_S
        with progress(what, total) as advance:
            advance(total - remaining)
            while remaining:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, LOOK_S)
                now = await _patiently(api, left)
                advance(remaining - now)
                remaining = now


def watch_rising(url: str, what: str, look: Callable[[Api], Awaitable[tuple[int, bool]]]) -> None:
    """Show how far something is that has no known end, until ``look`` (how far, whether it has ended) says so.

    Raises what :func:`watch` does.
    """
    try:
        run(_watch_rising(url, what, look))
    except KeyboardInterrupt:
        print_note(f"{what} goes on; it is only not watched any more")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


async def _watch_rising(url: str, what: str, look: Callable[[Api], Awaitable[tuple[int, bool]]]) -> None:
    async with Api(url) as api:
        pause_s, shown, ended = FIRST_LOOK_S, 0, False
        with progress(what, None) as advance:
            while not ended:
                far, ended = await _patiently(api, look)
                advance(far - shown)
                shown = far
                if not ended:
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 1.5, LOOK_S)


async def _patiently(api: Api, look: Callable[[Api], Awaitable[T]]) -> T:
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + AWAY_S
    while True:
        try:
            return await look(api)
        except Unavailable:
            if clock() > give_up_at:
                raise
        await asyncio.sleep(LOOK_S)
