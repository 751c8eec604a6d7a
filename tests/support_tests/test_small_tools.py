"""The clock, the polling helper, the ports and the list of permanent keys."""

from __future__ import annotations

import asyncio
import socket

import pytest
from redis import Redis

from tests.support.clock import FakeClock
from tests.support.keys import is_permanent, leaked_keys
from tests.support.ports import free_port, is_free
from tests.support.signals import wait_for


def test_the_clock_moves_only_when_told() -> None:
    clock = FakeClock(start=5.0)
    assert clock.monotonic() == clock.monotonic() == 5.0
    clock.advance(2.5)
    assert clock.monotonic() == 7.5
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1)


async def test_wait_for_returns_when_it_is_true() -> None:
    answers = iter([False, False, True])
    await wait_for(lambda: next(answers), 5, "the third answer")
    assert list(answers) == []


async def test_wait_for_takes_async_predicates_and_looks_at_least_once() -> None:
    async def yes() -> bool:
        return True

    await wait_for(yes, 0, "yes")


async def test_wait_for_says_what_did_not_happen() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: pigs fly"):
        await wait_for(lambda: False, 0.05, "pigs fly")


async def test_wait_for_cuts_off_a_predicate_that_hangs() -> None:
    with pytest.raises(AssertionError, match="an answer"):
        await wait_for(asyncio.Event().wait, 0.05, "an answer")


async def test_wait_for_leaves_the_predicates_own_timeout_alone() -> None:
    def broken() -> bool:
        raise TimeoutError("the server's, not ours")

    with pytest.raises(TimeoutError, match="not ours"):
        await wait_for(broken, 5, "an answer")


def test_a_free_port_can_be_listened_on_and_is_taken_then() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
    assert is_free(port)


@pytest.mark.parametrize(
    "key",
    [
        "er:default:meta",
        "er:default:nodes",
        "{er:default:17}:in:9",
        "{er:eu-1:0}:pos",
        "{er:eu-1:0}:epoch",
        "{er:eu-1:0}:hw",
        "{er:eu-1:0}:dlq",
        "{er:eu-1:0}:lanes",
        "{er:default:17}:q:orders.late:5",
        "{er:default:17}:retry:orders.late:5",
    ],
)
def test_documented_keys_are_permanent(key: str) -> None:
    assert is_permanent(key)


@pytest.mark.parametrize(
    "key",
    [
        "something",
        "er:default:node:a",
        "{er:default:17}:lease",
        "{er:default:17}:ids",
        "{er:default:17}:in:10",
        "{er:default:x}:pos",
        "er:default:17:pos",
        "{er:default:17}:pos:old",
        "{er:default:17}:q:orders.late",
    ],
)
def test_other_keys_are_not(key: str) -> None:
    assert not is_permanent(key)


def test_a_key_that_neither_expires_nor_is_documented_is_a_leak(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.set("forgotten", 1)
        redis.set("expires", 1, px=60_000)
        redis.set("{er:default:17}:epoch", 1)
        assert leaked_keys(redis) == ["forgotten"]
        redis.delete("forgotten")
