"""An embedded node with bridges to a real broker, and a subscriber that notes what comes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from router_client.errors import EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.config import Settings
from router_node.contract import Attachment, Delivery, Settlement
from router_node.node import Node, embedded
from tests.support.kafka_server import KafkaServer
from tests.support.signals import wait_for

SESSION_S = 1.0
"""How long a group waits for a silent member, and the test broker, half of it, for the first members to gather."""


def topic_of(server: KafkaServer, partitions: int = 1, what: str = "in") -> str:
    """Make a topic with a name of its own."""
    name = f"{what}-{secrets.token_hex(4)}"
    server.create_topic(name, partitions)
    return name


def url_of(server: KafkaServer, **options: object) -> str:
    """Return the broker's URL."""
    query = "&".join(f"{name}={value}" for name, value in {"session_timeout_s": SESSION_S, **options}.items())
    return f"kafka://{server.bootstrap}/?{query}"


@asynccontextmanager
async def bridged(server: KafkaServer, *bridges: dict[str, Any], **settings: Any) -> AsyncIterator[Node]:
    """Run a node with bridges; each has a group of its own unless it names one."""
    given: Any = [{"group": f"group-{secrets.token_hex(4)}", **bridge} for bridge in bridges]
    values = {"database_url": "sqlite:///:memory:", "kafka_url": url_of(server), "kafka_bridges": given, **settings}
    async with embedded(settings=Settings(**values)) as node:
        yield node


class Taking:
    """A consumer that acks, and notes the events in their order."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.attachment: Attachment | None = None
        self._early: list[str] = []

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self.events += [orjson.loads(each.body) for each in deliveries]
        asyncio.get_running_loop().call_soon(self._ack, [each.delivery_id for each in deliveries])

    def _ack(self, delivery_ids: list[str]) -> None:
        if self.attachment is None:
            asyncio.get_running_loop().call_later(0.01, self._ack, delivery_ids)
            return
        self.attachment.settle(Settlement(ack=delivery_ids))
        self.attachment.add_credit(len(delivery_ids))

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""

    @property
    def ids(self) -> list[str]:
        """The ids of the events, in the order they came."""
        return [event["id"] for event in self.events]

    async def has(self, count: int, within_s: float = 15.0) -> None:
        """Wait for so many events."""
        await wait_for(lambda: len(self.events) >= count, within_s, f"{count} events")


async def taking(node: Node, *topics: str, name: str = "taking") -> Taking:
    """Subscribe."""
    consumer = Taking()
    spec = SubscriptionSpec.from_object(name, {"topics": list(topics or (">",)), "max_in_flight": 10_000})
    consumer.attachment = await node.engine.open(spec, consumer, 5_000)
    return consumer
