"""What ``benchmarks.end_to_end`` runs by turns, and how one run is timed: the router and the loops written by hand."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import asyncpg
import redis

from benchmarks.cpu import CpuMeter
from benchmarks.report import Run
from benchmarks.role import Role, role
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

RUN_WITHIN_S = 300.0
OURS, PRIORITIES = "event router", "event router, ten priorities"
NOT_STORING = "event router, nothing stored"
LOOP, LOOP_ALONE = "hand-written loop", "hand-written loop, nothing stored"


@dataclass(frozen=True, slots=True)
class Servers:
    """The two servers that the systems share."""

    redis: RedisServer
    postgres: PostgresServer

    async def database(self) -> str:
        """Empty Redis and return the URL of a new database."""
        self.empty_redis()
        return await self.postgres.create_database()

    def empty_redis(self) -> None:
        """Forget all keys and scripts."""
        with redis.Redis.from_url(self.redis.url, socket_timeout=10) as connection:
            connection.flushall()
            connection.script_flush()

    def pids(self) -> dict[str, int]:
        """Return the process ids for the CPU meter."""
        return {"redis": self.redis.process.pid, "postgres": self.postgres.process.pid}


class Needs(NamedTuple):
    """What a machine must have for a system to be measured: modules of Python, and servers."""

    modules: tuple[str, ...] = ()
    server: Callable[[], object | None] | None = None
    install: str = ""

    def missing(self) -> str | None:
        """Return what to install, None when all is there."""
        modules = [module for module in self.modules if find_spec(module) is None]
        wanted = [f"{', '.join(modules)} (pip install -e '.[bench]')"] if modules else []
        if self.server is not None and self.server() is None:
            wanted.append(self.install)
        return " and ".join(wanted) or None


class System(NamedTuple):
    """A system to measure: its name, how many events it gets, how to run it once, and what that needs."""

    name: str
    events: int
    run: Callable[[Servers, int], Awaitable[Run]]
    needs: Needs = Needs()


def ours(events: int) -> System:
    """Return the router as it is."""
    return System(OURS, events, run_event_router)


def not_storing(events: int) -> System:
    """Return the router with neither events nor attempts written to PostgreSQL."""
    settings = {"ER_PERSIST": "none", "ER_DELIVERY_LOG": "off"}
    return System(NOT_STORING, events, partial(run_event_router, name=NOT_STORING, **settings))


def with_priorities(events: int) -> System:
    """Return the router with events of all ten priorities in turn."""
    return System(PRIORITIES, events, partial(run_event_router, name=PRIORITIES, publishing=("--priorities",)))


def loops(events: int) -> list[System]:
    """Return the loop written by hand, with PostgreSQL and without."""
    return [System(LOOP, events, run_loop), System(LOOP_ALONE, events, run_loop_alone)]


async def run_event_router(
    servers: Servers, count: int, name: str = OURS, publishing: Sequence[str] = (), **settings: Any
) -> Run:
    """Run the router: one node, a publisher and a consumer over WebSocket; ``publishing`` is for the publisher."""
    url = await servers.database()
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(NodeProcess(redis_url=servers.redis.url, database_url=url, **settings))
        address = node.url.replace("http://", "ws://")
        arguments = ("--url", address, "--count", str(count))
        consumer = await stack.enter_async_context(role("consumer", "benchmarks.event_router", "consume", *arguments))
        producer = await stack.enter_async_context(
            role("producer", "benchmarks.event_router", "produce", *arguments, *publishing)
        )
        database = await asyncpg.connect(url, timeout=10)
        stack.push_async_callback(database.close)

        async def all_stored() -> float:
            await wait_for(lambda: _has_rows(database, count), RUN_WITHIN_S, f"{count} rows in PostgreSQL")
            return time.monotonic()

        pids = {**servers.pids(), "node": node.process.pid}
        until = None if settings.get("ER_PERSIST") == "none" else all_stored
        return await timed(name, count, producer, consumer, pids, until)


async def run_loop(servers: Servers, count: int) -> Run:
    """Run the loop written by hand."""
    url = await servers.database()
    return await run_parts(
        LOOP, "benchmarks.handwritten", servers.pids(), count, "--redis", servers.redis.url, "--database", url
    )


async def run_loop_alone(servers: Servers, count: int) -> Run:
    """Run the loop written by hand, which stores nothing."""
    servers.empty_redis()
    return await run_parts(
        LOOP_ALONE, "benchmarks.handwritten", {"redis": servers.pids()["redis"]}, count, "--redis", servers.redis.url
    )


async def run_parts(name: str, module: str, pids: Mapping[str, int], count: int, *arguments: str) -> Run:
    """Run a module's ``consume`` and ``produce``, each in a process of its own, with the same arguments."""
    every = (*arguments, "--count", str(count))
    async with (
        role("consumer", module, "consume", *every) as consumer,
        role("producer", module, "produce", *every) as producer,
    ):
        return await timed(name, count, producer, consumer, pids)


async def timed(
    name: str,
    count: int,
    producer: Role,
    consumer: Role,
    pids: Mapping[str, int],
    until: Callable[[], Awaitable[float]] | None = None,
) -> Run:
    """Let two parts that are ready do their work, from the first publish to the last acknowledgement or ``until``."""
    meter = CpuMeter({"producer": producer.pid, "consumer": consumer.pid, **pids})
    producer.begin()
    began = (await producer.result(RUN_WITHIN_S))["began"]
    consumed = await consumer.result(RUN_WITHIN_S)
    if consumed["delivered"] != count:
        raise AssertionError(f"{name} delivered {consumed['delivered']} of {count} events")
    ended = consumed["ended"]
    if until is not None:
        ended = max(ended, await until())
    return Run(name, count, ended - began, meter.spent())


async def _has_rows(database: asyncpg.Connection, count: int) -> bool:
    return bool(await database.fetchval("SELECT count(*) FROM events", timeout=30) >= count)
