"""The peers of ``benchmarks.end_to_end``: frameworks on Redis, and message brokers that bring a server of their own."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

from benchmarks.nats_server import NatsServer, nats_binary
from benchmarks.rabbitmq_server import RabbitmqServer, rabbitmq_folder
from benchmarks.report import Run
from benchmarks.systems import Needs, Servers, System, run_parts

FASTSTREAM, FASTSTREAM_BATCH = "FastStream", "FastStream batch=True"
TASKIQ, ARQ = "taskiq-redis", "arq"
JETSTREAM, RABBITMQ = "NATS JetStream", "RabbitMQ"
PACKAGES = ("event-router", "redis", "asyncpg", "faststream", "taskiq", "taskiq-redis", "arq", "nats-py", "aio-pika")


def peers(events: int, slow_events: int) -> list[System]:
    """Return every peer; those whose consumers ask Redis about each event get ``slow_events``."""
    on_nats = Needs(("nats",), nats_binary, "nats-server (apt-get install nats-server)")
    faststream = Needs(("faststream",))
    on_rabbitmq = Needs(("aio_pika",), rabbitmq_folder, "rabbitmq-server (apt-get install rabbitmq-server)")
    return [
        System(JETSTREAM, events, run_jetstream, on_nats),
        System(RABBITMQ, events, run_rabbitmq, on_rabbitmq),
        System(FASTSTREAM_BATCH, events, _on_redis(FASTSTREAM_BATCH, "faststream_streams", "--batch"), faststream),
        System(FASTSTREAM, slow_events, _on_redis(FASTSTREAM, "faststream_streams"), faststream),
        System(TASKIQ, slow_events, _on_redis(TASKIQ, "taskiq_streams"), Needs(("taskiq", "taskiq_redis"))),
        System(ARQ, slow_events, _on_redis(ARQ, "arq_jobs"), Needs(("arq",))),
    ]


async def run_jetstream(_: Servers, count: int) -> Run:
    """Run NATS JetStream on a server of its own."""
    with NatsServer() as server:
        pids = {"broker": server.process.pid}
        return await run_parts(JETSTREAM, "benchmarks.nats_jetstream", pids, count, "--url", server.url)


async def run_rabbitmq(_: Servers, count: int) -> Run:
    """Run RabbitMQ on a server of its own."""
    with RabbitmqServer() as server:
        pids = {"broker": server.process.pid}
        return await run_parts(RABBITMQ, "benchmarks.rabbitmq_queue", pids, count, "--url", server.url)


async def run_on_redis(name: str, module: str, extra: tuple[str, ...], servers: Servers, count: int) -> Run:
    """Run a peer on the Redis that all share."""
    servers.empty_redis()
    pids = {"redis": servers.redis.process.pid}
    return await run_parts(name, module, pids, count, "--redis", servers.redis.url, *extra)


def _on_redis(name: str, module: str, *extra: str) -> partial[Coroutine[Any, Any, Run]]:
    return partial(run_on_redis, name, f"benchmarks.{module}", extra)
