"""What operators ask of a node; see contract.Management."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
import structlog

from router_client.errors import Conflict, EventRouterError, InvalidInput, NotFound, Overloaded, Unavailable
from router_client.spec import SubscriptionSpec
from router_node.contract import ClusterDesk
from router_node.flow.append import WAITING_EVENTS
from router_node.log.port import NOWHERE, IngestLog, LaneLog, LaneStep, LostPartition
from router_node.pipeline import Pipeline
from stores.errors import StoreError
from stores.ports import Database, DeadLetter, DeadLetterPage, DeadLetters, EventPage, EventQuery, StoredEvent

CHECK_S = 2.0
DISCARD_S = 5.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Operations:
    """Subscriptions, stored events, dead letters and health of a running node; ``cluster`` is its desk for nodes."""

    def __init__(
        self,
        pipeline: Pipeline,
        ingest: IngestLog,
        lanes: LaneLog,
        database: Database,
        dead_letters: DeadLetters,
        cluster: ClusterDesk,
    ) -> None:
        self._pipeline = pipeline
        self._ingest = ingest
        self._lanes = lanes
        self._database = database
        self._letters = dead_letters
        self.cluster = cluster
        self._being_put: Counter[str] = Counter()

    async def load_subscriptions(self) -> None:
        """Take up the durable subscriptions of the store, and forget those that are gone from it.

        Done before partitions are owned: what a lane has spilled belongs to a subscription that must be known. One
        whose filter this version refuses is left out, with its queue, and named in the log. Raises Unavailable.
        """
        stored = {body["name"]: body for body in await self._stored(self._database.subscriptions.list())}
        registry = self._pipeline.registry
        for name, body in stored.items():
            try:
                spec = SubscriptionSpec.from_object(name, body)
                if name not in registry or registry.get(name).spec != spec:
                    registry.put(spec)
            except InvalidInput as error:
                self._pipeline.refused_subscriptions.add(name)
                log.error("a stored subscription is refused; mend it with PUT", subscription=name, error=str(error))
            else:
                self._pipeline.refused_subscriptions.discard(name)
        for dispatch in registry:
            name = dispatch.spec.name
            if dispatch.spec.durable and name not in stored and name not in self._being_put:
                self._pipeline.end(name, NotFound(f"subscription {name} was deleted", field="name"))

    async def put(self, spec: SubscriptionSpec) -> bool:
        """Create or change a subscription; a durable one is in the store before this returns."""
        registry = self._pipeline.registry
        created = spec.name not in registry
        before = None if created else registry.get(spec.name).spec
        registry.put(spec)
        if spec.durable and spec != before:
            self._being_put[spec.name] += 1
            try:
                await self._stored(self._database.subscriptions.put(spec.name, spec.to_object()))
            except EventRouterError:
                if before is None:
                    registry.remove(spec.name)
                else:
                    registry.put(before)
                raise
            finally:
                self._being_put -= Counter([spec.name])
        return created

    async def put_subscription(self, name: str, body: object) -> tuple[bool, dict[str, Any]]:
        """See Management."""
        spec = SubscriptionSpec.from_object(name, body)
        if not spec.durable:
            raise InvalidInput("an ephemeral subscription is opened by its consumer, over WebSocket", field="durable")
        return await self.put(spec), spec.to_object()

    async def delete_subscription(self, name: str, *, discard_backlog: bool) -> None:
        """See Management."""
        dispatch = self._pipeline.registry.get(name)
        backlog = dispatch.window.backlog
        if backlog and not discard_backlog:
            raise Conflict(f"{name} has a backlog of {backlog} events; add ?backlog=discard to lose them", field="name")
        await self._stored(self._database.subscriptions.remove(name))
        self._pipeline.end(name, NotFound(f"subscription {name} was deleted", field="name"))
        try:
            async with asyncio.timeout(DISCARD_S):
                await self._pipeline.all_discarded()
        except TimeoutError as error:
            raise Unavailable(f"{name} is deleted; the log is slow to drop its backlog and goes on with it") from error

    def subscriptions(self) -> list[dict[str, Any]]:
        """See Management."""
        return [
            {
                **dispatch.spec.to_object(),
                "backlog": dispatch.window.backlog,
                "in_flight": len(dispatch.in_flight),
                "consumers": len(dispatch.holders),
            }
            for dispatch in sorted(self._pipeline.registry, key=lambda d: d.spec.name)
        ]

    async def event(self, event_id: str) -> StoredEvent:
        """See Management."""
        found = await self._stored(self._database.events.load(event_id))
        if found is None:
            raise NotFound(f"no event with id {event_id} is stored (yet)", field="id")
        return found

    async def events(self, query: EventQuery) -> EventPage:
        """See Management."""
        return await self._stored(self._database.events.query(query))

    async def dead_letters(self, filters: Mapping[str, str | None], limit: int, cursor: str | None) -> DeadLetterPage:
        """See Management."""
        return await self._stored(
            self._letters.list(
                subscription=filters.get("subscription"), reason=filters.get("reason"), limit=limit, cursor=cursor
            )
        )

    async def dead_letter(self, letter_id: str) -> DeadLetter:
        """See Management."""
        letter = await self._stored(self._letters.get(letter_id))
        if letter is None:
            raise NotFound(f"no dead letter {letter_id}", field="id")
        return letter

    async def replay_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """See Management. A letter is removed after it is safely in its subscription's queue."""
        replayed = 0
        for letter_id in letter_ids:
            letter = await self._stored(self._letters.get(letter_id))
            if letter is None:
                continue
            await self._requeue(letter)
            replayed += await self._stored(self._letters.remove([letter_id]))
        return replayed

    async def purge_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """See Management."""
        return await self._stored(self._letters.remove(letter_ids))

    async def checks(self) -> dict[str, dict[str, Any]]:
        """See Management."""
        async with asyncio.TaskGroup() as tasks:
            transport = tasks.create_task(_check(self._ingest.now_us(), "the log answers"))
            persistence = tasks.create_task(_check(self._database.events.ping(), "the store answers"))
        owned = len(self._pipeline.reader.owned()) // 10
        waiting = self._pipeline.appender.waiting
        if persistence.result()["ok"] and self._pipeline.persister.behind:
            persistence.result()["detail"] = f"catching up, {self._pipeline.persister.behind} events behind"
        return {
            "transport": transport.result(),
            "persistence": persistence.result(),
            "queue": {
                "ok": waiting < WAITING_EVENTS,
                "detail": f"{waiting} events wait for the log, {self._pipeline.settler.unsettled_events} are unsettled",
            },
            "workers": {
                "ok": owned == self._pipeline.partitions,
                "detail": f"owns {owned} of {self._pipeline.partitions} partitions",
            },
        }

    async def _requeue(self, letter: DeadLetter) -> None:
        dispatch = self._pipeline.registry.get(letter.subscription)
        priority = _priority_of(letter)
        with dispatch.window.visit(letter.partition, priority) as lane:
            step = LaneStep(lane, spill=[(NOWHERE, letter.accepted_at_us, letter.body)])
            (answer,) = await self._lanes.step([step])
        if isinstance(answer, LostPartition):
            raise Unavailable(f"partition {letter.partition} is not owned by this node now; try again")
        if isinstance(answer, Overloaded):
            raise answer

    async def _stored(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except StoreError as error:
            raise Unavailable(f"the store cannot answer: {error}") from error


def _priority_of(letter: DeadLetter) -> int:
    return int(orjson.loads(letter.body)["priority"])


async def _check(call: Any, well: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_S):
            await call
    except (EventRouterError, StoreError, TimeoutError) as error:
        return {"ok": False, "detail": str(error) or "no answer in time"}
    return {"ok": True, "detail": well}
