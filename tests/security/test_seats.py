"""How many connections one principal may have, on one node and on several."""

from __future__ import annotations

import pytest

from partitioning.errors import RedisUnavailable
from partitioning.keys import Keys
from partitioning.redis_connect import connect
from router_client.errors import RateLimited
from router_node.security.seats import Seats
from router_node.security.shared_counts import COUNT_SCRIPTS, SharedSeats
from tests.edges.guarded import BILLING, guarded
from tests.security.test_rates import Caller


async def _full(seats: Seats, caller: Caller) -> bool:
    try:
        (await seats.take(caller))()
    except RateLimited:
        return True
    return False


async def test_a_node_alone_gives_as_many_as_there_are() -> None:
    seats, caller = Seats(), Caller("key:a", connections=2)

    leave, _ = await seats.take(caller), await seats.take(caller)
    assert await _full(seats, caller)
    assert not await _full(seats, Caller("key:b", connections=1))
    leave()
    assert not await _full(seats, caller)
    assert len(seats) == 1


async def test_nothing_is_counted_of_who_is_not_bounded() -> None:
    seats = Seats()

    for _ in range(100):
        await seats.take(Caller("key:a"))
    assert len(seats) == 0


async def test_nodes_count_together(redis_url: str) -> None:
    commands = connect(redis_url, COUNT_SCRIPTS)
    one, two = (Seats(SharedSeats(commands, Keys("seats"), name)) for name in ("one", "two"))
    caller = Caller("key:a", connections=3)
    try:
        leave, *_ = [await one.take(caller) for _ in range(2)]
        await two.take(caller)
        assert await _full(one, caller)
        assert await _full(two, caller)
        leave()
        assert not await _full(one, caller)
        assert len(one) == 1
    finally:
        await commands.close()


class _Away:
    async def take(self, principal: str, mine: int, limit: int | None) -> bool:
        raise RedisUnavailable("away")


async def test_while_redis_is_away_a_node_gives_its_share() -> None:
    seats, caller = Seats(_Away(), lambda: 3), Caller("key:a", connections=6)

    await seats.take(caller)
    await seats.take(caller)
    assert await _full(seats, caller)


async def test_connections_streams_and_pulls_take_seats() -> None:
    async with guarded() as node:
        node.keys.give("billing", BILLING, connections=1)
        await node.put("mine", "billing.>")
        headers = {"authorization": "Bearer billing"}
        async with node.server.link(token="billing"):
            for method, path in (("GET", "/v1/stream?topic=billing.>"), ("POST", "/v1/subscriptions/mine/pull")):
                async with node.http.request(method, path, headers=headers) as answer:
                    assert answer.status == 429
                    assert (await answer.json(content_type=None))["code"] == "rate_limited"
                    assert int(answer.headers["retry-after"]) > 0
            async with node.server.link(greet=False) as link:
                refused = await link.ask(op="hello", version=1, token="billing")
                assert refused["error"]["code"] == "rate_limited"
        async with node.http.get("/v1/stream?topic=billing.>", headers=headers) as stream:
            assert stream.status == 200
            with pytest.raises(AssertionError):
                async with node.server.link(token="billing"):
                    pass
