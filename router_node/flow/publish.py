"""Publish: what enters the router is checked, encoded unless it came so, given its partition, and appended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from msgspec import Raw

from partitioning.slots import slot_of
from router_client.errors import EventRouterError, InvalidInput, Unavailable
from router_client.event import MAX_EVENT_BYTES, Event, checked, complete, encode_object
from router_client.json_input import loads
from router_client.kept_form import Kept
from router_node.contract import Published, Results
from router_node.log.port import NewRecord

ACK_LEVELS = ("accepted", "replicated", "stored")
MAX_DELAY = timedelta(days=30)

Accepted = tuple[str, NewRecord] | EventRouterError
Appended = list[tuple[NewRecord, bool | EventRouterError]]
HandIn = Callable[[Sequence[NewRecord], Callable[[Appended | EventRouterError], None]], None]


class Publisher:
    """Turns event objects into appended records; one answer for each, in order.

    ``place`` finds a slot's partition, and by which number of partitions; ``now_us`` is the log's time; ``refused`` are
    levels that cannot be had, each with the reason.
    """

    def __init__(
        self,
        place: Callable[[int], tuple[int, int]],
        append: HandIn,
        append_replicated: HandIn,
        stored: Callable[[Collection[str]], Awaitable[set[str]]],
        now_us: Callable[[], int],
        max_event_bytes: int = MAX_EVENT_BYTES,
        refused: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._place = place
        self._append = append
        self._append_replicated = append_replicated
        self._stored = stored
        self._now_us = now_us
        self._max_event_bytes = max_event_bytes
        self._refused = refused

    async def publish(self, objects: Sequence[object], *, ack: str = "accepted") -> Results:
        """See Engine.publish."""
        return await self._publish([self._read(body) for body in objects], ack)

    async def publish_events(self, events: Sequence[Event | EventRouterError], *, ack: str = "accepted") -> Results:
        """See Engine.publish_events."""
        return await self._publish([self._take(event) if isinstance(event, Event) else event for event in events], ack)

    def begin(self, objects: Sequence[object], done: Callable[[Results | EventRouterError], None]) -> None:
        """See Engine.begin_publish."""
        accepted = [self._read(body) for body in objects]
        self._hand_in(self._append, accepted, [each[1] for each in accepted if type(each) is tuple], done)

    async def _publish(self, accepted: Sequence[Accepted], ack: str) -> Results:
        if ack not in ACK_LEVELS:
            raise InvalidInput(f"one of {', '.join(ACK_LEVELS)}", field="ack")
        if ack in self._refused:
            raise InvalidInput(self._refused[ack], field="ack")
        records = [each[1] for each in accepted if type(each) is tuple]
        if ack == "stored":
            ids = [each[0] for each in accepted if type(each) is tuple]
            records = [record._replace(kept=event_id) for record, event_id in zip(records, ids, strict=True)]
        append = self._append_replicated if ack == "replicated" else self._append
        answer: asyncio.Future[Results] = asyncio.get_running_loop().create_future()
        self._hand_in(append, accepted, records, partial(_resolve, answer))
        results = await answer
        return await self._when_stored(results) if ack == "stored" else results

    @staticmethod
    def _hand_in(
        append: HandIn,
        accepted: Sequence[Accepted],
        records: Sequence[NewRecord],
        done: Callable[[Results | EventRouterError], None],
    ) -> None:
        def appended(answers: Appended | EventRouterError) -> None:
            done(answers if isinstance(answers, EventRouterError) else _results(accepted, answers))

        if records:
            append(records, appended)
        else:
            appended([])

    async def _when_stored(self, results: Results) -> Results:
        stored = await self._stored({each.id for each in results if isinstance(each, Published)})
        return [each if not isinstance(each, Published) or each.id in stored else _not_stored(each) for each in results]

    def _read(self, body: object) -> Accepted:
        try:
            if type(body) is Kept and len(body.body) <= self._max_event_bytes:
                return body.id, self._placed(body.id, body.correlation_id, body.priority, body.body, True)
            if isinstance(body, Kept | Raw):
                body = loads(body.body if isinstance(body, Kept) else bytes(body), "event")
            values = checked(body)
            return self._record(complete(values), "id" in values)
        except EventRouterError as error:
            return error

    def _take(self, event: Event) -> Accepted:
        try:
            return self._record(event.to_object(), True)
        except EventRouterError as error:
            return error

    def _record(self, event: dict[str, Any], id_was_chosen: bool) -> tuple[str, NewRecord]:
        if "deliver_at" in event or "expires_at" in event:
            self._check_times(event.get("deliver_at"), event.get("expires_at"))
        body = encode_object(event, self._max_event_bytes)
        event_id = event["id"]
        return event_id, self._placed(event_id, event["correlation_id"], event["priority"], body, id_was_chosen)

    def _placed(self, event_id: str, key: str, priority: int, body: bytes, id_was_chosen: bool) -> NewRecord:
        slot = slot_of(key)
        partition, table = self._place(slot)
        return NewRecord(partition, priority, event_id if id_was_chosen else None, body, slot, table)

    def _check_times(self, deliver_at: datetime | None, expires_at: datetime | None) -> None:
        now = datetime.fromtimestamp(self._now_us() / 1e6, UTC)
        if deliver_at is not None and deliver_at > now + MAX_DELAY:
            raise InvalidInput(f"at most {MAX_DELAY.days} days ahead", field="deliver_at")
        if expires_at is not None and expires_at <= now:
            raise InvalidInput("has passed already", field="expires_at")
        if expires_at is not None and deliver_at is not None and expires_at <= deliver_at:
            raise InvalidInput("must be after deliver_at", field="expires_at")


def _resolve(answer: asyncio.Future[Results], results: Results | EventRouterError) -> None:
    if answer.done():
        return  # whoever asked was cancelled
    if isinstance(results, EventRouterError):
        answer.set_exception(results)
    else:
        answer.set_result(results)


def _results(accepted: Sequence[Accepted], answers: Appended) -> Results:
    following = iter(answers)
    results: Results = []
    for each in accepted:
        if isinstance(each, EventRouterError):
            results.append(each)
            continue
        record, answer = next(following)
        results.append(Published(each[0], record.partition, answer) if isinstance(answer, bool) else answer)
    return results


def _not_stored(published: Published) -> Unavailable:
    return Unavailable(
        f"{published.id} is accepted but was not stored in time; it may still be delivered; publish it with its id"
    )
