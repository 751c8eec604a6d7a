"""One Redis server: connections that many calls share, what is only told, and servers that hang or talk nonsense."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from partitioning.errors import RedisUnavailable
from partitioning.redis_pipeline import RedisPipeline
from tests.support.listening import heard_by
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

TIMEOUT_S = 0.5


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    with RedisServer().start() as server:
        yield server


@pytest.fixture
async def pipeline(own_redis_server: RedisServer) -> AsyncIterator[RedisPipeline]:
    made = RedisPipeline(own_redis_server.url, [], connections=3, timeout_s=TIMEOUT_S)
    yield made
    await made.close()


async def clients(pipeline: RedisPipeline) -> int:
    listed: bytes = await pipeline.one(("CLIENT", "LIST"))
    return len(listed.splitlines())


async def test_many_calls_share_few_connections_and_each_gets_its_own_replies(pipeline: RedisPipeline) -> None:
    async def call(n: int) -> None:
        assert await pipeline.run([("ECHO", f"{n}.{k}") for k in range(3)]) == [f"{n}.{k}".encode() for k in range(3)]

    async with asyncio.TaskGroup() as tasks:
        for n in range(500):
            tasks.create_task(call(n))
    assert await clients(pipeline) == 3


async def test_who_is_alone_needs_one_connection(pipeline: RedisPipeline) -> None:
    for n in range(20):
        assert await pipeline.one(("ECHO", n)) == str(n).encode()
    assert await clients(pipeline) == 1


async def test_an_error_is_the_reply_of_its_command_alone(pipeline: RedisPipeline) -> None:
    good, bad, after = await pipeline.run([("SET", "k", "v"), ("LPUSH", "k", "x"), ("GET", "k")])
    assert (good, after) == (b"OK", b"v")
    assert "WRONGTYPE" in repr(bad) or "wrong kind" in str(bad)


async def test_a_call_that_waits_holds_up_no_other(pipeline: RedisPipeline) -> None:
    began = time.monotonic()
    waiting = asyncio.create_task(pipeline.run([("SET", "k", "v"), ("WAIT", 1, 300)]))
    for n in range(20):
        await pipeline.one(("ECHO", n))
    assert not waiting.done()
    assert await waiting == [b"OK", 0]
    assert time.monotonic() - began >= 0.3


async def test_a_server_that_hangs_fails_who_waits_and_is_asked_anew(
    pipeline: RedisPipeline, own_redis_server: RedisServer
) -> None:
    await pipeline.one(("PING",))
    own_redis_server.pause()
    began = time.monotonic()
    answers = await asyncio.gather(*(pipeline.one(("ECHO", n)) for n in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {RedisUnavailable}
    assert TIMEOUT_S * 0.9 < time.monotonic() - began < TIMEOUT_S * 3
    own_redis_server.resume()
    assert await pipeline.one(("ECHO", "again")) == b"again"


async def test_a_server_that_goes_fails_who_waits_at_once(
    pipeline: RedisPipeline, own_redis_server: RedisServer
) -> None:
    waiting = asyncio.create_task(pipeline.run([("WAIT", 1, 400)]))
    await wait_for(lambda: pipeline._patient.open, 2, "it is asked")
    await pipeline.one(("PING",))
    own_redis_server.kill()
    with pytest.raises(RedisUnavailable):
        await asyncio.wait_for(waiting, TIMEOUT_S / 2)


async def test_what_does_not_speak_redis_is_said() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        pipeline = RedisPipeline(f"redis://127.0.0.1:{port}/0", [], timeout_s=TIMEOUT_S)
        with pytest.raises(RedisUnavailable, match="does not let us in"):
            await pipeline.one(("PING",))
        await pipeline.close()


async def test_what_the_url_asks_for_and_the_server_refuses_is_said(own_redis_server: RedisServer) -> None:
    pipeline = RedisPipeline(own_redis_server.url.removesuffix("/0") + "/99", [], timeout_s=TIMEOUT_S)
    with pytest.raises(RedisUnavailable, match="DB index"):
        await pipeline.one(("PING",))
    await pipeline.close()


async def test_what_is_told_comes_in_order_and_nobody_waits(pipeline: RedisPipeline) -> None:
    assert not pipeline.can_tell(), "there is no connection yet"
    assert not pipeline.tell([("PUBLISH", "news", "lost")])
    await pipeline.ready_to_tell()
    async with heard_by(pipeline, "news") as messages:
        for n in range(100):
            assert pipeline.tell([("PUBLISH", "news", f"{n}.{k}") for k in range(3)])
        heard = [(await anext(messages))[1] for _ in range(300)]
    assert heard == [f"{n}.{k}".encode() for n in range(100) for k in range(3)]
    assert await pipeline.one(("ECHO", "x")) == b"x", "no reply was left over"


async def test_what_is_told_before_closing_is_still_sent(
    pipeline: RedisPipeline, own_redis_server: RedisServer
) -> None:
    other = RedisPipeline(own_redis_server.url, [])
    await other.ready_to_tell()
    async with heard_by(pipeline, "news") as messages:
        other.tell([("PUBLISH", "news", "last words")])
        await other.close()
        assert await anext(messages) == ("news", b"last words")


async def test_a_server_that_takes_nothing_more_is_not_told_for_ever(
    pipeline: RedisPipeline, own_redis_server: RedisServer
) -> None:
    await pipeline.ready_to_tell()
    own_redis_server.pause()
    pipeline.tell([("PUBLISH", "news", "into the void")])
    await wait_for(lambda: not pipeline.can_tell(), TIMEOUT_S * 4, "the connection is given up")
    with pytest.raises(RedisUnavailable):
        await pipeline.ready_to_tell()
    own_redis_server.resume()
    await pipeline.ready_to_tell()
    assert pipeline.tell([("SET", "k", "told")])
    assert await pipeline.one(("GET", "k")) == b"told"


@pytest.mark.parametrize("resumed", [True, False])
async def test_who_tells_more_than_is_taken_has_to_wait(
    pipeline: RedisPipeline, own_redis_server: RedisServer, resumed: bool
) -> None:
    await pipeline.ready_to_tell()
    pipeline.tell([("SET", "k", "v")])
    (wire,) = pipeline._told.open
    await wait_for(lambda: not wire.under_way, 2, "it has answered lately")
    own_redis_server.pause()
    written = 0
    while pipeline.can_tell() and written < 500:
        pipeline.tell([("SET", "k", b"x" * 100_000)])
        written += 1
        await asyncio.sleep(0)
    assert written < 500, "what waits here is bounded"
    if resumed:
        own_redis_server.resume()
        await pipeline.ready_to_tell()
        return
    with pytest.raises(RedisUnavailable):
        async with asyncio.timeout(TIMEOUT_S * 4):
            await pipeline.ready_to_tell()


async def test_listening_ends_when_the_server_goes(pipeline: RedisPipeline, own_redis_server: RedisServer) -> None:
    async with heard_by(pipeline, "news") as messages:
        await pipeline.one(("PUBLISH", "news", "x"))
        assert await anext(messages) == ("news", b"x")
        own_redis_server.kill()
        with pytest.raises(RedisUnavailable):
            await anext(messages)
    with pytest.raises(RedisUnavailable):
        async with heard_by(pipeline, "news"):
            pass


async def test_renewed_connections_finish_what_is_under_way_and_are_closed(pipeline: RedisPipeline) -> None:
    waiting = asyncio.create_task(pipeline.run([("WAIT", 1, 200)]))
    await wait_for(lambda: pipeline._patient.open, 2, "it is asked")
    await pipeline.one(("PING",))
    await pipeline.renew()
    assert await waiting == [0]

    async def alone() -> bool:
        return await clients(pipeline) == 1

    await wait_for(alone, 2, "only the new one is left")


async def test_closing_fails_who_waits_and_later_calls_connect_anew(pipeline: RedisPipeline) -> None:
    waiting = asyncio.create_task(pipeline.run([("WAIT", 1, 400)]))
    await wait_for(lambda: pipeline._patient.open, 2, "it is asked")
    await asyncio.sleep(0)
    await pipeline.close()
    with pytest.raises(RedisUnavailable):
        await waiting
    assert await pipeline.one(("ECHO", "x")) == b"x"
