"""A node's part of the cluster, put together."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import structlog

from partitioning.keys import Keys
from partitioning.leases import Leases
from partitioning.membership import Membership, Roster
from partitioning.redis_commands import Commands
from router_client.errors import Unavailable
from router_node.clock import SystemClock
from router_node.cluster.agreement import Agreement
from router_node.cluster.cluster import Cluster
from router_node.cluster.desk import ClusterDesk
from router_node.cluster.growing import Growing
from router_node.cluster.ownership import Ownership
from router_node.cluster.peer_link import PeerLink
from router_node.cluster.presence import Presence, Seams
from router_node.cluster.subscription_sync import SubscriptionSync
from router_node.config import Settings
from router_node.operations import Operations
from router_node.pipeline import Pipeline
from router_node.replay_run import Again
from router_node.telemetry.rate import Rate

GRACE_S = 1.0
QUEUED_WITHIN_S = 5.0
NOBODY = ""
LOAD_OVER_S = 0.2

log = structlog.get_logger(__name__)


def form_cluster(
    settings: Settings,
    commands: Commands,
    keys: Keys,
    clock: SystemClock,
    pipeline: Pipeline,
    operations: Operations,
    membership: Membership,
    link: PeerLink,
    leases: Leases,
    ownership: Ownership,
    growing: Growing,
) -> Cluster:
    """Join the parts of one node's life in the cluster."""
    started_at_ms, our_version = clock.log_us() // 1000, version("event-router")
    routed = Rate(time.monotonic, over_s=LOAD_OVER_S)

    def details() -> dict[str, Any]:
        return {
            "address": settings.advertised,
            "version": our_version,
            "started_at_ms": started_at_ms,
            "draining": presence.stopping or agreement.odd,
            "persist": agreement.stands_for,
            "partitions": len(ownership.owned),
            "consumers": len(cluster.attachments),
            "unsettled": pipeline.settler.unsettled_events,
            "load": round(routed.at(pipeline.router.routed), 1),
            "subscriptions": sync.applied,
        }

    def met(roster: Roster) -> None:
        clock.set_log_us(roster.now_us)
        cluster.met(roster)

    agreement = Agreement(membership, commands, keys, settings.persist, settings.lease_ms / 1000)
    sync = SubscriptionSync(
        commands,
        keys,
        operations.load_subscriptions,
        link.notify,
        lambda: cluster.guests.subscriptions_changed(),
        settings.lease_ms / 1000 + GRACE_S,
    )

    async def look() -> None:
        await agreement.look()
        await growing.look()
        await sync.look()

    seams = Seams(details, lambda: pipeline.partitions, look, met, lambda: link.notify("members"))
    presence = Presence(membership, ownership, settings.lease_ms, seams)
    cluster = Cluster(settings.node_id, pipeline, leases, link, ownership, presence, sync, growing, agreement)
    operations.others = OtherNodes(cluster, operations)
    operations.cluster = ClusterDesk(cluster, membership, leases, commands, keys)
    return cluster


class OtherNodes:
    """The other nodes, to this one's operations; see Others."""

    def __init__(self, cluster: Cluster, operations: Operations) -> None:
        self._cluster = cluster
        self._operations = operations
        cluster.questions["subscriptions"] = self._tell_subscriptions
        cluster.questions["replay"] = operations.letters.replay_here
        cluster.questions["purge"] = operations.letters.purge_here
        cluster.questions["queue"] = self._queue_here
        cluster.questions["backlog"] = self._tell_backlog

    async def changed(self) -> None:
        """See Others."""
        await self._cluster.sync.announce(lambda: self._cluster.attachments.peers)

    async def subscriptions(self, first: str, limit: int) -> list[dict[str, Any]]:
        """See Others."""
        return [each for answer in await self._of_all("subscriptions", [first, limit]) for each in answer]

    async def replay(self, letter_ids: Sequence[str]) -> tuple[list[str], int]:
        """See Others."""
        return await self._at_owners("replay", letter_ids)

    async def purge(self, letter_ids: Sequence[str]) -> tuple[list[str], int]:
        """See Others."""
        return await self._at_owners("purge", letter_ids)

    async def _at_owners(self, what: str, letter_ids: Sequence[str]) -> tuple[list[str], int]:
        heads = {letter_id: letter_id.partition("-")[0] for letter_id in letter_ids}
        partitions = {letter_id: int(head) for letter_id, head in heads.items() if head.isdecimal()}
        owners = await self._cluster.owners(set(partitions.values()))
        here: list[str] = []
        done = 0
        theirs: dict[str, list[str]] = {}
        for letter_id in letter_ids:
            owner = owners.get(partitions.get(letter_id, -1), self._cluster.node_id)
            (here if owner == self._cluster.node_id else theirs.setdefault(owner, [])).append(letter_id)
        for owner, ids in theirs.items():
            done += int(await self._cluster.link.ask(owner, what, ids))
        return here, done

    async def queue(self, subscription: str, events: Sequence[Again]) -> tuple[list[Again], list[Again]]:
        """See Others."""
        owners = await self._cluster.owners({event.partition for event in events})
        parts: dict[str, list[Again]] = defaultdict(list)
        for event in events:
            parts[owners.get(event.partition, NOBODY)].append(event)
        here, left = parts.pop(self._cluster.node_id, []), parts.pop(NOBODY, [])
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._queue_there(owner, subscription, part)) for owner, part in parts.items()]
        for task in asked:
            left += task.result()
        return here, left

    async def _queue_there(self, owner: str, subscription: str, events: list[Again]) -> list[Again]:
        listed = [[*event[:3], event.body.decode()] for event in events]
        try:
            left = await self._cluster.link.ask(owner, "queue", [subscription, listed], QUEUED_WITHIN_S)
        except Unavailable as error:
            log.info("a node did not queue what is replayed", node=owner, error=str(error))
            return events
        return [events[number] for number in left]

    async def _queue_here(self, body: Any) -> list[int]:
        subscription, listed = body
        events = [Again(partition, priority, at, text.encode()) for partition, priority, at, text in listed]
        left = {id(event) for event in await self._operations.requeue.queue_here(subscription, events)}
        return [number for number, event in enumerate(events) if id(event) in left]

    async def backlog(self, subscription: str) -> int:
        """See Others."""
        return sum(await self._of_all("backlog", subscription))

    async def _tell_backlog(self, subscription: str) -> int:
        return self._operations.requeue.backlog_here(subscription)

    def replays_changed(self) -> None:
        """See Others."""
        self._cluster.link.notify("replays")

    def fault(self) -> str | None:
        """See Others."""
        cluster = self._cluster
        if cluster.presence.cut_off:
            return f"no answer from Redis for {cluster.presence.silent_s:.1f} s"
        if cluster.agreement.odd:
            return cluster.agreement.fault
        if cluster.draining:
            return "draining"
        if not cluster.sync.current:
            return "its subscriptions are not up to date"
        if not cluster.ownership.complete:
            return f"{len(cluster.ownership.wanted)} are placed here"
        return None

    async def _of_all(self, what: str, body: Any) -> list[Any]:
        """Return what each of the other nodes answers. Raises Unavailable when one of them does not."""
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._ask(peer, what, body)) for peer in self._cluster.attachments.peers]
        answers = [task.result() for task in asked]
        for answer in answers:
            if isinstance(answer, Unavailable):
                raise answer
        return answers

    async def _ask(self, peer: str, what: str, body: Any) -> Any:
        try:
            return await self._cluster.link.ask(peer, what, body)
        except Unavailable as error:
            return error  # not raised inside a task group, which would make a group of it

    async def _tell_subscriptions(self, body: Any) -> list[dict[str, Any]]:
        first, limit = body
        return self._operations.awake_here(str(first), int(limit))
