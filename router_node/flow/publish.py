"""Publish: what enters the router is checked, encoded once, given its partition, and appended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from router_client.errors import EventRouterError, InvalidInput
from router_client.event import MAX_EVENT_BYTES, Event, from_object
from router_node.contract import Published
from router_node.log.port import NewRecord

ACK_LEVELS = ("accepted",)


class Publisher:
    """Turns event objects into appended records; one answer for each, in order."""

    def __init__(
        self,
        partition_of: Callable[[str], int],
        append: Callable[[Sequence[NewRecord]], Awaitable[list[bool | EventRouterError]]],
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self._partition_of = partition_of
        self._append = append
        self._max_event_bytes = max_event_bytes

    async def publish(self, objects: Sequence[object], *, ack: str = "accepted") -> list[Published | EventRouterError]:
        """See Engine.publish."""
        return await self._publish([_read(body) for body in objects], ack)

    async def publish_events(
        self, events: Sequence[Event | EventRouterError], *, ack: str = "accepted"
    ) -> list[Published | EventRouterError]:
        """See Engine.publish_events."""
        return await self._publish([(e, True) if isinstance(e, Event) else e for e in events], ack)

    async def _publish(
        self, events: Sequence[tuple[Event, bool] | EventRouterError], ack: str
    ) -> list[Published | EventRouterError]:
        if ack not in ACK_LEVELS:
            raise InvalidInput("this version answers at the level accepted only", field="ack")
        results: list[Published | EventRouterError] = []
        records: list[NewRecord] = []
        places: list[int] = []
        for event in events:
            if isinstance(event, EventRouterError):
                results.append(event)
                continue
            try:
                record = self._record(*event)
            except EventRouterError as error:
                results.append(error)
                continue
            places.append(len(results))
            records.append(record)
            results.append(Published(event[0].id, record.partition, False))
        if records:
            answers = await self._append(records)
            for place, answer in zip(places, answers, strict=True):
                if isinstance(answer, EventRouterError):
                    results[place] = answer
                elif answer:
                    results[place] = results[place]._replace(duplicate=True)  # type: ignore[union-attr]
        return results

    def _record(self, event: Event, id_was_chosen: bool) -> NewRecord:
        if event.deliver_at is not None or event.expires_at is not None:
            field = "deliver_at" if event.deliver_at is not None else "expires_at"
            raise InvalidInput("scheduled and expiring events are not offered by this version", field=field)
        body = event.encode(self._max_event_bytes)
        partition = self._partition_of(event.correlation_id)
        return NewRecord(partition, event.priority, event.id if id_was_chosen else None, body)


def _read(body: object) -> tuple[Event, bool] | EventRouterError:
    try:
        return from_object(body), isinstance(body, dict) and body.get("id") is not None
    except EventRouterError as error:
        return error
