"""Publish: what enters the router is checked and given its partition by the intake, appended, and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from msgspec.structs import replace

from router_client.appending.intake import ACK_LEVELS, Accepted, Check, Intake
from router_client.errors import EventRouterError, Forbidden, InvalidInput, Unavailable
from router_client.event import MAX_EVENT_BYTES, Event
from router_node.contract import Published, Results
from router_node.log.port import NewRecord
from router_node.security.permit import Permit

Appended = list[tuple[NewRecord, bool | EventRouterError]]
HandIn = Callable[[Sequence[NewRecord], Callable[[Appended | EventRouterError], None]], None]


class Publisher:
    """Turns event objects into appended records; one answer for each, in order.

    ``place``, ``now_us`` and ``max_event_bytes`` are the Intake's; ``refused`` are levels that cannot be had, each with
    the reason.
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
        self._intake = Intake(place, now_us, max_event_bytes)
        self._append = append
        self._append_replicated = append_replicated
        self._stored = stored
        self._refused = refused
        self.forbidden = 0

    async def publish(
        self, objects: Sequence[object], *, ack: str = "accepted", permit: Permit | None = None
    ) -> Results:
        """See Engine.publish."""
        check = self._checking(permit)
        return await self._publish([self._intake.read(body, check) for body in objects], ack)

    async def publish_events(
        self, events: Sequence[Event | EventRouterError], *, ack: str = "accepted", permit: Permit | None = None
    ) -> Results:
        """See Engine.publish_events."""
        check = self._checking(permit)
        taken = [self._intake.take(event, check) if isinstance(event, Event) else event for event in events]
        return await self._publish(taken, ack)

    def begin(
        self, objects: Sequence[object], done: Callable[[Results | EventRouterError], None], permit: Permit | None
    ) -> None:
        """See Engine.begin_publish."""
        check = self._checking(permit)
        accepted = [self._intake.read(body, check) for body in objects]
        self._hand_in(self._append, accepted, [each[1] for each in accepted if type(each) is tuple], done)

    async def _publish(self, accepted: Sequence[Accepted], ack: str) -> Results:
        if ack not in ACK_LEVELS:
            raise InvalidInput(f"one of {', '.join(ACK_LEVELS)}", field="ack")
        if ack in self._refused:
            raise InvalidInput(self._refused[ack], field="ack")
        records = [each[1] for each in accepted if type(each) is tuple]
        if ack == "stored":
            ids = [each[0] for each in accepted if type(each) is tuple]
            records = [replace(record, kept=event_id) for record, event_id in zip(records, ids, strict=True)]
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

    def _checking(self, permit: Permit | None) -> Check | None:
        return None if permit is None else partial(self._check, permit)

    def _check(self, permit: Permit, topic: str, size: int) -> None:
        try:
            permit.check(topic, size)
        except Forbidden:
            self.forbidden += 1
            raise


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
