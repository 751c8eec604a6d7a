"""What operators ask of a node; see contract.Management."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar

import orjson
import structlog

from router_client.appending.group_commit import WAITING_EVENTS
from router_client.destination import keep_hidden
from router_client.errors import Conflict, EventRouterError, InvalidInput, NotFound, Unavailable
from router_client.spec import SubscriptionSpec
from router_node.access_contract import AccessDesk
from router_node.cluster.scopes import public_name
from router_node.contract import ClusterDesk
from router_node.delivery.window import Window
from router_node.filter_desk import FilterDesk
from router_node.flow.deliver import Dispatch
from router_node.log.port import IngestLog, LaneLog
from router_node.others import Alone, Others
from router_node.pipeline import Pipeline
from router_node.quotas import Quotas
from router_node.replay_desk import MAX_RATE as SEEK_RATE
from router_node.replay_desk import ReplayDesk, moment_text
from router_node.replay_run import Again
from router_node.requeue import Requeue
from router_node.security.gate import OPEN, Access
from router_node.security.permission import check_topics, may_consume, refusal, unknown_event, unknown_letter
from stores.errors import StoreError
from stores.moments import micros
from stores.ports import (
    AttemptPage,
    AttemptQuery,
    Database,
    DeadLetter,
    DeadLetterPage,
    DeadLetters,
    EventPage,
    EventQuery,
    LetterCounts,
    LetterFilter,
    StoredEvent,
)

CHECK_S, DISCARD_S = 2.0, 5.0
LOADED_AT_ONCE, TOLD_AT_ONCE = 5_000, 500
KEPT = ("paused", "paused_reason", "skip_before_us")
"""What a PUT that does not say otherwise leaves as it is."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Operations:
    """Subscriptions, stored events, dead letters and health of a running node; ``others`` and ``cluster`` are
    the other nodes, once it has some."""

    def __init__(
        self,
        pipeline: Pipeline,
        ingest: IngestLog,
        lanes: LaneLog,
        database: Database,
        dead_letters: DeadLetters,
        cluster: ClusterDesk,
        check_destination: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._pipeline = pipeline
        self._ingest = ingest
        self._database = database
        self._letters = dead_letters
        self.cluster = cluster
        self.replays: ReplayDesk
        self.filters: FilterDesk
        self.access: AccessDesk
        self._loaded = 0
        self._being_put: Counter[str] = Counter()
        self._quotas = Quotas(pipeline.registry)
        self._check_destination = check_destination
        self.others: Others = Alone()
        self.requeue = Requeue(pipeline, ingest, lanes, lambda: self.others)

    async def load_subscriptions(self) -> None:
        """Take up what has changed of the durable subscriptions in the store since the last call; all, at first.

        Done before partitions are owned: what a lane has spilled belongs to a subscription that must be known. One
        whose filter this version refuses is left out, with its queue, and named in the log. Raises Unavailable.
        """
        store, registry = self._database.subscriptions, self._pipeline.registry
        since, passed_over, gone = self._loaded, [], set()
        if await self._stored(store.revision()) < since:
            log.warning("the store is back at an earlier state; all subscriptions are loaded anew")
            since, gone = 0, {spec.name for spec in registry.specs() if spec.durable}
        while page := await self._stored(store.changes(since, LOADED_AT_ONCE)):
            for change in page:
                gone.discard(change.name)
                if change.spec is not None:
                    self._take_up(change.name, change.spec)
                elif not self._forget(change.name):
                    passed_over.append(change.revision)
            since = page[-1].revision
        for name in gone:
            self._forget(name)
        self._loaded = passed_over[0] - 1 if passed_over else since

    def _take_up(self, name: str, body: dict[str, Any]) -> None:
        registry = self._pipeline.registry
        owner = body.pop("owner", None)
        try:
            spec = SubscriptionSpec.from_object(name, body)
            if name not in registry or registry.spec(name) != spec:
                registry.put(spec)
            registry.owners.note(name, owner)
        except (InvalidInput, Conflict) as error:
            self._pipeline.refused_subscriptions.add(name)
            log.error("a stored subscription is refused; mend it with PUT", subscription=name, error=str(error))
        else:
            self._pipeline.refused_subscriptions.discard(name)

    def _forget(self, name: str) -> bool:
        """End a subscription that is gone from the store; False when it is just being put there, and is to be looked
        at again.
        """
        if name in self._being_put:
            return False
        self._pipeline.refused_subscriptions.discard(name)
        if name in self._pipeline.registry and self._pipeline.registry.spec(name).durable:
            self._pipeline.end(name, NotFound(f"subscription {name} was deleted", field="name"))
        return True

    async def put(self, spec: SubscriptionSpec, access: Access = OPEN) -> bool:
        """Create or change a subscription; a durable one is in the store before this returns. Raises QuotaReached."""
        registry = self._pipeline.registry
        async with self._quotas.turn(spec.name, access if spec.durable else OPEN) as owner:
            before = registry.spec(spec.name) if spec.name in registry else None
            registry.put(spec)
            if before is None:
                registry.owners.note(spec.name, owner)
            if spec.durable and spec != before:
                self._being_put[spec.name] += 1
                try:
                    await self._stored(self._database.subscriptions.put(spec.name, registry.to_store(spec)))
                except EventRouterError:
                    if before is None:
                        registry.remove(spec.name)
                    else:
                        registry.put(before)
                    raise
                finally:
                    self._being_put -= Counter([spec.name])
                await self.others.changed()
        return before is None

    async def put_subscription(self, name: str, body: object, *, access: Access = OPEN) -> tuple[bool, dict[str, Any]]:
        """See Management."""
        registry = self._pipeline.registry
        before = registry.spec(name) if name in registry else None
        if before is not None and not may_consume(access, before.topics):
            raise refusal(access, f"change subscription {name}", "name")
        spec = SubscriptionSpec.from_object(name, keep_hidden(body, before.destination if before else {}))
        check_topics(access, spec.topics)
        if before is not None and isinstance(body, dict):
            spec = replace(spec, **{each: getattr(before, each) for each in KEPT if each not in body})
        if not spec.durable:
            raise InvalidInput("an ephemeral subscription is opened by its consumer, over WebSocket", field="durable")
        self._check_destination(spec.destination)
        return await self.put(spec, access), registry.shown(spec)

    async def pause_subscription(self, name: str, reason: str) -> dict[str, Any]:
        """See Management."""
        return await self._change(name, paused=True, paused_reason=reason[:500])

    async def resume_subscription(self, name: str) -> dict[str, Any]:
        """See Management."""
        return await self._change(name, paused=False, paused_reason="")

    async def seek_subscription(self, name: str, to: datetime) -> dict[str, Any]:
        """See Management. What was accepted by now is passed over, and is replayed when it was accepted since ``to``.

        The replay is begun first: should the rest fail, events come twice rather than not at all.
        """
        self._durable(name)
        now_us = await self._ingest.now_us()
        if micros(to) > now_us:
            raise InvalidInput("is a time to come", field="to")
        replay = await self.replays.begin(name, {"from": to.isoformat()}, SEEK_RATE, now_us)
        spec = await self._change(name, skip_before_us=now_us)
        await self.replays.end_of(
            name, "cancelled", f"replay {replay['id']}, of a seek, took its place", but=replay["id"]
        )
        at_us = spec["skip_before_us"]
        return {"skip_before": moment_text(at_us), "skip_before_us": at_us, "replay": replay["id"]}

    async def _change(self, name: str, **members: Any) -> dict[str, Any]:
        spec = replace(self._durable(name), **members)
        await self.put(spec)
        return self._pipeline.registry.shown(spec)

    def _durable(self, name: str) -> SubscriptionSpec:
        spec = self._pipeline.registry.spec(name)
        if not spec.durable:
            raise Conflict(f"{name} is ephemeral: it lasts as long as its connection", field="name")
        return spec

    async def delete_subscription(self, name: str, *, discard_backlog: bool) -> None:
        """See Management."""
        self._pipeline.registry.check(name)
        backlog = await self.requeue.backlog(name)
        if backlog and not discard_backlog:
            raise Conflict(f"{name} has a backlog of {backlog} events; add ?backlog=discard to lose them", field="name")
        await self._stored(self._database.subscriptions.remove(name))
        self._pipeline.end(name, NotFound(f"subscription {name} was deleted", field="name"))
        try:
            async with asyncio.timeout(DISCARD_S):
                await self._pipeline.discarder.all_discarded()
        except TimeoutError as error:
            raise Unavailable(f"{name} is deleted; the log is slow to drop its backlog and goes on with it") from error
        await self.others.changed()
        await self.replays.end_of(name, "failed", f"no subscription named {name}: it was deleted")

    async def subscriptions(self) -> list[dict[str, Any]]:
        """See Management."""
        found: dict[str, dict[str, Any]] = {}
        registry = self._pipeline.registry
        for spec in registry.specs():
            found[spec.name] = {**registry.shown(spec), **_held(registry.if_awake(spec.name))}
            if len(found) % TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)  # the node's leases are not to run out over a long list
        for other in await self.others.subscriptions():
            mine = found.setdefault(other["name"], other)
            if mine is not other:
                for count in ("backlog", "in_flight", "consumers"):
                    mine[count] += other[count]
        return sorted(({**each, "name": public_name(each["name"])} for each in found.values()), key=itemgetter("name"))

    def awake_here(self) -> list[dict[str, Any]]:
        """Return each subscription that is awake with what this node holds of it: of the others, all know the same.

        Consumers are counted where they are connected.
        """
        registry = self._pipeline.registry
        return [{**registry.shown(dispatch.spec), **_held(dispatch)} for dispatch in registry]

    async def event(self, event_id: str) -> StoredEvent:
        """See Management."""
        self._pipeline.storing.check()
        found = await self._stored(self._database.events.load(event_id))
        if found is None:
            raise unknown_event(event_id)
        return found

    async def events(self, query: EventQuery) -> EventPage:
        """See Management."""
        self._pipeline.storing.check()
        return await self._stored(self._database.events.query(query))

    async def deliveries(self, query: AttemptQuery) -> AttemptPage:
        """See Management."""
        return await self._stored(self._database.delivery_log.query(query))

    async def dead_letters(self, wanted: LetterFilter, limit: int, cursor: str | None) -> DeadLetterPage:
        """See Management."""
        return await self._stored(self._letters.list(wanted, limit=limit, cursor=cursor))

    async def dead_letter_counts(self) -> LetterCounts:
        """See Management."""
        return await self._stored(self._letters.counts())

    async def dead_letter(self, letter_id: str) -> DeadLetter:
        """See Management."""
        letter = await self._stored(self._letters.get(letter_id))
        if letter is None:
            raise unknown_letter(letter_id)
        return letter

    async def replay_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """See Management. A letter is removed after it is safely in its subscription's queue."""
        here, replayed = await self.others.replay(letter_ids)
        return replayed + await self.replay_here(here)

    async def replay_here(self, letter_ids: Sequence[str]) -> int:
        """Deliver letters of this node's own partitions again; returns how many there were."""
        replayed = 0
        for letter_id in letter_ids:
            letter = await self._stored(self._letters.get(letter_id))
            if letter is None:
                continue
            if self._decided(letter, Window.release):
                await self._written([letter.partition])
            else:
                await self._requeue(letter)
            replayed += await self._stored(self._letters.remove([letter_id]))
        return replayed

    async def purge_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """See Management. One that halts its key is purged by the owner of its partition, and the key goes on."""
        letters = [letter for each in letter_ids if (letter := await self._stored(self._letters.get(each)))]
        halting = [letter.id for letter in letters if letter.queue_id]
        here, purged = await self.others.purge(halting) if halting else ([], 0)
        plain = [letter.id for letter in letters if not letter.queue_id]
        return purged + await self.purge_here(here) + await self._stored(self._letters.remove(plain))

    async def purge_here(self, letter_ids: Sequence[str]) -> int:
        """Purge letters that halt keys of this node's own partitions; returns how many there were."""
        partitions = set()
        for each in letter_ids:
            letter = await self._stored(self._letters.get(each))
            known = letter is not None and letter.subscription in self._pipeline.registry
            if letter is not None and known and self._decided(letter, Window.drop):
                partitions.add(letter.partition)
        await self._written(partitions)
        return await self._stored(self._letters.remove(letter_ids))

    def _decided(self, letter: DeadLetter, decision: Callable[[Window, int, int, bytes], bool]) -> bool:
        """Decide on the event that halts its key; False when it is in no queue (any more)."""
        if not letter.queue_id:
            return False
        self._check_owned(letter.partition)
        window = self._pipeline.registry.get(letter.subscription).window
        return decision(window, letter.partition, _priority_of(letter), letter.queue_id.encode())

    async def checks(self) -> dict[str, dict[str, Any]]:
        """See Management."""
        async with asyncio.TaskGroup() as tasks:
            transport = tasks.create_task(_check(self._ingest.now_us(), "the log answers"))
            persistence = tasks.create_task(_check(self._database.events.ping(), "the store answers"))
        owned, fault = len(self._pipeline.reader.owned()) // 10, self.others.fault()
        waiting = self._pipeline.appender.waiting
        if persistence.result()["ok"] and self._pipeline.persister.behind:
            persistence.result()["detail"] = f"catching up, {self._pipeline.persister.behind} events behind"
        if not self._pipeline.storing.everything:  # then no event needs the store, and a node without one is of use
            persistence.result().update(ok=True, detail=f"{persistence.result()['detail']}; events are not stored")
        return {
            "transport": transport.result(),
            "persistence": persistence.result(),
            "queue": {
                "ok": waiting < WAITING_EVENTS,
                "detail": f"{waiting} events wait for the log, {self._pipeline.settler.unsettled_events} are unsettled",
            },
            "workers": {
                "ok": fault is None,
                "detail": f"owns {owned} of {self._pipeline.partitions} partitions" + (f"; {fault}" if fault else ""),
            },
        }

    async def _requeue(self, letter: DeadLetter) -> None:
        skipped_us = self._pipeline.registry.spec(letter.subscription).skip_before_us
        accepted_at_us = max(letter.accepted_at_us, skipped_us)  # a seek passed over the backlog, and not over this
        again = Again(letter.partition, _priority_of(letter), accepted_at_us, letter.body)
        if await self.requeue.queue_here(letter.subscription, [again]):
            raise Unavailable(f"partition {letter.partition} is not owned by this node now, or has no room; try again")

    def _check_owned(self, partition: int) -> None:
        if (partition, 0) not in self._pipeline.reader.owned():
            raise Unavailable(f"partition {partition} is not owned by this node now; try again")

    async def _written(self, partitions: Iterable[int]) -> None:
        """Wait until what was decided is in the log. Raises Unavailable when a partition was lost before that."""
        try:
            async with asyncio.timeout(DISCARD_S):
                await self._pipeline.settler.written()
        except TimeoutError as error:
            raise Unavailable("the log is slow to take what was decided; try again") from error
        for partition in partitions:
            self._check_owned(partition)

    async def _stored(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except StoreError as error:
            raise Unavailable(f"the store cannot answer: {error}") from error


def _held(dispatch: Dispatch | None) -> dict[str, int]:
    """Return what a node holds of a subscription: nothing, of one that sleeps."""
    if dispatch is None:
        return {"backlog": 0, "in_flight": 0, "consumers": 0}
    near = dispatch.holders.near
    return {"backlog": dispatch.window.backlog, "in_flight": len(dispatch.in_flight), "consumers": near}


def _priority_of(letter: DeadLetter) -> int:
    return int(orjson.loads(letter.body)["priority"])


async def _check(call: Any, well: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_S):
            await call
    except (EventRouterError, StoreError, TimeoutError) as error:
        return {"ok": False, "detail": str(error) or "no answer in time"}
    return {"ok": True, "detail": well}
