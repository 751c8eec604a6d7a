"""One replay, from where it stands to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson
import structlog

from partitioning.slots import slot_of
from router_client.errors import EventRouterError, InvalidInput, NotFound
from router_client.event import parse_time
from router_node.clock import Clock
from router_node.delivery.item import Head, NotAnEvent
from stores.cursor import write_cursor
from stores.errors import StoreError
from stores.moments import micros
from stores.ports import EventQuery, EventStore, Replay, Replays, StoredEvent
from stores.replays import ReplayState

PAGE_EVENTS = 200
PART_BYTES = 128 * 1024
"""Bodies handed over at once: to another node they are one message, in JSON text that may be twice as long."""
BACKLOG_AT_MOST = 100_000
LOOK_AFTER_EVENTS = 2000
NOTE_S = 1.0
PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Again(NamedTuple):
    """An event to be delivered again."""

    partition: int
    priority: int
    accepted_at_us: int
    body: bytes


class Hands(Protocol):
    """Whoever brings events to the owners of their partitions."""

    async def hand_over(self, subscription: str, events: Sequence[Again]) -> list[Again]:
        """Queue events for a subscription; returns those that could not be, in order, to be tried again.

        Raises NotFound, and Unavailable when it is not known which were queued: repeating it delivers those twice.
        """
        ...

    async def backlog(self, subscription: str) -> int:
        """Return how many events wait for a subscription in the whole cluster. Raises Unavailable."""
        ...

    async def stored_until(self) -> int:
        """Return a time of the log, in microseconds, before which everything accepted is stored. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What replays are run with.

    ``goes_to`` says whether a subscription would get an event routed now, and raises NotFound when there is no such
    subscription; ``place`` finds a slot's partition; ``mine`` says whether this node is the one to run replays.
    """

    replays: Replays
    events: EventStore
    goes_to: Callable[[str, Mapping[str, Any]], bool]
    hands: Hands
    place: Callable[[int], tuple[int, int]]
    clock: Clock
    mine: Callable[[], bool]


class ReplayRun:
    """Runs ``replay`` on; ``handed`` hears of each number of events handed over."""

    def __init__(self, replay: Replay, means: Means, handed: Callable[[int], None]) -> None:
        self._replay = replay
        self._means = means
        self._handed = handed
        self._pace = Pace(replay.rate, means.clock)
        self._to_us = self._stored_us = 0
        self._look_after = 0
        self._noted_at = means.clock.monotonic()

    async def run(self) -> None:
        """Bring the replay to its end, however often the log or the store is away meanwhile.

        Returns early, having noted how far it is, when another node is to go on, or somebody has ended it.
        """
        try:
            await self._pages()
        except (NotFound, InvalidInput) as error:
            log.warning("a replay has failed", replay=self._replay.id, error=str(error))
            await self._note("failed", str(error))
        except Exception as error:
            log.error("a replay met an unexpected error", replay=self._replay.id, exc_info=error)
            await self._note("failed", f"an unexpected {type(error).__name__}; see the log")

    async def _pages(self) -> None:
        self._to_us = micros(parse_time(self._replay.query["to"], "to"))
        while self._means.mine():
            await self._until_there_is_room()
            if self._stored_us < self._to_us:
                # Only of a time before which all is stored can a page be known to be whole.
                self._stored_us = await self._patiently(self._means.hands.stored_until)
            page = await self._patiently(lambda: self._means.events.query(self._query()))
            for part, skipped, cursor in self._parts(page.events):
                await self._pace.turn(len(part))
                if not self._means.mine():
                    break
                await self._hand_over(part)
                self._replay = replace(
                    self._replay,
                    cursor=cursor,
                    delivered=self._replay.delivered + len(part),
                    skipped=self._replay.skipped + skipped,
                )
                if self._means.clock.monotonic() - self._noted_at > NOTE_S and not await self._note():
                    return
            else:
                self._replay = replace(self._replay, cursor=page.next or self._replay.cursor)
                if page.next is None and self._stored_us >= self._to_us:
                    await self._note("done")
                    return
                if page.next is None:
                    await asyncio.sleep(PAUSE_S)
                if not await self._note():
                    return
        await self._note()

    async def _until_there_is_room(self) -> None:
        """Wait while much waits for the subscription already; looked at now and then only, as every node is asked."""
        while self._replay.delivered >= self._look_after:
            waiting = await self._patiently(lambda: self._means.hands.backlog(self._replay.subscription))
            if waiting <= BACKLOG_AT_MOST:
                self._look_after = self._replay.delivered + LOOK_AFTER_EVENTS
            else:
                await asyncio.sleep(PAUSE_S)

    def _parts(self, events: Sequence[StoredEvent]) -> Iterator[tuple[list[Again], int, str]]:
        """Yield what to hand over at once, how many events were passed over meanwhile, and the cursor behind both."""
        part: list[Again] = []
        size, skipped, cursor = 0, 0, ""
        for event in events:
            again = self._again(event)
            if again is None:
                skipped += 1
            else:
                if part and (len(part) >= self._pace.at_once or size + len(again.body) > PART_BYTES):
                    yield part, skipped, cursor
                    part, size, skipped = [], 0, 0
                part.append(again)
                size += len(again.body)
            cursor = write_cursor(event.accepted_at_us, event.id)
        if events:
            yield part, skipped, cursor

    def _again(self, event: StoredEvent) -> Again | None:
        """Return an event as it is to be delivered again; None when its subscription would not get it if routed now.

        It counts as accepted when the replay began: after the seek that may have asked for it, before any later one.
        """
        began_us = self._replay.created_at_us
        try:
            head = Head.of(event.body)
            body = orjson.loads(event.body)
        except (NotAnEvent, ValueError):
            return None  # no event, and routed to nobody
        to_come = head.deliver_us >= began_us
        expired = 0 < head.expires_us <= self._means.clock.log_us()
        if to_come or expired or not self._means.goes_to(self._replay.subscription, body):
            return None
        body["metadata"] = {**(body.get("metadata") or {}), "replayed": self._replay.id}
        partition, _ = self._means.place(slot_of(head.correlation_id))
        return Again(partition, head.priority, began_us, orjson.dumps(body))

    async def _hand_over(self, events: Sequence[Again]) -> None:
        """Hand over all events; those whose owner is away for the moment as soon as there is one."""
        left, pause_s = list(events), PAUSE_S
        while left:
            before = len(left)
            waiting = left
            left = await self._patiently(lambda: self._means.hands.hand_over(self._replay.subscription, waiting))  # noqa: B023
            self._handed(before - len(left))
            if left:
                log.info("a replay waits for the owners of partitions", replay=self._replay.id, events=len(left))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _note(self, state: ReplayState = "running", error: str = "") -> bool:
        """Keep how far it is; False when somebody has ended it meanwhile."""
        now = self._means.clock
        self._replay = replace(self._replay, state=state, error=error, updated_at_us=now.log_us())
        self._noted_at = now.monotonic()
        kept = await self._patiently(lambda: self._means.replays.change(self._replay))
        if kept and state == "done":
            counts = {"delivered": self._replay.delivered, "skipped": self._replay.skipped}
            log.info("a replay is done", replay=self._replay.id, **counts)
        return kept

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it works. Raises NotFound and InvalidInput, which no waiting mends."""
        pause_s = PAUSE_S
        while True:
            try:
                return await call()
            except (NotFound, InvalidInput):
                raise
            except (EventRouterError, StoreError, TimeoutError) as error:
                log.warning("a replay waits and tries again", replay=self._replay.id, error=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _query(self) -> EventQuery:
        query = self._replay.query
        return EventQuery(
            type=query.get("type"),
            correlation_id=query.get("correlation_id"),
            source=query.get("source"),
            since=parse_time(query["from"], "from") if query.get("from") else None,
            until=EPOCH + timedelta(microseconds=min(self._to_us, self._stored_us)),
            payload=query.get("payload"),
            descending=False,
            limit=PAGE_EVENTS,
            cursor=self._replay.cursor,
        )


class Pace:
    """Keeps to a rate, in events a second: what was not used while something was waited for is not made up for."""

    CATCH_UP_S = 0.1

    def __init__(self, rate: float, clock: Clock) -> None:
        self.at_once = max(1, min(PAGE_EVENTS, int(rate * self.CATCH_UP_S)))
        self._rate = rate
        self._clock = clock
        self._due = clock.monotonic()

    async def turn(self, events: int) -> None:
        """Wait until it is time for so many more."""
        ahead_s = self._due - self._clock.monotonic()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
        self._due = max(self._due, self._clock.monotonic() - self.CATCH_UP_S) + events / self._rate
