"""What operators ask of a node; see contract.Management."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import structlog

from router_client.appending.group_commit import WAITING_EVENTS
from router_client.destination import keep_hidden
from router_client.errors import Conflict, EventRouterError, InvalidInput, NotFound, PreconditionFailed, Unavailable
from router_client.spec import SubscriptionSpec
from router_node.access_contract import AccessDesk
from router_node.cluster.scopes import MARK, public_name
from router_node.contract import ClusterDesk
from router_node.filter_desk import FilterDesk
from router_node.flow.deliver import Dispatch
from router_node.letter_desk import LetterDesk
from router_node.log.port import IngestLog, LaneLog
from router_node.others import Alone, Others
from router_node.pipeline import Pipeline
from router_node.quotas import Quotas
from router_node.replay_desk import MAX_RATE as SEEK_RATE
from router_node.replay_desk import ReplayDesk, moment_text
from router_node.requeue import Requeue
from router_node.security.gate import OPEN, Access
from router_node.security.permission import check_topics, may_consume, refusal, unknown_event, unknown_subscription
from router_node.turns import Turns
from stores.errors import StoreError
from stores.moments import micros
from stores.ports import (
    AttemptPage,
    AttemptQuery,
    Database,
    DeadLetters,
    EventPage,
    EventQuery,
    Put,
    StoredEvent,
)
from stores.subscriptions import ABSENT

CHECK_S, DISCARD_S = 2.0, 5.0
LOADED_AT_ONCE = 5_000
LISTED, TRIES = 1_000, 3
KEPT = ("paused", "paused_reason", "skip_before_us")
"""What a PUT that does not say otherwise leaves as it is."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Operations:
    """Subscriptions, stored events and health of a running node, and its other desks; ``others`` and ``cluster`` are
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
        self.cluster = cluster
        self.replays: ReplayDesk
        self.filters: FilterDesk
        self.access: AccessDesk
        self._loaded = 0
        self._turns = Turns()
        self._quotas = Quotas(pipeline.registry)
        self._check_destination = check_destination
        self.others: Others = Alone()
        self.requeue = Requeue(pipeline, ingest, lanes, lambda: self.others)
        self.letters = LetterDesk(pipeline, dead_letters, self.requeue, lambda: self.others)

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
            for name in gone:
                registry.stored(name, 0)
        while page := await self._stored(store.changes(since, LOADED_AT_ONCE)):
            for change in page:
                gone.discard(change.name)
                if change.spec is not None:
                    self._take_up(change.name, change.spec, change.revision)
                elif not self._forget(change.name):
                    passed_over.append(change.revision)
            since = page[-1].revision
        for name in gone:
            self._forget(name)
        self._loaded = passed_over[0] - 1 if passed_over else since

    def _take_up(self, name: str, body: dict[str, Any], revision: int) -> None:
        registry = self._pipeline.registry
        if name in registry and registry.revision(name) > revision:
            return  # learned of meanwhile
        owner = body.pop("owner", None)
        try:
            spec = SubscriptionSpec.from_object(name, body)
            if name not in registry or registry.spec(name) != spec:
                registry.put(spec)
            registry.stored(name, revision)
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
        if name in self._turns:
            return False
        self._pipeline.refused_subscriptions.discard(name)
        if name in self._pipeline.registry and self._pipeline.registry.spec(name).durable:
            self._pipeline.end(name, NotFound(f"subscription {name} was deleted", field="name"))
        return True

    async def put(self, spec: SubscriptionSpec, access: Access = OPEN) -> None:
        """Create or change a subscription; a durable one is in the store before this returns. Raises QuotaReached."""
        async with self._quotas.turn(spec.name, access if spec.durable else OPEN) as owner:
            await self._edit(spec.name, lambda _: spec, owner=owner)

    async def put_subscription(
        self, name: str, body: object, expected: int | None = None, *, access: Access = OPEN
    ) -> tuple[bool, dict[str, Any]]:
        """See Management."""

        def edited(before: SubscriptionSpec | None) -> SubscriptionSpec:
            if before is not None and not may_consume(access, before.topics):
                raise refusal(access, f"change subscription {name}", "name")
            spec = SubscriptionSpec.from_object(name, keep_hidden(body, before.destination if before else {}))
            check_topics(access, spec.topics)
            self._check_destination(spec.destination)
            if before is not None and isinstance(body, dict):
                spec = replace(spec, **{each: getattr(before, each) for each in KEPT if each not in body})
            if not spec.durable:
                raise InvalidInput(
                    "an ephemeral subscription is opened by its consumer, over WebSocket", field="durable"
                )
            return spec

        async with self._quotas.turn(name, access) as owner:
            spec, put = await self._edit(name, edited, expected, owner)
        return put.created, {**self._pipeline.registry.shown(spec), "revision": put.revision}

    async def _edit(
        self,
        name: str,
        edited: Callable[[SubscriptionSpec | None], SubscriptionSpec],
        expected: int | None = None,
        owner: str | None = None,
    ) -> tuple[SubscriptionSpec, Put]:
        """Make of a subscription (None when there is none) what ``edited`` says, in the store and on all nodes.

        A new one is the ``owner``'s.
        """
        async with self._turns.of(name):
            registry = self._pipeline.registry
            before = registry.spec(name) if name in registry else None
            spec = edited(before)
            put = Put(before is None, registry.revision(name) if before is not None else ABSENT)
            registry.put(spec)
            if before is None:
                registry.owners.note(name, owner)
            if not spec.durable or (spec == before and expected is None):
                registry.stored(name, put.revision)
                return spec, put
            try:
                stored = await self._stored(self._database.subscriptions.put(name, registry.to_store(spec), expected))
            except EventRouterError:
                self._take_back(name, before, put.revision)
                raise
            put = Put(before is None, stored.revision)  # one that is stored and was refused here is new to clients
            registry.stored(name, put.revision)
        await self.others.changed()
        return spec, put

    def _take_back(self, name: str, before: SubscriptionSpec | None, revision: int) -> None:
        registry = self._pipeline.registry
        if name not in registry or registry.revision(name):
            return  # what the store has was learned of meanwhile
        if before is None:
            registry.remove(name)
        else:
            registry.put(before)
            registry.stored(name, revision)

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
        """Change some members and no others, also when another node has just changed those: then once more."""
        for _ in range(TRIES):
            known = self._pipeline.registry.revision(self._durable(name).name)
            try:
                spec, put = await self._edit(name, lambda _: replace(self._durable(name), **members), known or None)
            except PreconditionFailed:
                await self.load_subscriptions()
            else:
                return {**self._pipeline.registry.shown(spec), "revision": put.revision}
        raise Conflict(f"{name} is being changed by others all the time; try again", field="name")

    def _durable(self, name: str) -> SubscriptionSpec:
        spec = self._pipeline.registry.spec(name)
        if not spec.durable:
            raise Conflict(f"{name} is ephemeral: it lasts as long as its connection", field="name")
        return spec

    async def delete_subscription(self, name: str, *, discard_backlog: bool, expected: int | None = None) -> None:
        """See Management."""
        self._pipeline.registry.check(name)
        backlog = await self.requeue.backlog(name)
        if backlog and not discard_backlog:
            raise Conflict(f"{name} has a backlog of {backlog} events; add ?backlog=discard to lose them", field="name")
        await self._stored(self._database.subscriptions.remove(name, expected))
        self._pipeline.end(name, NotFound(f"subscription {name} was deleted", field="name"))
        try:
            async with asyncio.timeout(DISCARD_S):
                await self._pipeline.discarder.all_discarded()
        except TimeoutError as error:
            raise Unavailable(f"{name} is deleted; the log is slow to drop its backlog and goes on with it") from error
        await self.others.changed()
        await self.replays.end_of(name, "failed", f"no subscription named {name}: it was deleted")

    async def subscriptions(self, first: str = "", limit: int = LISTED) -> list[dict[str, Any]]:
        """See Management."""
        found = {name: self._shown(name) for name in self._pipeline.registry.names(first, limit)}
        for other in await self.others.subscriptions(first, limit):
            mine = found.setdefault(other["name"], other)
            if mine is not other:
                for count in ("backlog", "in_flight", "consumers"):
                    mine[count] += other[count]
        return [found[name] for name in sorted(found)[:limit]]

    async def subscription(self, name: str) -> dict[str, Any]:
        """See Management."""
        for first in (name, f"{name}{MARK}"):
            for found in await self.subscriptions(first, 1):
                if public_name(found["name"]) == name:
                    return found
        raise unknown_subscription(name)

    def awake_here(self, first: str, limit: int) -> list[dict[str, Any]]:
        """Return subscriptions that are awake with what this node holds of each: of the others, all know the same.

        Consumers are counted where they are connected.
        """
        return [self._shown(name) for name in self._pipeline.registry.awake_names(first, limit)]

    def _shown(self, name: str) -> dict[str, Any]:
        registry = self._pipeline.registry
        told = {**registry.shown(registry.spec(name)), "revision": registry.revision(name)}
        return {**told, **_held(registry.if_awake(name))}

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


async def _check(call: Any, well: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_S):
            await call
    except (EventRouterError, StoreError, TimeoutError) as error:
        return {"ok": False, "detail": str(error) or "no answer in time"}
    return {"ok": True, "detail": well}
