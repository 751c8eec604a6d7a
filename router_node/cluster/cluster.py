"""One node among others: who hears what, and in which order a node joins, works and leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import structlog

from partitioning.errors import RedisUnavailable
from partitioning.leases import Leases
from partitioning.membership import Roster
from router_client.errors import Conflict, EventRouterError, Unavailable
from router_client.spec import SubscriptionSpec
from router_node.cluster import frames
from router_node.cluster.agreement import Agreement
from router_node.cluster.attachments import Attachments, by_owner, settle_frame
from router_node.cluster.doorbells import Doorbells
from router_node.cluster.growing import Growing
from router_node.cluster.guests import Guests, settlement_of
from router_node.cluster.ownership import Ownership, Work
from router_node.cluster.peer_link import Hearing, PeerLink
from router_node.cluster.presence import Presence
from router_node.cluster.scopes import origin, scoped
from router_node.cluster.subscription_sync import SubscriptionSync
from router_node.contract import Attachment, Consumer, Settlement
from router_node.pipeline import Pipeline

LISTEN_S = 5.0
INTRODUCED_S = 1.0
KNOWN_S = 1.0
NOBODY, NOWHERE = "", -1

Question = Callable[[Any], Awaitable[Any]]

log = structlog.get_logger(__name__)


class Cluster:
    """The parts of ``router_node.cluster`` joined. ``questions`` are what other nodes may ask of this one, by name,
    ``notices`` what further ones it takes up, with what hears their bodies.
    """

    def __init__(
        self,
        node_id: str,
        pipeline: Pipeline,
        leases: Leases,
        link: PeerLink,
        ownership: Ownership,
        presence: Presence,
        sync: SubscriptionSync,
        growing: Growing,
        agreement: Agreement,
    ) -> None:
        self.node_id = node_id
        self.pipeline = pipeline
        self.link = link
        self.ownership = ownership
        self.presence = presence
        self.sync = sync
        self.growing = growing
        self.agreement = agreement
        growing.serve(pipeline)
        self._leases = leases
        self.attachments = Attachments(node_id, link, pipeline.registry)
        self.guests = Guests(link, pipeline.registry)
        self.doorbells = Doorbells(pipeline, link, node_id, ownership.tokens, lambda: presence.placement)
        self.questions: dict[str, Question] = {"settle": self._settle_here, "known": _known}
        self.notices: dict[str, Callable[[Any], None]] = {}
        self._answering: asyncio.TaskGroup | None = None
        self._strangers: set[str] = set()
        self._introduced = asyncio.Event()
        pipeline.ring = self.doorbells.ring
        pipeline.said = link.flush
        pipeline.outbox.announce = lambda ids: link.notify("stored", ids)
        link.hearing = Hearing(
            self._hear, self.attachments.tell, self._notice, self.doorbells.brought, pipeline.settler.pump
        )

    @property
    def draining(self) -> bool:
        """This node gives its partitions up, for good or until an operator says otherwise."""
        me = self.presence.roster.members.get(self.node_id)
        return self.presence.stopping or (me is not None and me.draining)

    # -- the life of a node

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Be a member while the block runs; then hand everything over and leave."""
        work = Work(self.sync.catch_up, self.growing.own, self.pipeline.let_go, self._disown)
        self._work = work
        async with asyncio.TaskGroup() as tasks:
            self._answering = tasks
            linked = tasks.create_task(self.link.run(), name="peer link")
            try:
                await self._join()
                loops = [
                    tasks.create_task(self.presence.run(work), name="presence"),
                    tasks.create_task(self.sync.run(), name="subscriptions"),
                    tasks.create_task(self.growing.run(), name="growth"),
                ]
                try:
                    yield
                finally:
                    for loop in loops:
                        loop.cancel()
                    if not self.presence.stopping:
                        await self.leave()
            finally:
                linked.cancel()

    def _disown(self, partition: int) -> None:
        self.growing.disown(partition)
        self.pipeline.disown(partition)

    async def leave(self) -> None:
        """Hand everything over, so that the other nodes go on at once. Clients may stay a little longer."""
        await self.presence.leave(self._work)
        self.link.flush()

    async def _join(self) -> None:
        try:
            async with asyncio.timeout(LISTEN_S):
                await self.link.listening.wait()
        except TimeoutError as error:
            raise RedisUnavailable(f"no channel of Redis could be listened to within {LISTEN_S:g} s") from error
        await self.sync.load()
        await self.agreement.wait()
        await self.presence.join()
        self.pipeline.persister.promised_until_us = await self.agreement.join(self.presence.roster)
        try:
            async with asyncio.timeout(INTRODUCED_S):
                await self._introduced.wait()
        except TimeoutError:
            log.warning("these nodes have not told of their consumers yet", nodes=sorted(self._strangers))

    # -- what consumers ask

    async def open(self, spec: SubscriptionSpec, consumer: Consumer, credit: int) -> Attachment:
        """Attach a consumer to its own ephemeral subscription, once every node routes to it."""
        mine = scoped(spec, self.node_id)
        if mine.name in self.pipeline.registry:
            raise Conflict(f"an ephemeral subscription named {spec.name} is open already", field="name")
        self.pipeline.registry.put(mine)
        attached = self.attachments.attach(mine.name, consumer, credit)
        try:
            async with asyncio.TaskGroup() as tasks:
                for peer in self.attachments.peers:
                    tasks.create_task(self._has_heard(peer))
        except BaseException:
            attached.detach()
            raise
        return attached

    async def _has_heard(self, peer: str) -> None:
        try:
            await self.link.ask(peer, "known", None, KNOWN_S)
        except Unavailable as error:
            log.warning("a node may not route to a new live subscription yet", peer=peer, error=str(error))

    async def settle(self, name: str, settlement: Settlement) -> list[str]:
        """Settle deliveries of a subscription where their partitions are owned; returns those not in flight there.

        Raises NotFound, and Unavailable when an owner does not answer.
        """
        self.pipeline.registry.check(name)
        ids = [*settlement.ack, *settlement.extend, *(n.delivery_id for n in (*settlement.nack, *settlement.reject))]
        partitions = {each: partition_of(each) for each in ids}
        owners = await self.owners({p for p in partitions.values() if p != NOWHERE})
        unknown = [each for each in ids if partitions[each] not in owners]
        for owner, part in by_owner(settlement, lambda each: owners.get(partitions[each], NOBODY)).items():
            if owner == self.node_id:
                unknown += self.pipeline.registry.get(name).settle(part)
            elif owner != NOBODY:
                unknown += await self.link.ask(owner, "settle", [name, *settle_frame(0, part)[1:]])
        return unknown

    async def owners(self, partitions: Collection[int]) -> dict[int, str]:
        """Return the owner of each partition that has one, by its lease. Raises Unavailable."""
        here = {partition: self.node_id for partition in partitions if partition in self.ownership.tokens}
        elsewhere = [partition for partition in partitions if partition not in here]
        try:
            return {**here, **(await self._leases.holders(elsewhere) if elsewhere else {})}
        except RedisUnavailable as error:
            raise Unavailable(f"who owns what cannot be read: {error}") from error

    # -- what the link brings

    def met(self, roster: Roster) -> None:
        """Hear who the members are."""
        members = roster.members.keys()
        for gone in self.attachments.peers - members:
            self.guests.gone(gone)
            self.link.forget(gone)
        self._strangers |= members - self.attachments.peers - {self.node_id}
        self._strangers &= members
        if not self._strangers:
            self._introduced.set()
        self.attachments.met(members)
        self.pipeline.share(len(roster.placed()))
        for node, member in roster.members.items():
            self.sync.applied_by(node, int(member.details.get("subscriptions", 0)))
        self.link.beat()

    def lives(self, subscription: str) -> bool:
        """Tell whether an ephemeral subscription that is not known here may live on another node."""
        node = origin(subscription)
        return node is not None and node != self.node_id and node in self.attachments.peers

    def _hear(self, sender: str, frame: frames.Frame) -> None:
        match frame:
            case frames.Deliver():
                self.attachments.delivered(sender, frame)
            case frames.Starved():
                self.attachments.starved(sender, frame)
            case frames.Returned():
                self.attachments.returned(sender, frame)
            case frames.Ring():
                self.doorbells.heard(frame)
            case frames.Lost():
                self.attachments.tell(sender)
            case frames.Ask():
                if self._answering is not None:
                    self._answering.create_task(self._answer(sender, frame), name="answer to a peer")
            case _:
                self.guests.heard(sender, frame)
                if isinstance(frame, frames.State):
                    self._strangers.discard(sender)
                    if not self._strangers:
                        self._introduced.set()

    def _notice(self, sender: str, kind: str, body: Any) -> None:
        if kind == "members":
            self.presence.stir()
        elif kind == "subscriptions":
            self.sync.saw(int(body))
        elif kind == "subscriptions applied":
            self.sync.applied_by(sender, int(body))
        elif kind == "stored":
            self.pipeline.outbox.heard(body)
        elif kind == "restarted":
            self.guests.gone(sender)
            self.attachments.restarted(sender)
        elif kind in self.notices:
            self.notices[kind](body)

    async def _answer(self, sender: str, ask: frames.Ask) -> None:
        question = self.questions.get(ask.what)
        body, fault = None, ""
        try:
            if question is None:
                fault = f"node {self.node_id} does not know how to answer {ask.what!r}"
            else:
                body = await question(ask.body)
        except EventRouterError as error:
            fault = str(error)
        self.link.send(sender, frames.Answer(ask.ref, body, fault))

    async def _settle_here(self, body: Any) -> list[str]:
        name, *lists = body
        return self.pipeline.registry.get(name).settle(settlement_of(frames.Settle(0, *lists)))


async def _known(_: Any) -> bool:
    return True


def partition_of(delivery_id: str) -> int:
    """Return the partition in a delivery id, ``NOWHERE`` when it is no delivery id of ours."""
    epoch, _, rest = delivery_id.partition(".")
    partition, _, serial = rest.partition(".")
    if not (epoch.isdecimal() and partition.isdecimal() and serial.isdecimal() and len(delivery_id) < 64):
        return NOWHERE
    return int(partition)
