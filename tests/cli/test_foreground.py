"""Ctrl-C ends a command's coroutine where it awaits, and nowhere else."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from cli.foreground import run


def test_what_the_work_returns_is_returned() -> None:
    async def work() -> int:
        return 7

    assert run(work()) == 7


def test_ctrl_c_waits_for_the_step_it_falls_into() -> None:
    seen: list[bool] = []

    def step(waiter: asyncio.Future[None]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        seen.append(waiter.cancelled())

    async def work() -> None:
        waiter = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(step, waiter)
        try:
            await waiter
        finally:
            seen.append(waiter.cancelled())

    with pytest.raises(KeyboardInterrupt):
        run(work())
    assert seen == [False, True]


def test_a_second_ctrl_c_ends_work_that_hangs_while_it_cleans_up() -> None:
    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        run(work())


def test_a_cancellation_of_its_own_is_no_interruption() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(work())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
