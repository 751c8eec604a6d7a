"""A subscription over Kafka: one member of a consumer group, and what it holds."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from router_client.errors import ConnectionLost, EventRouterError, InvalidInput, Unavailable
from router_client.kafka.library import aiokafka, faults, running_consumer
from router_client.kafka.records import Record, key_text, read_event
from router_client.kafka.url import KafkaUrl
from router_client.options import ClientOptions
from router_client.reconnect import Backoff, Reconnector
from router_client.spec import RetryPolicy, SubscriptionSpec
from router_client.topics import matches
from router_client.transports.kafka_held import Held, Item, Place
from router_client.transports.port import Delivered, Inbox, Settlement
from router_client.wire import Failure

POLL_S = 0.1
COMMIT_EVERY_S = 0.5
COMMITTED_WITHIN_S = 3.0
HELD = 1000
"""Records held before no more are asked for; a batch may come on top, and aiokafka fetches ahead of each partition."""

BATCH = 500

Bury = Callable[[Record, str], Awaitable[None]]
"""Puts a record into the dead-letter topic, with why. Raises Unavailable."""

_log = logging.getLogger(__name__)


class KafkaChannel:
    """See Channel; also the Member that is told of partitions that come and go.

    Retries, attempts and acknowledgement timeouts are kept here, in memory: Kafka only knows how far a partition is
    done. ``bury`` is None when there is no dead-letter topic; then nothing is given up but what the subscriber rejects.
    """

    def __init__(
        self,
        url: KafkaUrl,
        group: str,
        topics: tuple[str, ...],
        spec: SubscriptionSpec,
        inbox: Inbox,
        bury: Bury | None,
    ) -> None:
        self.inbox = inbox
        self._url = url
        self._group = group
        self._topics = topics
        self._spec = spec
        self._bury = bury
        self._most = self._credit = 0
        self._close_timeout_s = COMMITTED_WITHIN_S
        self._held = Held()
        self._committed: dict[Place, int] = {}
        self._to_bury: list[tuple[Item, str]] = []
        self._room = asyncio.Event()
        self._closing = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._consumer: Any = None

    async def begin(self, credit: int, options: ClientOptions, ended: Callable[[], None]) -> None:
        """Join the group and begin to consume; ``ended`` is called when the channel has ended by itself.

        Raises ConnectionLost when the group gives no part within the request timeout and a session timeout.
        """
        self._most = self._credit = credit
        self._close_timeout_s = options.close_timeout_s
        joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(options, joined, ended), name=f"Kafka group {self._group}")
        limit_s = options.request_timeout_s + self._url.session_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await joined
        except BaseException as error:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])
            if isinstance(error, TimeoutError):
                raise ConnectionLost(f"the group {self._group} gave this member no part in {limit_s:g} s") from error
            raise

    def settle(self, settlement: Settlement, credit: int) -> None:
        """See Channel."""
        self._credit += credit
        for delivery_id in settlement.ack:
            item = self._held.back(delivery_id)
            if item is not None:
                self._held.settle(item)
        for failure in settlement.nack:
            self._failed(failure.delivery_id, failure)
        for failure in settlement.reject:
            item = self._held.back(failure.delivery_id)
            if item is not None:
                self._give_up(item, failure.error or "rejected")
        for delivery_id in settlement.extend:
            self._held.extend(delivery_id, time.monotonic() + self._spec.ack_timeout_s)
        self._room.set()
        self._deliver()

    async def close(self) -> None:
        """See Channel. Commits what is settled and leaves the group; what is not settled comes again."""
        self._closing.set()
        self._room.set()
        task, self._task = self._task, None
        if task is None:
            return
        try:
            await asyncio.wait([task], timeout=self._close_timeout_s)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, options: ClientOptions, joined: asyncio.Future[None], ended: Callable[[], None]) -> None:
        reconnector = Reconnector(options.backoff, options.max_reconnect_s)

        async def session() -> None:
            try:
                async with running_consumer(self._url, self._group, self._topics, self) as consumer:
                    self._consumer = consumer
                    reconnector.succeeded()
                    if not joined.done():
                        joined.set_result(None)
                    await self._consume(consumer)
            except faults() as error:
                raise ConnectionLost(f"{type(error).__name__}: {error}") from error
            finally:
                self._consumer = None
                self._forget()

        try:
            await reconnector.run(session)
        except EventRouterError as error:
            self._over(joined, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours: whoever waits must hear of it all the same
            _log.exception("the subscription of the group %s ended by a fault", self._group)
            self._over(joined, EventRouterError(f"a fault of the client: {type(error).__name__}: {error}"))
        finally:
            if self._waking is not None:
                self._waking.cancel()
            ended()

    def _over(self, joined: asyncio.Future[None], error: EventRouterError) -> None:
        if joined.done():
            self.inbox.ended(error)
        else:
            joined.set_exception(error)

    async def _consume(self, consumer: Any) -> None:
        committed_at = time.monotonic()
        while not self._closing.is_set():
            if len(self._held) < HELD:
                found = await consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=BATCH)
                for of_partition in found.values():
                    for record in of_partition:
                        self._take_in(record)
            else:
                found = {}
                await self._wait_for_room()
            for delivery_id in self._held.overdue(time.monotonic()):
                self._failed(delivery_id, Failure(delivery_id, None, "not acknowledged in time"))
            self._deliver()
            await self._bury_those_given_up()
            if not found or time.monotonic() - committed_at >= COMMIT_EVERY_S:
                await self._commit(consumer)
                committed_at = time.monotonic()
        await self._bury_those_given_up()
        await self._commit(consumer)

    async def _wait_for_room(self) -> None:
        self._room.clear()
        try:
            async with asyncio.timeout(POLL_S):
                await self._room.wait()
        except TimeoutError:
            pass

    def _take_in(self, record: Record) -> None:
        try:
            event = read_event(record)
        except InvalidInput as error:
            self._refuse(record, f"no event: {error}")
            return
        except Exception as error:  # noqa: BLE001 - what one record brings to light is not to end the subscription
            _log.exception("a fault in reading a record of %s", record.topic)
            self._refuse(record, f"a fault in reading it: {type(error).__name__}: {error}")
            return
        if any(matches(pattern, event.type) for pattern in self._spec.topics):
            ordered = self._spec.ordering != "none"
            self._held.add(Item(record, orjson.loads(event.encode()), event.correlation_id if ordered else None))
        else:
            self._held.skip((record.topic, record.partition), record.offset)

    def _refuse(self, record: Record, error: str) -> None:
        item = Item(record, {}, None)
        self._held.add_aside(item)
        self._give_up(item, error)

    def _deliver(self) -> None:
        """Hand out what may be, within credit, and look again when something is to be tried again."""
        if self._consumer is None or self._closing.is_set():
            return
        now = time.monotonic()
        most = min(self._credit, self._spec.max_in_flight - self._held.in_flight)
        taken = self._held.take(most, now, self._spec.ack_timeout_s)
        self._credit -= len(taken)
        if taken:
            self.inbox.push([Delivered(item.delivery_id, item.attempt, item.event) for item in taken])
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        at = self._held.next_retry_at()
        if at is not None and self._credit > 0:
            self._waking = asyncio.get_running_loop().call_later(max(at - now, 0.001), self._deliver)

    def _failed(self, delivery_id: str, failure: Failure) -> None:
        item = self._held.back(delivery_id)
        if item is None:
            return
        policy = self._spec.retry
        if self._bury is not None and item.attempt >= policy.max_attempts:
            self._give_up(item, f"{failure.error} ({item.attempt} attempts)")
            return
        delay_s = _delay_s(policy, item.attempt) if failure.delay_s is None else failure.delay_s
        self._held.retry(item, time.monotonic() + delay_s)

    def _give_up(self, item: Item, error: str) -> None:
        if self._bury is not None:
            self._to_bury.append((item, error))
            self._room.set()
            return
        _log.warning("%s is given up, and there is no dead-letter topic: %s", _name(item.record), error)
        self._held.settle(item)

    async def _bury_those_given_up(self) -> None:
        while self._to_bury and self._bury is not None:
            item, error = self._to_bury[0]
            try:
                await self._bury(item.record, error)
            except Unavailable as failure:
                _log.warning("%s waits for the dead-letter topic: %s", _name(item.record), failure)
                return
            if self._to_bury and self._to_bury[0][0] is item:  # else its partition went away meanwhile
                del self._to_bury[0]
                self._held.settle(item)

    async def _commit(self, consumer: Any) -> None:
        owned, partition = consumer.assignment(), aiokafka().TopicPartition
        offsets = {
            partition(*place): offset
            for place, offset in self._held.offsets().items()
            if place in owned and self._committed.get(place) != offset
        }
        if not offsets:
            return
        try:
            async with asyncio.timeout(COMMITTED_WITHIN_S):
                await consumer.commit(offsets)
        except faults() as error:
            _log.warning("offsets of %s were not committed; their events come again: %s", self._group, error)
        else:
            self._committed.update(offsets)

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Commit what is settled; what is not comes again, here or to another member."""
        if not revoked:
            return
        if self._consumer is not None:
            await self._commit(self._consumer)
        self._forget()

    def _forget(self) -> None:
        """What is not settled comes again; deliveries of it that the subscriber has are void."""
        self._held.clear()
        self._to_bury.clear()
        self._committed.clear()
        self._credit = self._most
        if not self._closing.is_set():
            self.inbox.reset()

    async def on_partitions_assigned(self, assigned: set[Any]) -> None:
        """Consume them from where they were committed."""


def _delay_s(policy: RetryPolicy, attempt: int) -> float:
    """Return the seconds until an event is tried again, as the policy says."""
    jitter = policy.jitter * random.uniform(-1, 1)  # noqa: S311
    return Backoff(policy.base_s, policy.factor, policy.max_s).ceiling(attempt) * (1 + jitter)


def _name(record: Record) -> str:
    return f"the record {record.topic}/{record.partition}/{record.offset} (key {key_text(record.key)})"
