"""Replay: stored events delivered again to one subscription, and to nobody else.

A replay is a job in the store. One node runs all that run, a page at a time, and notes how far it is after each: when
the node goes, the next one goes on from there, and repeats a page at most. Each event is handed to the owner of its
partition, which queues it behind what the subscription's lane holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import orjson
import structlog

from partitioning.slots import slot_of
from router_client.errors import EventRouterError, NotFound, Overloaded
from router_client.event import parse_time
from router_node.clock import Clock
from router_node.routing.registry import Registry
from stores.errors import StoreError
from stores.ports import EventQuery, EventStore, Replay, Replays, StoredEvent

LOOK_S = 2.0
PAGE_EVENTS = 200
AT_ONCE = 50
RUNNING_AT_MOST = 20
BACKLOG_AT_MOST = 100_000
PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
KEPT_DAYS = 30
DAY_US = 86_400 * 1_000_000

log = structlog.get_logger(__name__)


class Again(NamedTuple):
    """An event to be delivered again."""

    partition: int
    priority: int
    accepted_at_us: int
    body: bytes


class Hands(Protocol):
    """Whoever brings events to the owners of their partitions."""

    async def hand_over(self, subscription: str, events: Sequence[Again]) -> None:
        """Queue events for a subscription. Raises Unavailable, Overloaded or NotFound; repeating it is safe."""
        ...

    async def backlog(self, subscription: str) -> int:
        """Return how many events wait for a subscription in the whole cluster. Raises Unavailable."""
        ...


class Replaying:
    """Runs replays while ``mine`` says that it is this node's turn; ``place`` finds a slot's partition."""

    def __init__(
        self,
        replays: Replays,
        events: EventStore,
        registry: Registry,
        hands: Hands,
        place: Callable[[int], tuple[int, int]],
        clock: Clock,
        mine: Callable[[], bool],
    ) -> None:
        self._replays = replays
        self._events = events
        self._registry = registry
        self._hands = hands
        self._place = place
        self._clock = clock
        self._mine = mine
        self._stirred = asyncio.Event()
        self.replayed = 0

    def stir(self) -> None:
        """Look at once: there is a new replay."""
        self._stirred.set()

    async def run(self) -> None:
        """Run what is to be run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            under_way: dict[str, asyncio.Task[None]] = {}
            while True:
                under_way = {each: task for each, task in under_way.items() if not task.done()}
                wanted = await self._wanted()
                for replay in wanted[:RUNNING_AT_MOST]:
                    if replay.id not in under_way:
                        under_way[replay.id] = tasks.create_task(self._insist(replay), name=f"replay {replay.id}")
                for gone in under_way.keys() - {replay.id for replay in wanted}:
                    under_way[gone].cancel()
                await self._wait()

    async def _wanted(self) -> list[Replay]:
        if not self._mine():
            return []
        try:
            await self._replays.forget(self._clock.log_us() - KEPT_DAYS * DAY_US)
            return await self._replays.running()
        except (StoreError, TimeoutError) as error:
            log.warning("replays cannot be looked up; trying again", error=str(error))
            return []

    async def _wait(self) -> None:
        self._stirred.clear()
        try:
            async with asyncio.timeout(LOOK_S):
                await self._stirred.wait()
        except TimeoutError:
            pass

    async def _insist(self, replay: Replay) -> None:
        """Bring a replay to its end, however often the log or the store is away meanwhile."""
        pause_s = PAUSE_S
        while True:
            try:
                await self._go_on(replay)
                return
            except NotFound as error:
                await self._fail(replay.id, error)
                return
            except (EventRouterError, StoreError, TimeoutError) as error:
                log.warning("a replay waits and tries again", replay=replay.id, error=str(error))
                await asyncio.sleep(error.retry_after_s or pause_s if isinstance(error, Overloaded) else pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            except Exception as error:
                log.error("a replay met an unexpected error", replay=replay.id, exc_info=error)
                await self._fail(replay.id, error)
                return

    async def _go_on(self, replay: Replay) -> None:
        current = await self._replays.get(replay.id)
        pace = _Pace(replay.rate, self._clock)
        while current is not None and current.state == "running":
            if await self._hands.backlog(current.subscription) > BACKLOG_AT_MOST:
                await asyncio.sleep(PAUSE_S)
                continue
            page = await self._events.query(_query(current.query, current.cursor))
            wanted = [event for event in page.events if self._is_wanted(current.subscription, event)]
            for start in range(0, len(wanted), AT_ONCE):
                part = [self._again(event, current) for event in wanted[start : start + AT_ONCE]]
                await self._hands.hand_over(current.subscription, part)
                self.replayed += len(part)
                await pace.after(len(part))
            current = replace(
                current,
                cursor=page.next or current.cursor,
                delivered=current.delivered + len(wanted),
                skipped=current.skipped + len(page.events) - len(wanted),
                state="running" if page.next else "done",
                updated_at_us=self._clock.log_us(),
            )
            if not await self._replays.change(current):
                return  # cancelled meanwhile
        if current is not None and current.state == "done":
            log.info("a replay is done", replay=current.id, delivered=current.delivered, skipped=current.skipped)

    def _is_wanted(self, subscription: str, event: StoredEvent) -> bool:
        """Tell whether a subscription would get an event if it was published now. Raises NotFound when it is gone."""
        self._registry.get(subscription)
        body = orjson.loads(event.body)
        if body.get("target") not in (None, subscription):
            return False
        return any(
            route.name == subscription and (route.filter is None or route.filter.matches(body))
            for route in self._registry.routes_of(event.type)
        )

    def _again(self, event: StoredEvent, running: Replay) -> Again:
        body = orjson.loads(event.body)
        body["metadata"] = {**body.get("metadata", {}), "replayed": running.id}
        partition, _ = self._place(slot_of(event.correlation_id))
        # It counts as accepted again, and after the seek that may have asked for it, whatever this node's clock says.
        accepted_at_us = max(self._clock.log_us(), running.created_at_us)
        return Again(partition, event.priority, accepted_at_us, orjson.dumps(body))

    async def _fail(self, replay_id: str, error: Exception) -> None:
        try:
            current = await self._replays.get(replay_id)
            if current is not None:
                now_us = self._clock.log_us()
                await self._replays.change(replace(current, state="failed", error=_told(error), updated_at_us=now_us))
        except StoreError as away:
            log.warning("a replay has failed, and the store cannot be told; trying again", error=str(away))
        else:
            log.warning("a replay has failed", replay=replay_id, error=str(error))


class _Pace:
    """Keeps to a rate: after so many events, so much time has passed."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._began = clock.monotonic()
        self._events = 0

    async def after(self, events: int) -> None:
        """Wait until it is time for more."""
        self._events += events
        ahead_s = self._events / self._rate - (self._clock.monotonic() - self._began)
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, EventRouterError) else f"an unexpected {type(error).__name__}; see the log"


def _query(conditions: Any, cursor: str | None) -> EventQuery:
    return EventQuery(
        type=conditions.get("type"),
        correlation_id=conditions.get("correlation_id"),
        source=conditions.get("source"),
        since=parse_time(conditions["from"], "from") if conditions.get("from") else None,
        until=parse_time(conditions["to"], "to"),
        payload=conditions.get("payload"),
        descending=False,
        limit=PAGE_EVENTS,
        cursor=cursor,
    )
