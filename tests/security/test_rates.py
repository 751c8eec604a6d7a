"""What one principal may ask for a second: by one node alone, and by several that share the cluster's buckets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from partitioning.errors import RedisUnavailable
from partitioning.keys import Keys
from partitioning.redis_commands import Commands
from partitioning.redis_connect import connect
from router_client.errors import RateLimited
from router_node.security.gate import OPEN, Access
from router_node.security.policy import UNRESTRICTED, Grants, Limits
from router_node.security.principal import Principal
from router_node.security.rates import MAX_ALLOWANCES, Rates
from router_node.security.shared_counts import COUNT_SCRIPTS, SharedTokens, digest
from tests.support.redis_server import RedisServer


class Caller:
    """See Access."""

    def __init__(self, name: str, **limits: float) -> None:
        self.principal = Principal(name)
        self.grants: Grants = UNRESTRICTED
        self.limits = Limits(**limits)  # type: ignore[arg-type]


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Away:
    """Buckets of a cluster whose Redis is away."""

    def __init__(self) -> None:
        self.asked = 0

    async def take(self, action: str, principal: str, rate: float, wanted: int) -> int:
        self.asked += 1
        raise RedisUnavailable("away")


async def _publish(rates: Rates, caller: Access, times: int, events: int = 1) -> int:
    """Publish so often; returns how many events were let through."""
    taken = 0
    for _ in range(times):
        try:
            await rates.permit(caller, events)
        except RateLimited:
            continue
        taken += events
    return taken


async def test_a_node_alone_holds_to_the_rate() -> None:
    clock = Clock()
    rates, caller = Rates(now=clock), Caller("key:a", publish_per_s=100)

    assert await _publish(rates, caller, 500) == 100  # a second's worth is there at first
    taken = 0
    for _ in range(1000):
        clock.now += 0.01
        taken += await _publish(rates, caller, 5)
    assert 990 <= taken <= 1010


async def test_a_batch_larger_than_the_rate_is_let_through_and_worked_off() -> None:
    clock = Clock()
    rates, caller = Rates(now=clock), Caller("key:a", publish_per_s=100)

    taken = 0
    for _ in range(100_000):
        clock.now += 0.001
        taken += await _publish(rates, caller, 1, events=1000)
    assert 9_900 <= taken <= 11_000


async def test_it_is_said_when_to_come_again() -> None:
    clock = Clock()
    rates, caller = Rates(now=clock), Caller("key:a", publish_per_s=10)
    await _publish(rates, caller, 10)

    with pytest.raises(RateLimited) as refused:
        await rates.permit(caller, 1)
    assert refused.value.problem()["code"] == "rate_limited"
    assert 0 < refused.value.retry_after_s <= 0.1
    clock.now += refused.value.retry_after_s + 0.001
    await rates.permit(caller, 1)
    assert rates.refused["publish"] == 1


async def test_principals_and_actions_have_rates_of_their_own() -> None:
    rates = Rates(now=Clock())
    one = Caller("key:a", publish_per_s=5, requests_per_s=3)

    assert await _publish(rates, one, 20) == 5
    assert await _publish(rates, Caller("key:b", publish_per_s=5), 20) == 5
    for _ in range(3):
        await rates.request(one)
    with pytest.raises(RateLimited):
        await rates.request(one)


async def test_nothing_is_kept_of_who_has_no_rate() -> None:
    rates = Rates()

    assert await rates.permit(OPEN, 10**6) is None
    assert await _publish(rates, Caller("key:a"), 1000) == 1000
    await rates.request(Caller("key:a"))
    assert len(rates) == 0


async def test_principals_are_forgotten_beyond_a_bound() -> None:
    rates = Rates()

    for number in range(MAX_ALLOWANCES + 10):
        await rates.permit(Caller(f"key:{number}", publish_per_s=5), 1)
    assert len(rates) == MAX_ALLOWANCES


async def test_while_redis_is_away_a_node_takes_its_share() -> None:
    clock, away = Clock(), Away()
    rates, caller = Rates(away, lambda: 4, clock), Caller("key:a", publish_per_s=100)

    await _publish(rates, caller, 200)
    taken = 0
    for _ in range(1000):
        clock.now += 0.01
        taken += await _publish(rates, caller, 5)
    assert 240 <= taken <= 260
    assert away.asked <= 12  # once a second


@pytest.fixture
async def commands(redis_url: str) -> AsyncIterator[Commands]:
    """A connection to Redis."""
    connected = connect(redis_url, COUNT_SCRIPTS)
    yield connected
    await connected.close()


async def test_a_bucket_fills_up_by_the_clock_of_redis_and_goes_by_itself(commands: Commands) -> None:
    tokens = SharedTokens(commands, Keys("rates"))

    assert await tokens.take("publish", "key:a", 20.0, 50) == 20
    assert await tokens.take("publish", "key:a", 20.0, 50) == 0
    assert await tokens.take("publish", "key:b", 20.0, 5) == 5
    async with asyncio.timeout(5):
        while not await tokens.take("publish", "key:a", 20.0, 1):
            await asyncio.sleep(0.01)
    assert 0 < await commands.one(("PTTL", Keys("rates").tokens("publish", digest("key:a")))) <= 3000


async def test_a_rate_of_less_than_one_lets_one_through(commands: Commands) -> None:
    tokens = SharedTokens(commands, Keys("rates"))

    assert await tokens.take("publish", "key:slow", 0.1, 1) == 1
    assert await tokens.take("publish", "key:slow", 0.1, 1) == 0


async def test_several_nodes_share_one_rate_with_few_calls(commands: Commands) -> None:
    """Three nodes, each asked for far more than its share, for three seconds after the first second's worth is gone."""
    nodes = [Rates(SharedTokens(commands, Keys("rates")), lambda: 3) for _ in range(3)]
    caller = Caller("key:busy", publish_per_s=1000)
    taken = 0

    async def press(rates: Rates, until: float) -> None:
        nonlocal taken
        while loop.time() < until:
            let_through = await _publish(rates, caller, 10)
            taken += let_through
            await asyncio.sleep(0.004)

    loop = asyncio.get_running_loop()
    for measured_s in (1.5, 3.0):  # the first is not looked at
        taken, asked, begun = 0, sum(each.asked for each in nodes), loop.time()
        async with asyncio.TaskGroup() as tasks:
            for each in nodes:
                tasks.create_task(press(each, begun + measured_s))
        rate = taken / (loop.time() - begun)
        calls = sum(each.asked for each in nodes) - asked
    assert 950 <= rate <= 1050, rate
    assert calls < 200 * measured_s


async def test_a_redis_that_does_not_answer_holds_nobody_up() -> None:
    with RedisServer() as server:
        connected = connect(server.url, COUNT_SCRIPTS)
        rates = Rates(SharedTokens(connected, Keys("rates")), lambda: 2)
        caller = Caller("key:a", publish_per_s=100)
        try:
            await rates.permit(caller, 5)
            server.pause()
            async with asyncio.timeout(2):
                assert 40 <= await _publish(rates, caller, 500) <= 110
            assert rates.unanswered == 1
        finally:
            server.resume()
            await connected.close()
