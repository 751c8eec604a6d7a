"""Choosing a node, for a client that knows only Redis."""

from __future__ import annotations

from typing import Any

import pytest

from partitioning.errors import RedisUnavailable
from partitioning.membership import Member, Roster
from router_client import ConnectionLost
from router_client.transports.live_nodes import LiveNodes


def nodes(*members: Member) -> LiveNodes:
    async def look() -> Roster:
        return Roster(0, {member.node: member for member in members})

    return LiveNodes("default", look)


def member(name: str, address: Any, *, draining: bool = False) -> Member:
    return Member(name, "x", 0, draining, {"address": address})


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.0.0.1:8080", "ws://10.0.0.1:8080"),
        ("[::1]:8080", "ws://[::1]:8080"),
        ("http://router.example", "ws://router.example"),
        ("https://router.example/eu", "wss://router.example/eu"),
    ],
)
async def test_an_address_becomes_a_url(address: str, url: str) -> None:
    assert await nodes(member("a", address)).another() == url


async def test_every_node_has_its_turn_before_one_comes_again() -> None:
    found = nodes(*(member(name, f"{name}:1") for name in "abc"))
    order = [await found.another() for _ in range(9)]
    for start in range(0, 9, 3):
        assert sorted(order[start : start + 3]) == ["ws://a:1", "ws://b:1", "ws://c:1"]


async def test_a_node_that_drains_is_taken_when_there_is_no_other() -> None:
    assert await nodes(member("a", "a:1", draining=True), member("b", "b:1")).another() == "ws://b:1"
    assert await nodes(member("a", "a:1", draining=True)).another() == "ws://a:1"


@pytest.mark.parametrize("address", [None, "", "127.0.0.1:0"])
async def test_without_an_address_there_is_none(address: object) -> None:
    with pytest.raises(ConnectionLost, match="ER_ADVERTISE"):
        await nodes(member("a", address)).another()


async def test_a_redis_that_is_away_is_a_connection_lost() -> None:
    async def look() -> Roster:
        raise RedisUnavailable("gone")

    with pytest.raises(ConnectionLost, match="gone"):
        await LiveNodes("default", look).another()
