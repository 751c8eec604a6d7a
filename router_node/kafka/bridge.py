"""A bridge: one member of a consumer group, whose records are published as events.

An offset is committed when its record, and every one before it in its partition, is done: appended, known as a
repeat, or a dead letter. So a crash repeats records and loses none; a record's own id, or the id made of its place,
lets the router know the repeat. One batch is published at a time, its records in their order, and what is refused for
now is offered again before anything newer: that keeps the order per key, and holds back Kafka, not filling memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import structlog

from router_client.errors import EventRouterError, InvalidInput, Overloaded, TooLarge, Unavailable
from router_client.event import Event
from router_client.kafka.library import aiokafka, faults, running_consumer
from router_client.kafka.records import Record, dead_record, read_event, read_payload
from router_client.kafka.url import KafkaUrl
from router_client.reconnect import Backoff
from router_node.clock import Clock
from router_node.contract import Published, Results
from router_node.destinations.voice import Voice
from router_node.kafka.bridge_settings import KafkaBridge
from router_node.kafka.producers import KafkaProducers

POLL_S = 0.2
COMMIT_EVERY_S = 0.5
PUBLISHED_WITHIN_S = 30.0
DEAD_LETTER_WITHIN_S, DEAD_LETTER_PAUSE_S = 10.0, 30.0
HANDED_OVER_WITHIN_S = 5.0
BACKOFF = Backoff(base_s=0.2, factor=2.0, max_s=10.0)

_Place = tuple[str, int]
"""A topic and the number of a partition; equal to aiokafka's TopicPartition."""


class Publish(Protocol):
    """See Engine.publish_events."""

    async def __call__(self, events: Sequence[Event | EventRouterError], *, ack: str) -> Results:
        """Publish events; an error among them comes back in its place."""
        ...


log = structlog.get_logger(__name__)


class Counts:
    """What all bridges of a node have done, for the metrics; ``running`` are those that are members of their group."""

    def __init__(self) -> None:
        self.records = self.appended = self.duplicates = self.refused = self.dead_lettered = self.skipped = 0
        self.held_back = self.failures = self.commits_failed = self.running = 0


class _Held(NamedTuple):
    """A record that is not done, and what it says: an event, or why there is none."""

    record: Record
    content: Event | EventRouterError


class Bridge:
    """Consumes while :meth:`run`; also the Member that is told of partitions that come and go."""

    def __init__(
        self,
        settings: KafkaBridge,
        url: KafkaUrl,
        group: str,
        publish: Publish,
        producers: KafkaProducers,
        clock: Clock,
        counts: Counts,
    ) -> None:
        self._settings = settings
        self._url = url
        self._group = group
        self._publish = publish
        self._producers = producers
        self._clock = clock
        self._counts = counts
        self._voice = Voice()
        self._consumer: Any = None
        self._read = read_payload if settings.records == "payload" else read_event
        self._done: dict[_Place, int] = {}
        self._committed: dict[_Place, int] = {}
        self._term = 0
        self._round = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._failed = 0
        self._burying_again_at = 0.0

    @property
    def lag(self) -> int:
        """Records in the partitions of this member that are not done, as far as was heard from the brokers."""
        if self._consumer is None:
            return 0
        owned = self._consumer.assignment()
        ends = {place: self._consumer.highwater(place) or 0 for place in self._done if place in owned}
        return sum(max(0, end - self._done[place]) for place, end in ends.items())

    def stop(self) -> None:
        """Take no more records; :meth:`run` ends when what it holds is done and committed."""
        self._stopping.set()

    async def run(self) -> None:
        """Be a member of the group until :meth:`stop`; what ends the membership is told, and another begun."""
        while not self._stopping.is_set():
            try:
                async with running_consumer(
                    self._url, self._group, self._settings.topics, self, start=self._settings.start
                ) as consumer:
                    self._consumer = consumer
                    self._counts.running += 1
                    try:
                        await self._consume(consumer)
                    finally:
                        self._counts.running -= 1
                        self._consumer = None
                        self._done.clear()
                        self._committed.clear()
            except faults() as error:
                await self._failing(error)
            except Exception as error:  # what one bridge brings to light is not to end the node
                log.exception("a fault of the router in a Kafka bridge", topics=self._settings.topics)
                await self._failing(error)

    async def _consume(self, consumer: Any) -> None:
        committed_at = self._clock.monotonic()
        while not self._stopping.is_set():
            found = await consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=self._settings.batch)
            term = self._term  # taken now: partitions may have come while it waited
            records = [record for of_partition in found.values() for record in of_partition]
            self._counts.records += len(records)
            await self._work_off([_Held(record, self._content(record)) for record in records], term)
            if not records or self._clock.monotonic() - committed_at >= COMMIT_EVERY_S:
                await self._commit(consumer)
                committed_at = self._clock.monotonic()
            self._failed = 0
        await self._commit(consumer)

    async def _work_off(self, held: list[_Held], term: int) -> None:
        """Publish until everything is done, the partitions are gone, or the node stops."""
        ends = {_place(each.record): each.record.offset + 1 for each in held}
        attempt = 0
        while held:
            async with self._round:
                if self._term != term:
                    return  # another member has them now
                self._done.update(ends | _firsts(held))
                held, wait_s = await self._offer(held)
                self._done.update(ends | _firsts(held))
            if not held:
                return
            attempt += 1
            self._counts.held_back += 1
            await self._pause(max(wait_s, BACKOFF.delay(attempt, 0.5 + self._clock.random() / 2)))
            if self._stopping.is_set():
                return

    def _content(self, record: Record) -> Event | EventRouterError:
        try:
            return self._read(record, self._settings.defaults)
        except InvalidInput as error:
            return error
        except Exception as error:  # what one record brings to light is not to end the node
            log.exception("a fault of the router in reading a Kafka record", topic=record.topic, offset=record.offset)
            return InvalidInput(f"a fault of the router: {type(error).__name__}: {error}")

    async def _offer(self, held: list[_Held]) -> tuple[list[_Held], float]:
        """Publish once; returns what has to be offered again, and how many seconds the router asked to wait."""
        try:
            async with asyncio.timeout(PUBLISHED_WITHIN_S):
                results = await self._publish([each.content for each in held], ack=self._settings.ack)
        except TimeoutError:
            results = [Unavailable(f"no answer within {PUBLISHED_WITHIN_S:g} s") for _ in held]
        except InvalidInput as error:  # of the level of the answer, say: no record is at fault
            results = [Unavailable(str(error)) for _ in held]
        except EventRouterError as error:
            results = [error for _ in held]
        again: list[_Held] = []
        refused: list[tuple[Record, EventRouterError]] = []
        wait_s = 0.0
        for each, result in zip(held, results, strict=True):
            if isinstance(result, Published):
                self._counts.appended += not result.duplicate
                self._counts.duplicates += result.duplicate
            elif isinstance(result, InvalidInput):
                refused.append((each.record, result))
            else:
                again.append(each)
                wait_s = max(wait_s, result.retry_after_s if isinstance(result, Overloaded) else 0.0)
                self._say_held_back(each.record, result)
        await self._bury(refused)
        return again, wait_s

    async def _bury(self, refused: Sequence[tuple[Record, EventRouterError]]) -> None:
        """Put what is no event into the dead-letter topic, or into the log; the partition goes on either way.

        A topic that does not take one record is spared the others for a while: they are not waited for one by one.
        """
        self._counts.refused += len(refused)
        skipped: dict[_Place, list[tuple[Record, EventRouterError]]] = {}
        for record, error in refused:
            if await self._buried(record, error):
                self._counts.dead_lettered += 1
            else:
                skipped.setdefault(_place(record), []).append((record, error))
        for (topic, partition), records in skipped.items():
            self._counts.skipped += len(records)
            log.warning(
                "Kafka records are no events and are skipped",
                topic=topic,
                partition=partition,
                offsets=[record.offset for record, _ in records],
                error=str(records[0][1]),
            )

    async def _buried(self, record: Record, error: EventRouterError) -> bool:
        topic = self._settings.dead_letter_topic
        if topic is None or self._clock.monotonic() < self._burying_again_at:
            return False
        try:
            dead = dead_record(record, str(error), error.code)
            await self._producers.send(self._url, topic, dead, DEAD_LETTER_WITHIN_S)
        except EventRouterError as failure:
            log.warning("a dead-letter topic takes nothing", topic=topic, error=str(failure))
            if not isinstance(failure, TooLarge):
                self._burying_again_at = self._clock.monotonic() + DEAD_LETTER_PAUSE_S
            return False
        return True

    async def _commit(self, consumer: Any) -> None:
        """Commit what is done. A commit that is refused repeats records: the group has given them to another member."""
        owned = consumer.assignment()
        offsets = {
            place: offset
            for place, offset in self._done.items()
            if place in owned and self._committed.get(place) != offset
        }
        if not offsets:
            return
        partition = aiokafka().TopicPartition
        try:
            async with asyncio.timeout(HANDED_OVER_WITHIN_S):
                await consumer.commit({partition(*place): offset for place, offset in offsets.items()})
        except faults() as error:
            self._counts.commits_failed += 1
            log.warning("offsets were not committed; their records come again", group=self._group, error=str(error))
        else:
            self._committed.update(offsets)

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Commit what was appended of partitions that go, and publish nothing more of what is held of them."""
        try:
            async with asyncio.timeout(HANDED_OVER_WITHIN_S), self._round:
                self._term += 1
        except TimeoutError:
            self._term += 1  # what is under way may be appended yet, and comes again: its ids let the router know
        if self._consumer is not None and revoked:
            await self._commit(self._consumer)
        self._done.clear()
        self._committed.clear()

    async def on_partitions_assigned(self, assigned: set[Any]) -> None:
        """Learn which partitions are this member's; reading goes on where they were committed."""
        log.info("a Kafka bridge has its part", group=self._group, partitions=len(assigned))

    async def _failing(self, error: Exception) -> None:
        self._counts.failures += 1
        self._failed += 1
        held_back = self._voice.may_say("failing", self._clock.monotonic())
        if held_back is not None:
            log.warning(
                "a Kafka bridge cannot consume; trying again",
                topics=self._settings.topics,
                error=f"{type(error).__name__}: {error}",
                like_it_before=held_back,
            )
        await self._pause(BACKOFF.delay(self._failed, 0.5 + self._clock.random() / 2))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _say_held_back(self, record: Record, error: EventRouterError) -> None:
        held_back = self._voice.may_say("held back", self._clock.monotonic())
        if held_back is not None:
            log.warning(
                "a Kafka bridge is held back by the router",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=str(error),
                like_it_before=held_back,
            )


def _place(record: Record) -> _Place:
    return record.topic, record.partition


def _firsts(held: Sequence[_Held]) -> dict[_Place, int]:
    """Return the offset of each partition's first record."""
    return {_place(each.record): each.record.offset for each in reversed(held)}
