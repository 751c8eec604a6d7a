"""The border: whatever enters the router is checked here, encoded unless it came so, and given its partition."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw

from partitioning.slots import slot_of
from router_client.appending.records import NewRecord
from router_client.errors import EventRouterError, InvalidInput
from router_client.event import Event, checked, complete, encode_object
from router_client.json_input import loads
from router_client.kept_form import Kept

ACK_LEVELS = ("accepted", "replicated", "stored")
MAX_DELAY = timedelta(days=30)

Accepted = tuple[str, NewRecord] | EventRouterError
"""An event's id and what is to be appended of it, or why it is refused."""

Check = Callable[[str, int], None]
"""What an event must pass besides: given its topic and its encoded bytes, it raises an EventRouterError to refuse."""


class Intake:
    """Turns event objects into records.

    ``place`` finds a slot's partition, and by which number of partitions; ``now_us`` is the log's time.
    """

    def __init__(
        self, place: Callable[[int], tuple[int, int]], now_us: Callable[[], int], max_event_bytes: int
    ) -> None:
        self._place = place
        self._now_us = now_us
        self._max_event_bytes = max_event_bytes

    def read(self, body: object, check: Check | None = None) -> Accepted:
        """Take an event object, encoded or not; a fault of one is returned in its place."""
        try:
            if type(body) is Kept and len(body.body) <= self._max_event_bytes:
                if check is not None:
                    check(body.type, len(body.body))
                return body.id, self._placed(body.id, body.correlation_id, body.priority, body.body, True)
            if isinstance(body, Kept | Raw):
                body = loads(body.body if isinstance(body, Kept) else bytes(body), "event")
            values = checked(body)
            return self._record(complete(values), "id" in values, check)
        except EventRouterError as error:
            return error

    def take(self, event: Event, check: Check | None = None) -> Accepted:
        """Take an event that is built already."""
        try:
            return self._record(event.to_object(), True, check)
        except EventRouterError as error:
            return error

    def _record(self, event: dict[str, Any], id_was_chosen: bool, check: Check | None) -> tuple[str, NewRecord]:
        if "deliver_at" in event or "expires_at" in event:
            self._check_times(event.get("deliver_at"), event.get("expires_at"))
        body = encode_object(event, self._max_event_bytes)
        if check is not None:
            check(event["type"], len(body))
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
