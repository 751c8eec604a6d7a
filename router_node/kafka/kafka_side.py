"""A node's side to Kafka: the bridges it runs, the producers they share with destinations, and what those may reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from router_client.errors import InvalidInput
from router_client.kafka.library import aiokafka
from router_client.kafka.records import Outgoing
from router_client.kafka.url import KafkaUrl
from router_node.clock import Clock
from router_node.config import ConfigError, Settings
from router_node.kafka.bridge import Bridge, Counts, Publish
from router_node.kafka.bridge_settings import Outlets
from router_node.kafka.producers import KafkaProducers, Placed

DRAIN_S = 5.0


class KafkaSide:
    """Nothing of it runs, and aiokafka is not imported, unless the settings name Kafka."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._producers = KafkaProducers()
        self._outlets = Outlets(settings.kafka_destinations)
        self._bridges: list[Bridge] = []
        self.counts = Counts()

    @property
    def lag(self) -> int:
        """Records that this node's bridges have still to read of their partitions."""
        return sum(bridge.lag for bridge in self._bridges)

    def check_destination(self, destination: Mapping[str, object]) -> None:
        """Refuse a Kafka destination that the operator does not allow. Raises InvalidInput."""
        if destination["kind"] == "kafka":
            self._outlets.find(destination)
            aiokafka("destination.kind")

    async def send(self, destination: Mapping[str, object], record: Outgoing, timeout_s: float) -> Placed:
        """Send to a destination. Raises InvalidInput for one that is not allowed here, else as KafkaProducers.send."""
        return await self._producers.send(self._outlets.find(destination), str(destination["topic"]), record, timeout_s)

    @asynccontextmanager
    async def serving(self, publish: Publish) -> AsyncIterator[None]:
        """Run the bridges for the length of a block, then let them end what they hold, for ``DRAIN_S`` at most.

        Raises ConfigError when Kafka is asked for and its package is not there.
        """
        self._bridges = self._made(publish)
        async with self._producers.serving(), asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(bridge.run(), name="Kafka bridge") for bridge in self._bridges]
            try:
                yield
            finally:
                for bridge in self._bridges:
                    bridge.stop()
                if running:
                    await asyncio.wait(running, timeout=DRAIN_S)
                for task in running:
                    task.cancel()

    def _made(self, publish: Publish) -> list[Bridge]:
        settings = self._settings
        if not settings.kafka_bridges:
            return []
        try:
            aiokafka()
        except InvalidInput as error:
            raise ConfigError([f"kafka_bridges (ER_KAFKA_BRIDGES): {error.detail}"]) from error
        url = KafkaUrl.parse(settings.kafka_url or "", name="kafka_url")
        return [
            Bridge(each, url, each.group_in(settings.cluster), publish, self._producers, self._clock, self.counts)
            for each in settings.kafka_bridges
        ]
