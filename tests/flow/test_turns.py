"""Turns by name: one at a time for a name, all names beside one another, and nothing kept afterwards."""

from __future__ import annotations

import asyncio

import pytest

from router_node.turns import Turns


async def test_one_name_takes_turns_and_another_does_not_wait() -> None:
    turns, said, go_on = Turns(), [], asyncio.Event()

    async def take(name: str, what: str) -> None:
        async with turns.of(name):
            said.append(what)
            await go_on.wait()

    async with asyncio.TaskGroup() as tasks:
        for name, what in (("a", "first"), ("a", "second"), ("b", "other")):
            tasks.create_task(take(name, what))
        while len(said) < 2:
            await asyncio.sleep(0)
        assert said == ["first", "other"]
        assert "a" in turns
        go_on.set()
    assert said == ["first", "other", "second"]
    assert len(turns) == 0


async def test_who_is_cancelled_or_fails_gives_up_the_turn() -> None:
    turns, held = Turns(), asyncio.Event()

    async def hold() -> None:
        async with turns.of("a"):
            held.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await held.wait()
    waiting = asyncio.create_task(hold())
    await asyncio.sleep(0)
    for task in (waiting, holding):
        task.cancel()
        await asyncio.wait([task])
    with pytest.raises(ValueError, match="mine"):
        async with turns.of("a"):
            raise ValueError("mine")
    assert len(turns) == 0
