"""``kafka://``: the SDK's transport over Kafka topics, which a router's bridge reads and a Kafka destination fills.

``kafka://host:port/?publish=TOPIC&consume=TOPIC&group=NAME&dead_letters=TOPIC``; see docs/kafka.md for what holds over
it and what does not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NoReturn

from router_client.errors import (
    ClosedError,
    Conflict,
    ConnectionLost,
    EventRouterError,
    InvalidInput,
    TooLarge,
    Unavailable,
)
from router_client.event import Event, from_object
from router_client.json_input import loads
from router_client.kafka.library import aiokafka, faults, new_producer, stop_producer
from router_client.kafka.records import Outgoing, Record, dead_record, write_event
from router_client.kafka.url import KafkaUrl, check_kafka_topic
from router_client.options import ClientOptions
from router_client.spec import SubscriptionSpec
from router_client.transports.admission import Admission
from router_client.transports.kafka_channel import KafkaChannel
from router_client.transports.port import Channel, Inbox, Outcome, PublishResult, Records

LOOK_S = 0.05
OPTIONS = ("publish", "consume", "group", "dead_letters")

_log = logging.getLogger(__name__)


class KafkaTransport:
    """See Transport. A publish is answered when all replicas in sync have the record.

    Nobody knows then which partition of the router its event will be in, nor whether it is a repeat: both are None.
    """

    ordered_batches = 8

    def __init__(self, url: str, options: ClientOptions) -> None:
        self._url = KafkaUrl.parse(url, more=OPTIONS)
        given = self._url.options
        self._to = _topic(given, "publish")
        consumed = [each for each in given.get("consume", "").split(",") if each]
        self._from = tuple(check_kafka_topic(each, "url.consume") for each in consumed)
        self._dead_letters = _topic(given, "dead_letters")
        self._group = given.get("group") or None
        self._options = options
        self._producer: Any = None
        self._closed = False
        self._turn = asyncio.Lock()
        self._admission = Admission(options)
        self._channels: dict[str, KafkaChannel] = {}
        self.records: Records = _NoRecords()

    async def start(self) -> None:
        """See Transport. Raises InvalidInput when the package for Kafka is not installed."""
        try:
            producer = new_producer(self._url, timeout_s=self._options.publish_timeout_s)
        except OSError as error:
            raise InvalidInput(f"the certificates cannot be read: {error}", field="url") from error
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                await producer.start()
                await producer.client.force_metadata_update()  # over a connection that is kept
        except faults() as error:  # OSError: a TimeoutError too
            await stop_producer(producer, 0)
            raise ConnectionLost(f"{','.join(self._url.brokers)}: {type(error).__name__}: {error}") from error
        except BaseException:
            await stop_producer(producer, 0)
            raise
        self._producer = producer

    async def close(self) -> None:
        """See Transport."""
        self._closed = True
        if not await self._admission.ended(self._options.close_timeout_s):
            _log.warning("closed with publishes unanswered")
        for channel in list(self._channels.values()):
            await channel.close()
            channel.inbox.ended(ClosedError("the client is closed"))
        self._channels.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer, self._options.close_timeout_s)

    async def publish(self, bodies: Sequence[bytes], ack: str) -> list[Outcome]:
        """See Transport. ``ack`` is ``accepted`` alone: Raises InvalidInput for another, and without ``publish=``.

        The events are checked here, as the router is not there to refuse one.
        """
        if self._closed or self._producer is None:
            raise ClosedError("the client is closed")
        if self._to is None:
            raise InvalidInput("names no topic to publish to; add ?publish=TOPIC", field="url")
        if ack != "accepted":
            raise InvalidInput("over kafka:// accepted alone: what the router does is not known here", field="ack")
        self._admission.connected = self._connected()
        if not self._admission.connected:
            self._producer.client.force_metadata_update()  # aiokafka connects when it has something to ask
        async with self._admission.publish():
            return await self._watched(self._send(self._to, bodies))

    async def _watched(self, sending: Coroutine[Any, Any, list[Outcome]]) -> list[Outcome]:
        """Wait for a publish, but for a connection no longer than the options say."""
        options = self._options
        patience_s = 0.0 if options.while_disconnected == "fail" else options.max_reconnect_s
        if patience_s is None:
            return await sending
        publishing = asyncio.create_task(sending)
        connected_at = time.monotonic()
        try:
            while not (await asyncio.wait([publishing], timeout=LOOK_S))[0]:
                now = time.monotonic()
                if self._connected():
                    connected_at = now
                elif now - connected_at >= patience_s:
                    raise ConnectionLost("no connection to a broker; publishing the same ids again is safe")
            return publishing.result()
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])

    def _connected(self) -> bool:
        """aiokafka tells nobody that it has lost its brokers, but its connections can be looked at."""
        return any(connection.connected() for connection in self._producer.client._conns.values())

    async def _send(self, topic: str, bodies: Sequence[bytes]) -> list[Outcome]:
        async with self._turn:  # records of a key are put in line as they were published
            sent = [await self._put(topic, body) for body in bodies]
        return [each if isinstance(each, EventRouterError) else await self._acknowledged(*each) for each in sent]

    async def _put(self, topic: str, body: bytes) -> tuple[Event, Any] | EventRouterError:
        try:
            event = from_object(loads(body, "event"))
        except InvalidInput as error:
            return error
        record = write_event(body)
        try:
            sent = await self._producer.send(topic, record.value, record.key, headers=record.headers)
        except faults() as error:
            return _fault(error)
        sent.add_done_callback(_heard)  # a publish that is cancelled hears of no failure
        return event, sent

    async def _acknowledged(self, event: Event, waiting: Any) -> Outcome:
        try:
            await waiting
        except faults() as error:
            return _fault(error)
        return PublishResult(event.id, None, None)

    async def subscribe(self, spec: SubscriptionSpec, inbox: Inbox, credit: int) -> Channel:
        """See Transport. The group is ``group=``, else the subscription's name.

        Raises InvalidInput for what only a router can do (a filter, an ephemeral subscription), and ConnectionLost.
        """
        if self._closed or self._producer is None:
            raise ClosedError("the client is closed")
        if not self._from:
            raise InvalidInput("names no topic to consume; add ?consume=TOPIC", field="url")
        _check(spec)
        group = self._group or spec.name
        if group in self._channels:
            raise Conflict(f"this client has a subscription of the group {group} open already", field="name")
        bury = None if self._dead_letters is None else self._bury
        channel = KafkaChannel(self._url, group, self._from, spec, inbox, bury)
        self._channels[group] = channel

        def ended() -> None:
            if self._channels.get(group) is channel:
                del self._channels[group]

        await channel.begin(credit, self._options, ended)
        return channel

    async def _bury(self, record: Record, error: str) -> None:
        dead: Outgoing = dead_record(record, error)
        try:
            async with asyncio.timeout(self._options.request_timeout_s):
                await self._producer.send_and_wait(self._dead_letters, dead.value, dead.key, headers=dead.headers)
        except faults() as failure:
            raise Unavailable(f"{type(failure).__name__}: {failure}") from failure


class _NoRecords:
    """See Records: there is none to ask."""

    async def event(self, event_id: str) -> dict[str, Any]:
        """Raises InvalidInput."""
        _no_records()

    async def events(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Raises InvalidInput."""
        _no_records()

    async def dead_letters(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Raises InvalidInput."""
        _no_records()

    async def replay_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """Raises InvalidInput."""
        _no_records()


def _no_records() -> NoReturn:
    raise InvalidInput("what is stored is asked of a router: open a client with its http:// or ws:// URL", field="url")


def _topic(options: Mapping[str, str], name: str) -> str | None:
    return check_kafka_topic(options[name], f"url.{name}") if options.get(name) else None


def _check(spec: SubscriptionSpec) -> None:
    """Refuse what nobody would do: the subscription that fills the topic is the router's, and not changed from here."""
    if spec.filter:
        raise InvalidInput("give it to the router's subscription that fills the topic", field="filter")
    if not spec.durable:
        raise InvalidInput("an ephemeral subscription needs a ws:// or memory:// client", field="durable")
    if spec.on_dead_letter != "release":
        raise InvalidInput("over kafka:// a key always goes on behind its dead letter", field="on_dead_letter")


def _heard(sent: asyncio.Future[Any]) -> None:
    if not sent.cancelled():
        sent.exception()


def _fault(error: Exception) -> EventRouterError:
    errors = aiokafka().errors
    if isinstance(error, errors.ProducerClosed):
        return ClosedError("the client is closed")
    if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordTooLargeError):
        return TooLarge(f"Kafka takes no such record: {error}", field="event")
    if isinstance(error, errors.UnknownTopicOrPartitionError | errors.TopicAuthorizationFailedError):
        return Unavailable(f"{type(error).__name__}: {error}")
    return ConnectionLost(f"{type(error).__name__}: {error}; publishing the same id again is safe")
